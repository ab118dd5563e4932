"""`tf.contrib.metrics`: tf_slim's metrics, and set operations."""

from tf_slim.metrics import *  # noqa: F403
from tf_slim.metrics import histogram_ops, metric_ops  # noqa: F401

from tf_slim_compat.contrib.forwarding import make_getattr

__getattr__ = make_getattr(
    "metrics",
    (
        *("tf_slim.metrics", "tf_slim.metrics.metric_ops"),
        *("tensorflow.python.ops.sets_impl", "tensorflow.python.ops.confusion_matrix"),
    ),
    instead={"": "tf.metrics has the metrics of TensorFlow"},
)
