"""Damage to TFRecord files whose checksums are right."""

import random
import struct
from collections.abc import Sequence

from tests.fuzz.damage import Damaged, damage_bytes
from tests.fuzz.damage_images import damage_image

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected.
_LENGTHS = (
    *(2**power for power in (31, 32, 33, 36, 40, 48, 62, 63)),
    2**31 - 1, 2**63 - 1, 2**63 - 16, 2**64 - 1, 2**64 - 16, 0,
)  # fmt: skip
_HEADER_BYTES, _CHECKSUM_BYTES = 12, 4
_LABEL, _ENCODED = "image/class/label", "image/encoded"


def _build_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _build_table()


def mask_checksum(data: bytes) -> bytes:
    """Returns the masked CRC-32C of TFRecord files, four bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def split_records(data: bytes) -> list[bytes]:
    """Returns the records of a whole TFRecord file."""
    records, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        start = place + _HEADER_BYTES
        records.append(data[start : start + length])
        place = start + length + _CHECKSUM_BYTES
    return records


def write_record(record: bytes, length: int | None = None) -> bytes:
    """Returns a record with right checksums; `length` is what the header promises."""
    header = struct.pack("<Q", len(record) if length is None else length)
    return header + mask_checksum(header) + record + mask_checksum(record)


def _join(records: Sequence[bytes]) -> bytes:
    return b"".join(map(write_record, records))


def damage_record_lengths(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Promises a wrong length in a header whose checksum is right."""
    records = split_records(data)
    number = rng.randrange(len(records))
    near = [len(records[number]) + change for change in (-1, 1, 16)]
    length = rng.choice((*_LENGTHS, *near))
    parts = [write_record(record) for record in records]
    parts[number] = write_record(records[number], length)
    return Damaged(b"".join(parts), f"record {number} of length {length}", True)


def damage_record_order(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Drops, repeats, adds or swaps whole records."""
    records = split_records(data)
    number, second = rng.randrange(len(records)), rng.randrange(len(records))
    way = rng.choice(("cut", "drop", "repeat", "swap", "add", "empty", "foreign"))
    if way == "cut":
        del records[number:]
    elif way == "drop":
        del records[number]
    elif way == "repeat":
        records.insert(second, records[number])
    elif way == "swap":
        records[number], records[second] = records[second], records[number]
    elif way == "add":
        records.insert(number, rng.choice((b"", rng.randbytes(20), b"\x0a\x00")))
    elif way == "empty":
        records = []
    else:
        records[number] = rng.choice(split_records(other))
    is_noticeable = way not in ("swap", "foreign")
    return Damaged(_join(records), f"record {number}: {way}", is_noticeable)


def damage_examples(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Changes a feature of one `tf.train.Example`."""
    from tf_slim_compat import tf

    records = split_records(data)
    number = rng.randrange(len(records))
    example = tf.train.Example.FromString(records[number])
    features = example.features.feature
    name = rng.choice([*sorted(features), _LABEL, _ENCODED])
    way = rng.choice(("drop", "empty", "type", "twice", "value", "value"))
    feature = features[name]
    what = f"record {number}, {name}: {way}"
    is_noticeable = name in (_LABEL, _ENCODED) and way in ("drop", "empty", "type")
    if way == "drop":
        del features[name]
    elif way == "empty":
        feature.Clear()
    elif way == "type":
        if feature.WhichOneof("kind") == "bytes_list":
            feature.int64_list.value[:] = [1]
        else:
            feature.bytes_list.value[:] = [b"1"]
    elif way == "twice":
        feature.MergeFrom(type(feature).FromString(feature.SerializeToString()))
    elif feature.WhichOneof("kind") == "int64_list":
        value = rng.choice((-1, 3, 10**12, 2**63 - 1, -(2**63), 0, 1))
        feature.int64_list.value[:] = [value]
        what += f"={value}"
        is_noticeable = name == _LABEL and not 0 <= value <= 2
    elif name == _ENCODED:
        (old,) = feature.bytes_list.value
        changed = rng.choice((damage_bytes, damage_image))(old, rng, old)
        feature.bytes_list.value[:] = [changed.data or b""]
        what += f" ({changed.what})"
    else:
        feature.bytes_list.value[:] = [rng.randbytes(5)]
    records[number] = example.SerializeToString(deterministic=True)
    return Damaged(_join(records), what, is_noticeable)
