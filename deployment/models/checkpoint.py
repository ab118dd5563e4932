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
from typing import Any

import numpy as np
from absl import logging

from deployment import files, text
from deployment.models import checkpoint_state
from tf_slim_compat import stderr_held_back, tf

_CHUNK_VALUES = 1 << 21
# The file that makes a checkpoint visible: of V2, and of V1, which has no extension.
_NUMBERED = re.compile(
    r"(?P<prefix>[^.].*-(?P<step>\d+))\.index|(?P<v1>[^.].*\.ckpt-(?P<v1_step>\d+))"
)
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
                self.variables = _list_variables(self._reader)
        except _ERRORS as error:
            raise ValueError(
                f"{self.path!r} is not a checkpoint, or it is damaged: "
                f"{_get_reason(error)}."
            ) from error
        if not self.variables:
            # So reads V1 the index of V2.
            raise ValueError(
                f"{self.path!r} holds no variables: it is not a checkpoint, or an "
                "index file without its extension .index."
            )
        if not self._has_all_data():
            raise ValueError(
                f"The checkpoint {self.path!r} is incomplete: a .data file is missing "
                "or was cut short; copy all its files again."
            )

    @functools.cached_property
    def step(self) -> int:
        """The global step; 0 if the checkpoint has none."""
        name = tf.GraphKeys.GLOBAL_STEP
        if name not in self.variables:
            return 0
        if self.variables[name].size != 1:
            raise ValueError(f"The global step in {self.path!r} is not a number.")
        return int(self.read(name).item())

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

    def check_values(self) -> None:
        """Reads all values, so that their checksums are verified.

        Raises:
          ValueError: if they are damaged.
        """
        for name in self.variables:
            self.read(name)
        _ = self.step

    def _has_all_data(self) -> bool:
        """Whether the data files are as long as the index says."""
        if self.format == "V1":
            return True
        expected = sum(variable.num_bytes for variable in self.variables.values())
        paths = tf.gfile.Glob(f"{self.path}.data-*-of-*")
        try:
            lengths = [tf.gfile.Stat(path).length for path in paths]
        except tf.errors.NotFoundError:  # Training has just removed it.
            return False
        return bool(lengths) and sum(lengths) >= expected

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
        newest = find_newest(path)
        if newest is None:
            raise ValueError(_explain_empty_folder(path))
        return newest.path
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    for candidate in (prefix, path):
        if exists(candidate):
            return candidate
    raise ValueError(_explain_absence(path))


def is_saved_model(path: str) -> bool:
    """Returns whether a path is the folder of a SavedModel with variables."""
    return tf.gfile.Exists(f"{_join_variables(path)}.index")


def list_steps(folder: str) -> dict[int, str]:
    """Returns global step to prefix of the numbered checkpoints in a folder."""
    matches = map(_NUMBERED.fullmatch, files.list_names(folder))
    return {
        int(match["step"] or match["v1_step"]): os.path.join(
            folder, match["prefix"] or match["v1"]
        )
        for match in matches
        if match
        and (match["prefix"] or not tf.gfile.IsDirectory(f"{folder}/{match['v1']}"))
    }


def find_newest(folder: str) -> Checkpoint | None:
    """Returns the newest whole checkpoint in a folder; None if it has none at all.

    The one that the folder's file `checkpoint` names comes first, then the others from
    the latest step on. All values are read, because a power cut can leave files of the
    right length with other content. What is damaged is skipped with a warning.

    Raises:
      ValueError: if checkpoints were saved there, but none is whole.
    """
    damage = []
    for prefix in _list_candidates(folder):
        try:
            found = Checkpoint(prefix)
            found.check_values()
        except ValueError as error:
            logging.warning("%s", error)
            damage.append(str(error))
            continue
        if os.path.basename(prefix) not in checkpoint_state.read(folder)[-1:]:
            logging.warning("The newest whole checkpoint is %s.", prefix)
        return found
    # Without that file, what there is was being written when the process ended.
    is_saved = tf.gfile.Exists(os.path.join(folder, checkpoint_state.FILE_NAME))
    if damage and is_saved:
        raise ValueError(
            f"No checkpoint in {folder!r} is whole. {damage[0]} Restore the folder "
            "from elsewhere, or start over in another one."
        )
    return None


def open_if_complete(prefix: str) -> Checkpoint | None:
    """Opens a checkpoint; returns None if it is missing, incomplete or damaged."""
    try:
        return Checkpoint(prefix)
    except ValueError:
        return None


def _list_candidates(folder: str) -> list[str]:
    """Returns the prefixes of the checkpoints in a folder, the newest first."""
    used = checkpoint_state.read(folder)[-1:]
    steps = sorted(list_steps(folder).items(), reverse=True)
    prefixes = [
        *(os.path.join(folder, name) for name in used),
        *(path for _, path in steps),
    ]
    return [path for path in dict.fromkeys(prefixes) if exists(path)]


def exists(prefix: str) -> bool:
    """Returns whether the file that makes a checkpoint visible exists."""
    if tf.gfile.Exists(f"{prefix}.index"):
        return True
    return tf.gfile.Exists(prefix) and not tf.gfile.IsDirectory(prefix)


def _list_variables(reader: Any) -> dict[str, Variable]:
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    return {
        name: Variable(
            name,
            dtypes[name].name,
            tuple(shapes[name]),
            math.prod(shapes[name]) * _get_item_bytes(dtypes[name]),
        )
        for name in sorted(shapes)
    }


def _join_variables(path: str) -> str:
    """Returns the prefix of the variables in the folder of a SavedModel."""
    return os.path.join(path, "variables", "variables")


def _explain_empty_folder(path: str) -> str:
    message = (
        f"The folder {path!r} holds no checkpoint: give the folder of a training run "
        "or the path of a checkpoint such as "
        f"{os.path.join(path, 'model.ckpt-1000')}."
    )
    used = checkpoint_state.read(path)[-1:]
    if used:
        message += f" Its file {checkpoint_state.FILE_NAME!r} names {used[0]!r}."
    return message


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
