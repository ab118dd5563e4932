"""Reads the files that TensorFlow keeps checkpoints in, without TensorFlow.

Importing TensorFlow takes seconds and hundreds of megabytes; a listing of a
checkpoint needs some kilobytes of its index. That index (V2), or the whole file (V1),
is a sorted table of keys and values in LevelDB's format
(https://github.com/google/leveldb/blob/main/doc/table_format.md); the values are
protocol buffers.
"""

import bisect
import mmap
import os
import struct

from deployment.models import crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # Of a block: how it is compressed, and its checksum.


class DamagedError(ValueError):
    """The file is of another kind, or damaged."""


class SortedTable:
    """A read-only sorted table of bytes to bytes.

    The file is mapped into memory: only what is looked at is read.
    """

    def __init__(self, path):
        """Opens a table.

        Raises:
          DamagedError: if the file is no table.
          OSError: if it cannot be read.
        """
        if os.path.getsize(path) < _FOOTER_BYTES:
            raise DamagedError("it is too short")
        with open(path, "rb") as file:
            self._data = memoryview(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )
        footer = self._data[-_FOOTER_BYTES:]
        if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
            raise DamagedError("it is another kind of file, or was cut short")
        _, position = _read_handle(footer, 0)
        index_handle, _ = _read_handle(footer, position)
        self._last_keys, self._handles = [], []
        for key, value in self._block(index_handle):
            self._last_keys.append(key)
            self._handles.append(_read_handle(value, 0)[0])

    def items(self, prefix=b""):
        """Generates the (key, value) whose keys begin with `prefix`, in their order."""
        first = bisect.bisect_left(self._last_keys, prefix)
        for handle in self._handles[first:]:
            for key, value in self._block(handle):
                if key.startswith(prefix):
                    yield key, value
                elif key > prefix:
                    return

    def _block(self, handle):
        """Generates the (key, value) of one block."""
        offset, size = handle
        if offset + size + _TRAILER_BYTES > len(self._data):
            raise DamagedError("it was cut short")
        data = self._data[offset : offset + size]
        compression, checksum = struct.unpack("<BI", self._data[offset + size :][:5])
        if checksum != crc32c.compute_masked(self._data[offset : offset + size + 1]):
            raise DamagedError("its checksum is wrong")
        if compression == 1:
            data = memoryview(decompress_snappy(data))
        elif compression:
            raise DamagedError(f"its compression {compression} is unknown")
        return _parse_block(data)


def _parse_block(data):
    try:
        (num_restarts,) = struct.unpack("<I", data[-4:])
        end = len(data) - 4 * (num_restarts + 1)
        position, key = 0, b""
        while position < end:
            shared, position = read_varint(data, position)
            own, position = read_varint(data, position)
            length, position = read_varint(data, position)
            key = key[:shared] + bytes(data[position : position + own])
            position += own
            yield key, data[position : position + length]
            position += length
    except (IndexError, struct.error) as error:
        raise DamagedError("a block of it makes no sense") from error


def _read_handle(data, position):
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def read_varint(data, position):
    """(value, position after it) of an integer in groups of seven bits."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def read_fields(data):
    """Generates (field number, value) of a protocol buffer.

    Values are integers, or bytes as they stand in `data` (a `memoryview`).

    Raises:
      DamagedError: if it is no protocol buffer.
    """
    position = 0
    try:
        while position < len(data):
            tag, position = read_varint(data, position)
            kind = tag & 7
            if kind == 0:
                value, position = read_varint(data, position)
            else:
                length = {1: 8, 5: 4}.get(kind)
                if kind == 2:
                    length, position = read_varint(data, position)
                if length is None or position + length > len(data):
                    raise DamagedError("an entry of it makes no sense")
                value = data[position : position + length]
                position += length
            yield tag >> 3, value
    except IndexError as error:
        raise DamagedError("an entry of it makes no sense") from error


def decompress_snappy(data):
    """The bytes that Snappy compressed (github.com/google/snappy, its format)."""
    try:
        length, position = read_varint(data, 0)
        out = bytearray()
        while position < len(data):
            tag = data[position]
            position += 1
            if tag & 3 == 0:
                size = tag >> 2
                if size >= 60:
                    width = size - 59
                    size = int.from_bytes(data[position : position + width], "little")
                    position += width
                out += data[position : position + size + 1]
                position += size + 1
                continue
            if tag & 3 == 1:
                size, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[position]
                position += 1
            else:
                size, width = (tag >> 2) + 1, 2 if tag & 3 == 2 else 4
                offset = int.from_bytes(data[position : position + width], "little")
                position += width
            # The copied part may reach into itself: then it repeats.
            part = out[len(out) - offset :][:size]
            out += (part * (size // len(part) + 1))[:size]
    except (IndexError, ZeroDivisionError) as error:
        raise DamagedError("a compressed part of it makes no sense") from error
    if len(out) != length or position > len(data):
        raise DamagedError("a compressed part of it was cut short")
    return bytes(out)
