"""`tf.contrib.training`: HParams, and tf_slim's loops for training and evaluation."""

from tf_slim.training import evaluation, training  # noqa: F401
from tf_slim.training.evaluation import *  # noqa: F403
from tf_slim.training.training import *  # noqa: F403

from tf_slim_compat.contrib import hparam  # noqa: F401
from tf_slim_compat.contrib.forwarding import make_getattr
from tf_slim_compat.contrib.hparam import HParams, parse_values  # noqa: F401

_INPUT = "use tf.data"

__getattr__ = make_getattr(
    "training",
    ("tf_slim.training.evaluation", "tensorflow.python.training.evaluation"),
    renamed={
        "get_or_create_eval_step": (
            "tensorflow.python.training.evaluation:_get_or_create_eval_step"
        ),
    },
    instead={
        "bucket": "use tf.data.Dataset.bucket_by_sequence_length",
        "bucket_by_sequence_length": "use tf.data.Dataset.bucket_by_sequence_length",
        "rejection_sample": "use tf.data.Dataset.rejection_resample",
        "stratified_sample": "use tf.data.Dataset.rejection_resample",
        "": "tf.train has hooks and sessions, tf.data has input pipelines",
    },
)
