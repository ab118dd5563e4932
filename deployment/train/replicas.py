"""What workers that train synchronously add to the training graph."""

from collections.abc import Sequence

from deployment.cluster import Workers
from deployment.cluster.collectives import Collectives
from tf_slim_compat import tf

_ASSIGNMENTS = {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}


def build_broadcast(workers: Workers | None) -> tf.Operation | None:
    """Returns what sets the variables of all workers to the chief's; None if alone."""
    if workers is None:
        return None
    return workers.collectives.broadcast_variables(tf.global_variables())


def find_updated_variables() -> list[tf.Variable]:
    """Returns the float variables that the forward pass assigns, such as averages."""
    variables = tf.global_variables()
    initializers = {variable.initializer for variable in variables}
    handles = {
        op.inputs[0].ref()
        for op in tf.get_default_graph().get_operations()
        if op.type in _ASSIGNMENTS and op not in initializers
    }
    return [v for v in variables if v.handle.ref() in handles and v.dtype.is_floating]


def average_statistics(
    collectives: Collectives,
    statistics: Sequence[tf.Operation],
    updated: Sequence[tf.Variable],
) -> tf.Operation:
    """Averages over the workers what the forward passes of their batches assigned.

    Args:
      collectives: the operations between the workers.
      statistics: assigns what is not assigned by the forward pass itself.
      updated: the variables.
    """
    with tf.control_dependencies(statistics):
        return collectives.average_variables(updated)


class _DetachedQueueRunner(tf.train.QueueRunner):
    """A queue runner whose threads nobody waits for; closing the session ends them."""

    def create_threads(self, sess, coord=None, daemon=False, start=False):
        del coord, daemon
        return super().create_threads(sess, None, daemon=True, start=start)


class SyncReplicasOptimizer(tf.train.SyncReplicasOptimizer):
    """Does not delay the end of training.

    The chief's queue runner waits for gradients that no longer come, and a Supervisor
    would wait two minutes for its thread.
    """

    def get_chief_queue_runner(self) -> tf.train.QueueRunner:
        """Returns the queue runner, whose threads nobody waits for."""
        runner = super().get_chief_queue_runner()
        return _DetachedQueueRunner(
            runner.queue,
            runner.enqueue_ops,
            queue_closed_exception_types=(
                tf.errors.OutOfRangeError,
                tf.errors.CancelledError,
            ),
        )
