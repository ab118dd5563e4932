"""Evaluation in a loop of somebody else's, such as an Estimator's."""

import numpy as np

from deployment.models import averages
from deployment.models.spec import ModelSpec
from deployment.tasks.base import Predictions, Task
from tf_slim_compat import slim, tf


def build_saver(spec: ModelSpec) -> tf.train.Saver:
    """Returns what restores the weights, or their moving averages, and the step.

    Args:
      spec: the specification of the network in the default graph.
    """
    variables = averages.get_variables_to_restore(
        slim.get_model_variables(), spec.moving_average_decay
    )
    global_step = tf.train.get_or_create_global_step()
    return tf.train.Saver(variables | {global_step.op.name: global_step})


def build_metrics(
    task: Task, spec: ModelSpec, labels: tf.Tensor, logits: tf.Tensor
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Builds the metrics of a task as operations, as `tf.metrics` does.

    The batches are kept in this process, and the values computed from all of them. The
    graph is for one evaluation.

    Args:
      task: the task.
      spec: the model's specification.
      labels: int64 [batch], or float32 [batch, num_outputs].
      logits: float32 [batch, num_outputs].

    Returns:
      Name to (value, operation to run with each batch). The loss is `average_loss`,
      since an Estimator has a `loss` of its own.
    """
    names = [metric.name for metric in task.list_metrics(spec.num_outputs)]
    batches = []

    def add(labels, logits):
        batches.append((labels, logits))
        return np.int64(len(batches))

    def compute():
        columns = (np.concatenate(column) for column in zip(*batches, strict=True))
        found = task.compute(Predictions(0, *columns), spec)
        return np.array([found[name] for name in names], np.float32)

    update = tf.numpy_function(add, [labels, logits], tf.int64)
    values = tf.ensure_shape(tf.numpy_function(compute, [], tf.float32), [len(names)])
    return {
        "average_loss" if name == "loss" else name: (value, update)
        for name, value in zip(names, tf.unstack(values), strict=True)
    }
