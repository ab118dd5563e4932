"""CifarNet: two convolutions with local response normalization, three dense layers.

After A. Krizhevsky's cuda-convnet for CIFAR-10, "Learning multiple layers of features
from tiny images", 2009.

Input: float [batch, 32, 32, 3], each image standardized. Output: logits [batch, 10];
the last feature map is [batch, 8, 8, 64]. Parameters with 10 classes: 1,756,426.
TensorFlow's tutorial reports about 86 % accuracy on CIFAR-10 for this architecture.
"""

from collections.abc import Callable
from typing import Any

from nets.inception_utils import Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import (
    Dense,
    Dropout,
    Flatten,
    LocalNorm,
    build_dense_logits,
    build_flat_network,
)
from tf_slim_compat import slim, tf

_NORM = LocalNorm(4, 1.0, 0.001 / 9.0, 0.75)

LAYERS = {
    "conv1": Conv(64, 5),
    "pool1": MaxPool(2, 2, "VALID"),
    "norm1": _NORM,
    "conv2": Conv(64, 5),
    "norm2": _NORM,
    "pool2": MaxPool(2, 2, "VALID"),
    "Flatten": Flatten(),
    "fc3": Dense(384),
    "dropout3": Dropout(),
    "fc4": Dense(192),
}


def _build_logits(net: tf.Tensor, num_classes: int) -> tf.Tensor:
    return build_dense_logits(
        net,
        num_classes,
        biases_initializer=tf.zeros_initializer(),
        weights_initializer=tf.truncated_normal_initializer(stddev=1 / 192),
        weights_regularizer=None,
    )


def cifarnet(
    images: tf.Tensor,
    num_classes: int | None = 10,
    is_training: bool = False,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "CifarNet",
) -> NetOutputs:
    """Builds CifarNet.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of classes; 0 or None returns the features [batch,
        192].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return build_flat_network(
        LAYERS,
        "CifarNet",
        hidden=("norm1", "norm2", "dropout3"),
        build_logits=_build_logits,
        **locals(),
    )


cifarnet.default_image_size = 32
cifarnet.min_image_size = 4


def cifarnet_arg_scope(weight_decay: float = 0.004) -> dict[str, Any]:
    """Returns the arg scope of CifarNet.

    Args:
      weight_decay: L2 regularization factor of the two hidden dense layers; the other
        layers are not regularized.
    """
    with (
        slim.arg_scope(
            [slim.conv2d],
            weights_initializer=tf.truncated_normal_initializer(stddev=5e-2),
            activation_fn=tf.nn.relu,
        ),
        slim.arg_scope(
            [slim.fully_connected],
            biases_initializer=tf.constant_initializer(0.1),
            weights_initializer=tf.truncated_normal_initializer(stddev=0.04),
            weights_regularizer=slim.l2_regularizer(weight_decay),
            activation_fn=tf.nn.relu,
        ) as scope,
    ):
        return scope
