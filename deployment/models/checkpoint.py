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

from deployment import text
from tf_slim_compat import stderr_held_back, tf

_CHUNK_VALUES = 1 << 21
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
    saved_model = os.path.join(path, "variables", "variables")
    if tf.gfile.Exists(f"{saved_model}.index"):
        return saved_model
    if tf.gfile.IsDirectory(path):
        latest = tf.train.latest_checkpoint(path)
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
    folder = os.path.dirname(path) or "."
    if not tf.gfile.IsDirectory(folder):
        raise ValueError(
            f"There is no checkpoint {path!r}: its folder does not exist either."
        )
    names = sorted(n[:-6] for n in tf.gfile.ListDirectory(folder) if n[-6:] == ".index")
    there = ", ".join(names[-5:]) or "no checkpoint at all"
    raise ValueError(f"There is no checkpoint {path!r}; its folder holds {there}.")


def find_newest(folder: str) -> Checkpoint | None:
    """Returns the newest complete checkpoint in a folder, or None.

    The one named by the folder's file `checkpoint` comes first; if it is damaged or
    missing, the complete one with the latest step.
    """
    named = tf.train.latest_checkpoint(folder)
    if named is not None and (found := open_if_complete(named)):
        return found
    prefixes = [path[:-6] for path in tf.gfile.Glob(os.path.join(folder, "*-*.index"))]
    steps = {prefix: re.search(r"-(\d+)$", prefix) for prefix in prefixes}
    numbered = [prefix for prefix, match in steps.items() if match]
    numbered.sort(key=lambda prefix: int(steps[prefix].group(1)), reverse=True)
    return next(filter(None, map(open_if_complete, numbered)), None)


def open_if_complete(prefix: str) -> Checkpoint | None:
    """Opens a checkpoint; returns None if it is missing, incomplete or damaged."""
    try:
        return Checkpoint(prefix)
    except ValueError:
        return None


def _get_item_bytes(dtype):
    return 0 if dtype == tf.string else dtype.size


def _get_reason(error):
    """TensorFlow's reason in one clause, without its advice about operators."""
    return str(error).split("\n")[0].split(": perhaps your file")[0].rstrip(".")
