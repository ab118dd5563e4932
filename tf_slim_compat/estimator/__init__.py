"""`tf.estimator` on current TensorFlow: the released tensorflow-estimator, mended.

After `from tf_slim_compat import tf`, `tf.estimator` is the public API of TensorFlow
1.15 to 2.12; `from tf_slim_compat import estimator` gives the same names. The package
is loaded when the first of them is used:

  pip install --no-deps tensorflow-estimator==2.15.0

Canned estimators with hidden layers, and heads in evaluation, also use tf-keras 2.21.
"""

from typing import Any

from tf_slim_compat import tf
from tf_slim_compat.estimator import loading

# Names of the API that work only in part, each with what works; all others work as they
# did in TensorFlow 2.12.
EXCEPTIONS = {
    "tf.estimator.tpu.TPUEstimator": "with use_tpu=False",
    "tf.estimator.tpu.experimental.EmbeddingConfigSpec": "nothing; it is for TPUs only",
}

_api = loading.load()
tf.estimator = _api


def __getattr__(name: str) -> Any:
    return getattr(_api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_api)})
