"""`tf.contrib.learn`: its MNIST reader; its estimators became `tf.estimator`."""

import types

from tf_slim_compat.contrib.forwarding import make_getattr
from tf_slim_compat.tensorflow1 import mnist_files

datasets = types.ModuleType(f"{__name__}.datasets", "MNIST.")
datasets.mnist = mnist_files

__getattr__ = make_getattr(
    "learn", instead={"": "tf.estimator has the estimators, tf.data the inputs"}
)
