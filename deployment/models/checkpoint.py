"""Checkpoints: found by a path, opened once, read variable by variable.

    checkpoint = Checkpoint("run")                 # the newest of a folder
    checkpoint.path, checkpoint.step
    checkpoint.variables["InceptionV3/Logits/Conv2d_1c_1x1/weights"].shape
    checkpoint.read("global_step")

Both formats are supported: V1, a single file, such as the public checkpoints of 2016,
and V2, `.index` and `.data-*` files. TensorFlow verifies their checksums.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator

import numpy as np

from deployment import files, text
from tf_slim_compat import stderr_held_back, tf

_CHUNK_VALUES = 1 << 21
# The file that makes a checkpoint of either format visible.
_NUMBERED = re.compile(r"(?P<prefix>[^.].*-(?P<step>\d+))\.index")
# TensorFlow's reader raises IndexError for some damaged files.
_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, IndexError)


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable in a checkpoint.

    Attributes:
      name: its name, without ":0".
      dtype: the name of its type, such as "float32".
      shape: its shape; () for a scalar.
      size: the number of values.
      num_bytes: the size of the values in memory; 0 for strings.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Checkpoint:
    """A complete checkpoint that can be read.

    Attributes:
      path: the checkpoint's prefix.
      format: "V1" or "V2".
      variables: the variables by name, in alphabetical order.
    """

    path: str
    format: str
    variables: dict[str, Variable]

    def __init__(self, path: str):
        """Opens a checkpoint.

        Args:
          path: a checkpoint's prefix, one of its files, a folder of checkpoints, of
            which the newest is opened, or the folder of a SavedModel.

        Raises:
          ValueError: if there is no checkpoint, or it is damaged or another kind of
            file.
        """
        self.path = find_prefix(path)
        self.format = "V2" if tf.gfile.Exists(f"{self.path}.index") else "V1"
        try:
            with stderr_held_back():  # Every failed attempt logs a warning.
                self._reader = tf.train.NewCheckpointReader(self.path)
        except _ERRORS as error:
            raise ValueError(
                f"{self.path!r} is not a checkpoint, or it is damaged: "
                f"{_get_reason(error)}."
            ) from error
        shapes = self._reader.get_variable_to_shape_map()
        dtypes = self._reader.get_variable_to_dtype_map()
        self.variables = {
            name: Variable(
                name,
                dtypes[name].name,
                tuple(shapes[name]),
                math.prod(shapes[name]) * _get_item_bytes(dtypes[name]),
            )
            for name in sorted(shapes)
        }
        if not self._has_all_data():
            raise ValueError(
                f"The checkpoint {self.path!r} is incomplete: a .data file is missing "
                "or was cut short; copy all its files again."
            )

    @functools.cached_property
    def step(self) -> int:
        """The global step; 0 if the checkpoint has none."""
        name = tf.GraphKeys.GLOBAL_STEP
        return int(self.read(name)) if name in self.variables else 0

    def read(self, name: str) -> np.ndarray:
        """Returns the values of a variable.

        Returns:
          An array with the variable's shape and dtype, except that bfloat16 becomes
          float32, and strings are objects (bytes).

        Raises:
          ValueError: if there is no such variable, or its values are damaged.
        """
        if name not in self.variables:
            raise ValueError(
                f"The checkpoint {self.path!r} has no variable {name!r}; the nearest: "
                f"{', '.join(text.nearest(name, self.variables)) or 'none'}."
            )
        try:
            values = np.asarray(self._read(name))
        except _ERRORS as error:
            raise ValueError(
                f"The values of {name} in {self.path!r} are damaged: "
                f"{_get_reason(error)}."
            ) from error
        if self.variables[name].dtype == "bfloat16":
            return values.astype(np.float32)
        return values

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Generates the values of a variable as one-dimensional parts.

        Computing with one part at a time keeps copies of large variables small.

        Raises:
          ValueError: as `read`.
        """
        flat = self.read(name).reshape(-1)
        for start in range(0, max(flat.size, 1), _CHUNK_VALUES):
            yield flat[start : start + _CHUNK_VALUES]

    def _has_all_data(self) -> bool:
        """Whether the data files are as long as the index says."""
        if self.format == "V1":
            return True
        expected = sum(variable.num_bytes for variable in self.variables.values())
        paths = tf.gfile.Glob(f"{self.path}.data-*-of-*")
        return bool(paths) and sum(tf.gfile.Stat(p).length for p in paths) >= expected

    def _read(self, name):
        try:
            return self._reader.get_tensor(name)
        except tf.errors.UnimplementedError:
            # V1 variables in slices, of float16 and other rare types: only the
            # operation reads them.
            with stderr_held_back(), tf.Graph().as_default():
                (values,) = tf.raw_ops.RestoreV2(
                    prefix=self.path,
                    tensor_names=[name],
                    shape_and_slices=[""],
                    dtypes=[self.variables[name].dtype],
                )
                with tf.Session(config=tf.ConfigProto(device_count={"GPU": 0})) as s:
                    return s.run(values)


def find_prefix(path: str) -> str:
    """Returns the prefix of the checkpoint that a path leads to.

    Args:
      path: a checkpoint's prefix, one of its files, a folder with checkpoints, whose
        newest is found, or the folder of a SavedModel.

    Raises:
      ValueError: if there is no checkpoint.
    """
    if is_saved_model(path):
        return _join_variables(path)
    if tf.gfile.IsDirectory(path):
        latest = _find_latest(path)
        if latest is None:
            raise ValueError(
                f"The folder {path!r} holds no checkpoint: give the folder of a "
                "training run or the path of a checkpoint such as "
                f"{os.path.join(path, 'model.ckpt-1000')}."
            )
        return latest
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    for candidate in (prefix, path):
        if tf.train.checkpoint_exists(candidate):
            return candidate
    raise ValueError(_explain_absence(path))


def is_saved_model(path: str) -> bool:
    """Returns whether a path is the folder of a SavedModel with variables."""
    return tf.gfile.Exists(f"{_join_variables(path)}.index")


def list_steps(folder: str) -> dict[int, str]:
    """Returns global step to prefix of the numbered checkpoints in a folder."""
    matches = map(_NUMBERED.fullmatch, files.list_names(folder))
    return {
        int(match["step"]): os.path.join(folder, match["prefix"])
        for match in matches
        if match
    }


def find_newest(folder: str) -> Checkpoint | None:
    """Returns the newest complete checkpoint in a folder, or None.

    The one named by the folder's file `checkpoint` comes first; if it is damaged or
    missing, the complete one with the latest step.
    """
    named = _find_latest(folder)
    if named is not None and (found := open_if_complete(named)):
        return found
    numbered = sorted(list_steps(folder).items(), reverse=True)
    return next(
        filter(None, (open_if_complete(prefix) for _, prefix in numbered)), None
    )


def open_if_complete(prefix: str) -> Checkpoint | None:
    """Opens a checkpoint; returns None if it is missing, incomplete or damaged."""
    try:
        return Checkpoint(prefix)
    except ValueError:
        return None


def _find_latest(folder: str) -> str | None:
    """Returns the checkpoint that the folder's file `checkpoint` names, or None.

    The file may name it by an absolute path. In a folder that was copied or moved, that
    is the path of the original.
    """
    latest = tf.train.latest_checkpoint(folder)
    state = tf.train.get_checkpoint_state(folder)
    if state is None:
        return latest
    own = os.path.join(folder, os.path.basename(state.model_checkpoint_path))
    return own if tf.train.checkpoint_exists(own) else latest


def _join_variables(path: str) -> str:
    """Returns the prefix of the variables in the folder of a SavedModel."""
    return os.path.join(path, "variables", "variables")


def _explain_absence(path: str) -> str:
    """Returns why there is no checkpoint at a path, with the nearest."""
    folder, name = os.path.split(path.rstrip("/"))
    if not tf.gfile.IsDirectory(folder or "."):
        return f"There is no checkpoint {path!r}: its folder does not exist either."
    names = files.list_names(folder or ".")
    known = [n.removesuffix(".index") for n in names if n.endswith(".index")]
    folders = [
        n
        for n in names
        if n[0] != "." and tf.gfile.IsDirectory(os.path.join(folder, n))
    ]
    near = text.nearest(name, [*known, *folders])
    there = ", ".join(near or known[-5:]) or "no checkpoint at all"
    return f"There is no checkpoint {path!r}; its folder holds {there}."


def _get_item_bytes(dtype):
    return 0 if dtype == tf.string else dtype.size


def _get_reason(error):
    """TensorFlow's reason in one clause, without its advice about operators."""
    return str(error).split("\n")[0].split(": perhaps your file")[0].rstrip(".")
