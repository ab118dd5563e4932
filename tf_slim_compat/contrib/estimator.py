"""`tf.contrib.estimator`: hooks and helpers that became `tf.estimator.experimental`."""

from tf_slim_compat.contrib.forwarding import make_getattr

_ESTIMATOR = "tf_slim_compat.estimator"

__getattr__ = make_getattr(
    "estimator",
    (f"{_ESTIMATOR}:experimental", _ESTIMATOR),
    instead={
        "binary_classification_head": "use tf.estimator.BinaryClassHead",
        "multi_class_head": "use tf.estimator.MultiClassHead",
        "multi_head": "use tf.estimator.MultiHead",
        "multi_label_head": "use tf.estimator.MultiLabelHead",
        "regression_head": "use tf.estimator.RegressionHead",
        "replicate_model_fn": "use RunConfig(train_distribute=...) of tf.estimator",
        "": "tf.estimator and tf.estimator.experimental have its hooks",
    },
)
