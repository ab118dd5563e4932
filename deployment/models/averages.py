"""Moving averages of the weights in checkpoints: their names, and how to restore them.

Training keeps them with `tf.train.ExponentialMovingAverage` (Polyak and Juditsky 1992,
"Acceleration of stochastic approximation by averaging").
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence

from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf

AVERAGE_SUFFIX = "/ExponentialMovingAverage"


def average_name(name: str) -> str:
    """Returns the name under which a checkpoint holds the average of a variable."""
    return name + AVERAGE_SUFFIX


def has_averages(checkpoint: Checkpoint) -> bool:
    """Returns whether a checkpoint holds moving averages of the weights."""
    return any(name.endswith(AVERAGE_SUFFIX) for name in checkpoint.variables)


def get_variables_to_restore(
    variables: Sequence[tf.Variable], decay: float | None
) -> dict[str, tf.Variable]:
    """Maps names in a checkpoint to the variables that are restored from them.

    Args:
      variables: the model's variables.
      decay: decay of the moving averages. None or 0 restores the weights themselves.

    Returns:
      With a decay, `variables` under the names of their averages, and all other global
      variables of the default graph under their own. Without one, `variables` under
      their own names.
    """
    if not decay:
        return {variable.op.name: variable for variable in variables}
    return tf.train.ExponentialMovingAverage(decay).variables_to_restore(variables)


def check_averages(checkpoint: Checkpoint) -> None:
    """Checks that a checkpoint holds moving averages of the weights.

    Raises:
      ValueError: if it holds none.
    """
    if not has_averages(checkpoint):
        raise ValueError(
            f"The checkpoint {checkpoint.path!r} holds no moving averages of the "
            "weights: it was trained without moving_average_decay, so use the weights "
            "themselves."
        )


@contextlib.contextmanager
def averaged_checkpoint(path: str) -> Iterator[str]:
    """Writes a temporary checkpoint whose weights are the averages of another's.

    It is for tools that look up variables by their own names only.

    Args:
      path: a checkpoint, or a folder of checkpoints.

    Yields:
      The prefix of a checkpoint with the same variables, in which each variable that
      has a moving average has the value of that average.

    Raises:
      ValueError: if the checkpoint holds no moving averages. A ValueError raised in
        the context names the original checkpoint instead of the temporary one.
    """
    checkpoint = Checkpoint(path)
    check_averages(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, os.path.basename(checkpoint.path))
        _write(temporary, checkpoint)
        try:
            yield temporary
        except ValueError as error:
            raise ValueError(str(error).replace(temporary, checkpoint.path)) from error


def _write(prefix: str, checkpoint: Checkpoint) -> None:
    names = checkpoint.variables
    with tf.Graph().as_default(), tf.Session() as session:
        feeds = {}
        for name, variable in names.items():
            averaged = average_name(name)
            source = averaged if averaged in names else name
            feeds[tf.placeholder(variable.dtype)] = checkpoint.read(source)
        # A `tf.train.Saver` would need variables, and twice the memory.
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(names),
            shape_and_slices=[""] * len(names),
            tensors=list(feeds),
        )
        session.run(save, feeds)
