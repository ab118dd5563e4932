"""`tf.layers` of TensorFlow 1, loaded when first used.

The layers are those of the released tf_keras, which work in graph mode without its
environment variable TF_USE_LEGACY_KERAS. `tf.layers` of `tf_slim_compat.tf` leads here.
"""

import logging
import sys
import warnings

from tf_slim_compat import tf

try:
    from tf_keras.api._v1.keras.__internal__.legacy import layers as _released
    from tf_keras.api._v1.keras.__internal__.legacy import rnn_cell  # noqa: F401
    from tf_keras.src import backend as _backend
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"tf.layers needs the package tf_keras ({_error}): "
        "pip install 'tf-keras>=2.21,<2.22'.",
        name=_error.name,
    ) from _error

__all__ = sorted(name for name in vars(_released) if not name.startswith("_"))
globals().update({name: getattr(_released, name) for name in __all__})


def _is_for_users(record: logging.LogRecord) -> bool:
    """Returns False for deprecation warnings about calls that tf_keras itself makes."""
    message = record.getMessage()
    return "is deprecated" not in message or "/tf_keras/" not in message


def _list_gpus() -> list[str]:
    """Returns the names of the GPUs.

    tf_keras's own function opens a session, which initializes the variables of the
    unfinished graph and takes the memory of the GPUs.
    """
    return [device.name for device in tf.config.list_physical_devices("GPU")]


def _get_noise_shape(layer: _released.Dropout, inputs: tf.Tensor) -> tf.Tensor | None:
    """Returns the shape of a layer's mask; tf_keras's own function takes no tensor."""
    shape = layer.noise_shape
    if shape is None or tf.is_tensor(shape):
        return shape
    actual = tf.shape(inputs)
    return tf.stack([actual[i] if n is None else n for i, n in enumerate(shape)])


logging.getLogger("tensorflow").addFilter(_is_for_users)
# Every call of a layer would advise its user to move to Keras.
warnings.filterwarnings(
    "ignore", r"`(tf\.l|l|L)ayers?\.\w+` (is deprecated|will be removed)", UserWarning
)
_backend._get_available_gpus = _list_gpus
_released.Dropout._get_noise_shape = _get_noise_shape
# Replaces the placeholder, so that `dir(tf.layers)` lists the layers.
tf.layers = sys.modules[__name__]
