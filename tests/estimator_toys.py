"""A table of numbers, and estimators that learn it."""

import numpy as np

from tf_slim_compat import tf

BATCH_SIZE = 32
_random = np.random.RandomState(0)
FEATURES = {
    "x": _random.uniform(-1, 1, (64, 2)).astype(np.float32),
    "color": np.array(["red", "green", "blue"])[_random.randint(0, 3, 64)],
}
CLASSES = (FEATURES["x"].sum(1) > 0).astype(np.int64)
VALUES = (
    2 * FEATURES["x"][:, 0] - FEATURES["x"][:, 1] + (FEATURES["color"] == "red")
).astype(np.float32)


def input_fn(labels=CLASSES, epochs=None):
    """Returns an input_fn over the table; endless by default."""

    def build():
        table = FEATURES if labels is None else (FEATURES, labels)
        rows = tf.data.Dataset.from_tensor_slices(table)
        return rows.repeat(epochs).batch(BATCH_SIZE)

    return build


def run_config(folder, **options):
    """Returns a seeded RunConfig that writes little."""
    quiet = {"save_summary_steps": None, "log_step_count_steps": None}
    return tf.estimator.RunConfig(str(folder), tf_random_seed=1, **quiet | options)


def model_fn(features, labels, mode, params):
    """A linear classifier that is written by hand."""
    weights = tf.get_variable("weights", [2, 2], initializer=tf.zeros_initializer())
    logits = tf.matmul(features["x"], weights)
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(
            mode, predictions={"probabilities": tf.nn.softmax(logits)}
        )
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    train_op = tf.train.GradientDescentOptimizer(params["rate"]).minimize(
        loss, tf.train.get_global_step()
    )
    metrics = {"accuracy": tf.metrics.accuracy(labels, tf.argmax(logits, 1))}
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=train_op, eval_metric_ops=metrics
    )


def custom_estimator(folder, rate=0.1, warm_start_from=None, **options):
    """Returns an Estimator of `model_fn`."""
    return tf.estimator.Estimator(
        model_fn,
        config=run_config(folder, **options),
        params={"rate": rate},
        warm_start_from=warm_start_from,
    )


def eval_spec(**options):
    """Returns an EvalSpec that evaluates every checkpoint on the whole table."""
    always = {"steps": None, "start_delay_secs": 0, "throttle_secs": 0}
    return tf.estimator.EvalSpec(input_fn(epochs=1), **always | options)


def receiver_fn():
    """Returns a serving receiver of rows as they are."""
    with tf.Graph().as_default():
        rows = tf.placeholder(tf.float32, [None, 2], name="x")
        return tf.estimator.export.build_raw_serving_input_receiver_fn({"x": rows})


def run_saved_model(folder, feeds):
    """Returns the outputs of a SavedModel's default signature.

    Args:
      folder: the SavedModel.
      feeds: input's name -> array.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        model = tf.saved_model.loader.load(session, ["serve"], str(folder))
        signature = model.signature_def["serving_default"]
        return session.run(
            {name: info.name for name, info in signature.outputs.items()},
            {signature.inputs[name].name: value for name, value in feeds.items()},
        )
