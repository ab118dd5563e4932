"""Writes checkpoints in the V2 format, complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from deployment import files, text
from deployment.models import checkpoint_state
from deployment.models.checkpoint import Variable
from tf_slim_compat import tf

_SHARD_BYTES = 1 << 27  # Written at a time, to limit memory.
_ON_CPU = tf.ConfigProto(device_count={"GPU": 0})


def check_output(path: str) -> None:
    """Raises ValueError unless a checkpoint can be written to a prefix.

    Raises:
      ValueError: it is a folder, or exists.
    """
    if not os.path.basename(path):
        raise ValueError(
            f"The output path {path!r} is a folder: append a name, such as model.ckpt."
        )
    if os.path.exists(path) or os.path.exists(path + ".index"):
        raise ValueError(
            f"{path!r} exists and is not overwritten: remove it, or choose another "
            "output path."
        )


def write_arrays(values: Mapping[str, np.ndarray], output_path: str) -> None:
    """Writes arrays as the variables of a checkpoint; see `write`.

    Raises:
      ValueError: the prefix is a folder, or exists.
      OSError: it cannot be written.
    """
    check_output(output_path)
    variables = {
        name: Variable(name, array.dtype.name, array.shape, array.nbytes)
        for name, array in values.items()
    }
    write(variables, values.__getitem__, output_path)


def write(
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray],
    output_path: str,
) -> None:
    """Writes a checkpoint in parts to a temporary folder, merges and moves them.

    Args:
      variables: the source variable for each name to write.
      read: returns the values of a source variable, given its name.
      output_path: the prefix. Its folder is created if necessary, and gets a
        `checkpoint` file that points to it, unless it has one.

    Raises:
      OSError: it cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(output_path))
    work = files.partial_path(os.path.join(folder, name))
    with _named_errors(output_path):
        shutil.rmtree(work, ignore_errors=True)  # That of a killed process.
        os.makedirs(work)
    try:
        parts, waiting, size = [], {}, 0
        for target, variable in variables.items():
            waiting[target] = variable
            size += variable.num_bytes
            if size >= _SHARD_BYTES:
                parts.append(_save_part(waiting, read, work, len(parts)))
                waiting, size = {}, 0
        if waiting:
            parts.append(_save_part(waiting, read, work, len(parts)))
        with _named_errors(output_path):
            _merge(parts, os.path.join(work, name))
            written = [n for n in os.listdir(work) if n.startswith(f"{name}.data-")]
            # Last, the index: it makes the checkpoint visible.
            final = [os.path.join(folder, n) for n in [*written, f"{name}.index"]]
            files.sync(work)
            for path in final:
                os.replace(os.path.join(work, os.path.basename(path)), path)
            files.sync(*final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not os.path.exists(os.path.join(folder, checkpoint_state.FILE_NAME)):
        checkpoint_state.write(folder, [name])


@contextlib.contextmanager
def _named_errors(output_path: str) -> Iterator[None]:
    """Turns errors of the file system into an `OSError` that names the checkpoint."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        cause = getattr(error, "strerror", None) or text.find_cause(error.message)
        reason = cause.split(";")[-1].strip()
        raise OSError(f"{output_path!r} cannot be written: {reason}.") from error


def _merge(parts: Sequence[str], prefix: str) -> None:
    """Makes one checkpoint of several."""
    with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
        merge = tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False
        )
        session.run(merge)


def _save_part(
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray],
    folder: str,
    number: int,
) -> str:
    prefix = os.path.join(folder, f"part-{number}")
    with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
        values = {
            tf.placeholder(tf.as_dtype(variable.dtype), variable.shape): read(
                variable.name
            )
            for variable in variables.values()
        }
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=list(values),
        )
        with _named_errors(files.final_path(folder)):
            session.run(save, values)
    return prefix
