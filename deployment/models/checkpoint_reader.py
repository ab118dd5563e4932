"""What a checkpoint holds, read without TensorFlow, variable by variable.

    reader = checkpoint_reader.open_checkpoint("run/model.ckpt-500")
    reader.variables["InceptionV3/Logits/Conv2d_1c_1x1/weights"].shape
    reader.read("global_step")

Both formats are read: single files (V1) and `.index` with `.data-*` files (V2).
"""

import dataclasses
import difflib
import glob
import math
import os
import re

import numpy as np

from deployment.models import crc32c
from deployment.models.checkpoint_tables import (
    DamagedError,
    SortedTable,
    read_fields,
    read_varint,
)

_CHUNK_VALUES = 1 << 21
# The numbers of tensorflow/core/framework/types.proto.
_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8",
    7: "string", 8: "complex64", 9: "int64", 10: "bool", 11: "qint8", 12: "quint8",
    13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32",
    23: "uint64",
}  # fmt: skip
# Which field of a TensorProto holds the values (core/framework/tensor.proto).
_PACKED_FIELDS = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
_VARINT_FIELDS = {"int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16}


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable in a checkpoint.

    Attributes:
      name: without ":0".
      dtype: its name, such as "float32".
      shape: tuple of int; () for a scalar.
      num_bytes: what its values take in the file (V2), or in memory (V1).
    """

    name: str
    dtype: str
    shape: tuple
    num_bytes: int

    @property
    def size(self):
        """The number of values."""
        return math.prod(self.shape)


def find_checkpoint(path):
    """The prefix of a checkpoint, given a prefix, one of its files or a folder.

    Raises:
      ValueError: if there is no checkpoint.
    """
    prefix = path
    if os.path.isdir(path):
        prefix = _read_state(path) or os.path.join(path, "variables", "variables")
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", prefix)
    if os.path.isfile(prefix + ".index") or os.path.isfile(prefix):
        return prefix
    # Remote folders, shards of V1, and the sentence where there is nothing; only
    # this needs TensorFlow.
    from deployment.models import checkpoints

    return checkpoints.get_checkpoint_path(path)


def _read_state(folder):
    """What the file `checkpoint` in a folder names as the newest, or None."""
    try:
        with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as file:
            found = re.search(r'^model_checkpoint_path: "([^"\\]+)"', file.read(), re.M)
    except (OSError, UnicodeDecodeError):
        return None
    return os.path.join(folder, found.group(1)) if found else None


def open_checkpoint(path):
    """A reader of a checkpoint: `ReaderV1` or `ReaderV2`, with the same methods.

    Args:
      path: a prefix, one of a checkpoint's files, or a folder with checkpoints, of
        which the newest is taken.

    Raises:
      ValueError: if there is none, it is a file of another kind, or damaged.
    """
    prefix = find_checkpoint(path)
    try:
        if os.path.isfile(prefix + ".index"):
            return ReaderV2(prefix)
        if "://" in prefix:
            raise DamagedError("it is not on this machine; copy it here first")
        return ReaderV1(prefix)
    except DamagedError as error:
        raise ValueError(
            f"{prefix!r} cannot be read as a checkpoint: {error}."
        ) from error


class _Reader:
    """What both formats share.

    Attributes:
      path: the checkpoint's prefix.
      format: "V1" or "V2".
      variables: dict from name to `Variable`, in the order of names.
    """

    def read(self, name):
        """The values of a variable.

        Returns:
          An array of the variable's shape and dtype; of float32 for bfloat16, and of
          objects (bytes) for strings.

        Raises:
          ValueError: if there is no such variable, or its values are damaged.
        """
        if name not in self.variables:
            raise ValueError(
                f"The checkpoint {self.path!r} has no variable {name!r}; the nearest: "
                f"{', '.join(find_nearest(name, self.variables)) or 'none'}."
            )
        parts = list(self.chunks(name))
        flat = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return flat.reshape(self.variables[name].shape)

    def _read_with_tensorflow(self, name):
        """For what is rare: variables in slices, strings, quantised numbers."""
        from tf_slim_compat import tf

        try:
            values = tf.train.NewCheckpointReader(self.path).get_tensor(name)
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"{name} in {self.path!r} cannot be read: {reason}"
            ) from error
        return np.asarray(values).reshape(-1)


class ReaderV2(_Reader):
    """A checkpoint of an `.index` and `.data-*` files."""

    format = "V2"

    def __init__(self, prefix):
        self.path = prefix
        self.variables, self._places = {}, {}
        num_shards = 1
        for key, value in SortedTable(prefix + ".index").items():
            if key == b"":
                num_shards = dict(read_fields(value)).get(1, 1)
            elif key[:1] != b"\0":  # Those are the slices of other variables.
                self._add(key.decode(), value)
        self.files = [
            f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"
            for shard in range(num_shards)
        ]
        self._check_files()

    def _add(self, name, entry):
        shape, sliced = (), False
        numbers = {}
        for field, value in read_fields(entry):
            if field == 2:
                shape = _parse_shape(value)
            elif field == 7:
                sliced = True
            else:
                numbers[field] = value
        dtype = _DTYPES.get(numbers.get(1), "unknown")
        size = numbers.get(5, 0)
        checksum = int.from_bytes(numbers.get(6, b""), "little")
        if sliced:
            size = math.prod(shape) * _item_bytes(dtype)
        else:
            self._places[name] = (numbers.get(3, 0), numbers.get(4, 0), size, checksum)
        self.variables[name] = Variable(name, dtype, shape, size)

    def _check_files(self):
        ends = [0] * len(self.files)
        for name, (shard, offset, size, _) in self._places.items():
            if shard >= len(ends):
                raise DamagedError(f"its index places {name} in a file too many")
            ends[shard] = max(ends[shard], offset + size)
        for path, end in zip(self.files, ends, strict=True):
            if not os.path.isfile(path):
                raise DamagedError(f"its file {os.path.basename(path)!r} is missing")
            if os.path.getsize(path) < end:
                raise DamagedError(
                    f"its file {os.path.basename(path)!r} was cut short: it has "
                    f"{os.path.getsize(path):,} bytes of at least {end:,}"
                )

    def chunks(self, name):
        """Generates the values of a variable in parts: one-dimensional arrays.

        Raises:
          ValueError: if they do not agree with their checksum; after the last part.
        """
        dtype = self.variables[name].dtype
        stored = _stored_dtype(dtype)
        if stored is None or name not in self._places:
            yield self._read_with_tensorflow(name)
            return
        shard, offset, size, checksum = self._places[name]
        state = 0xFFFFFFFF
        with open(self.files[shard], "rb") as file:
            file.seek(offset)
            num_values = size // stored.itemsize
            for start in range(0, max(num_values, 1), _CHUNK_VALUES):
                count = min(num_values - start, _CHUNK_VALUES)
                part = np.fromfile(file, stored, count)
                state = crc32c.extend(state, part)
                yield _widen(part, dtype)
        if crc32c.mask(state) != checksum:
            raise ValueError(
                f"{name} in {self.path!r} is damaged: its values do not agree with "
                "their checksum."
            )


class ReaderV1(_Reader):
    """A checkpoint of a single file, or of `-00000-of-00002` files."""

    format = "V1"

    def __init__(self, path):
        self.path = path
        self.files = [path] if os.path.isfile(path) else sorted(
            glob.glob(glob.escape(path) + "-?????-of-?????")
        )  # fmt: skip
        self._tables, self.variables, self._where = [], {}, {}
        for file in self.files:
            self._tables.append(SortedTable(file))
            for field, value in read_fields(self._header(file)):
                if field == 1:
                    self._add(value)
        self.variables = dict(sorted(self.variables.items()))
        if not self.variables:
            raise DamagedError("it holds no variables")

    def _header(self, file):
        key, value = next(self._tables[-1].items(), (None, b""))
        header = dict(read_fields(value)) if key == b"" else {}
        if 1 not in header:
            raise DamagedError(f"{os.path.basename(file)!r} lists no variables")
        return header[1]

    def _add(self, meta):
        name, shape, dtype, is_whole = "", (), "unknown", True
        for field, value in read_fields(meta):
            if field == 1:
                name = bytes(value).decode()
            elif field == 2:
                shape = _parse_shape(value)
            elif field == 3:
                dtype = _DTYPES.get(value, "unknown")
            elif field == 4:
                is_whole = not any(
                    len(extent) for number, extent in read_fields(value) if number == 1
                )
        if is_whole:
            self._where[name] = self._tables[-1]
        size = math.prod(shape) * _item_bytes(dtype)
        self.variables[name] = Variable(name, dtype, shape, size)

    def chunks(self, name):
        """Generates the values of a variable in parts: one-dimensional arrays."""
        flat = self._read_flat(name)
        for start in range(0, max(flat.size, 1), _CHUNK_VALUES):
            yield flat[start : start + _CHUNK_VALUES]

    def _read_flat(self, name):
        dtype = self.variables[name].dtype
        if name not in self._where or dtype in ("string", "unknown"):
            return self._read_with_tensorflow(name)
        key = b"\0" + name.encode().replace(b"\0", b"\0\xff") + b"\0\1"
        try:
            for _, value in self._where[name].items(key):
                flat = self._parse_values(name, dict(read_fields(value)))
                if flat.size == self.variables[name].size:
                    return flat
            raise DamagedError("they are missing")
        except (DamagedError, KeyError) as error:
            raise ValueError(
                f"The values of {name} in {self.path!r} are damaged: {error}."
            ) from error

    def _parse_values(self, name, entry):
        """The values of a SavedSlice in a SavedTensorSlices."""
        dtype = self.variables[name].dtype
        tensor = dict(read_fields(dict(read_fields(entry[2]))[3]))
        if dtype in _PACKED_FIELDS:
            data = tensor.get(_PACKED_FIELDS[dtype], b"")
            return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
        data = tensor.get(_VARINT_FIELDS.get(dtype, 7), b"")
        values, position = [], 0
        while position < len(data):
            value, position = read_varint(data, position)
            values.append(value - (1 << 64) if value >> 63 else value)
        stored = _stored_dtype(dtype) or np.dtype(np.int64)
        if dtype == "float16":
            return np.array(values, np.uint16).view(np.float16)
        return _widen(np.array(values).astype(stored), dtype)


def find_nearest(name, names):
    """The names most like a mistaken one: those that contain it, then the similar."""
    inside = [known for known in names if name.lower() in known.lower()]
    return (inside or difflib.get_close_matches(name, list(names), 3, 0.4))[:3]


def _parse_shape(data):
    """The dimensions of a TensorShapeProto."""
    dims = (
        dict(read_fields(value)) for field, value in read_fields(data) if field == 2
    )
    return tuple(dim.get(1, 0) for dim in dims)


def _stored_dtype(name):
    """The NumPy dtype of values in a V2 file; None if they are no plain numbers."""
    if name == "bfloat16":
        return np.dtype("<u2")
    try:
        return np.dtype(name.removeprefix("q")).newbyteorder("<")
    except TypeError:
        return None


def _item_bytes(name):
    stored = _stored_dtype(name)
    return stored.itemsize if stored else 0


def _widen(values, name):
    """bfloat16, which NumPy lacks, as float32; the rest as it is."""
    if name != "bfloat16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)
