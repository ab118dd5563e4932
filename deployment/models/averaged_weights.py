"""A checkpoint with the moving averages of the weights in the place of the weights."""

import contextlib
import os
import tempfile

from deployment.models import checkpoints
from tf_slim_compat import tf

_SUFFIX = "/ExponentialMovingAverage"


@contextlib.contextmanager
def averaged_checkpoint(path):
    """A temporary checkpoint for tools that know variables only by their own names.

    Args:
      path: a checkpoint or a folder of them, trained with a moving average decay
        (Polyak and Juditsky 1992, "Acceleration of stochastic approximation by
        averaging").

    Yields:
      The prefix of a checkpoint of the same variables, in which those that have a
      moving average have its value.

    Raises:
      ValueError: if the checkpoint holds no moving averages. Errors from within the
        context speak of `path` instead of the temporary checkpoint.
    """
    prefix = checkpoints.get_checkpoint_path(path)
    reader = checkpoints.open_checkpoint(prefix)
    types = reader.get_variable_to_dtype_map()
    if not any(name.endswith(_SUFFIX) for name in types):
        raise ValueError(
            f"The checkpoint {prefix!r} holds no moving averages of the weights: it "
            "was trained without --moving_average_decay."
        )
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, os.path.basename(prefix))
        _write(temporary, reader, types)
        try:
            yield temporary
        except ValueError as error:
            raise ValueError(str(error).replace(temporary, prefix)) from error


def _write(prefix, reader, types):
    with tf.Graph().as_default(), tf.Session() as session:
        feeds = {}
        for name, dtype in types.items():
            source = name + _SUFFIX if name + _SUFFIX in types else name
            feeds[tf.placeholder(dtype)] = reader.get_tensor(source)
        names, slices = list(types), [""] * len(types)
        # Not a `tf.train.Saver`, which needs variables: twice the memory.
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=names,
            shape_and_slices=slices,
            tensors=list(feeds),
        )
        session.run(save, feeds)
