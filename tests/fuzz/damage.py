"""Damage to bytes of any format; the other damage modules know a format's structure.

A damage function takes (data, rng, other) - the contents of a file, a `random.Random`
and the contents of another file of the same kind - and returns a `Damaged`. Nothing but
these three decides what it returns.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Headers, footers and tables are there, and most of the rest is weights or pixels.
_EDGE_BYTES = 512


class Damaged(NamedTuple):
    """The contents of a damaged file.

    Attributes:
      data: the contents; None for a file that is removed.
      what: what was done to it.
      must_notice: whether a reader whose result changes must say so; None: if the
        format has a checksum.
    """

    data: bytes | None
    what: str
    must_notice: bool | None = None


Damage = Callable[[bytes, random.Random, bytes], Damaged]


def choose_place(rng: random.Random, length: int) -> int:
    """Returns a position in a file, often near its start or its end."""
    if not length:
        return 0
    edge = min(_EDGE_BYTES, length)
    where = rng.random()
    if where < 0.3:
        return rng.randrange(edge)
    if where < 0.6:
        return length - 1 - rng.randrange(edge)
    return rng.randrange(length)


def choose_range(rng: random.Random, length: int) -> tuple[int, int]:
    """Returns start and end of a range of a file, short more often than long."""
    start = choose_place(rng, length)
    size = int(2 ** rng.uniform(0, max(length, 2).bit_length()))
    return start, min(start + max(size, 1), length)


def _flip_bit(data, rng, _):
    place = choose_place(rng, len(data))
    bit = rng.randrange(8)
    changed = bytes([data[place] ^ (1 << bit)])
    return data[:place] + changed + data[place + 1 :], f"bit {bit} of byte {place}"


def _change_byte(data, rng, _):
    place = choose_place(rng, len(data))
    value = (data[place] + rng.randrange(1, 256)) % 256
    return data[:place] + bytes([value]) + data[place + 1 :], f"byte {place}={value}"


def _fill(data, rng, _):
    start, end = choose_range(rng, len(data))
    value = rng.choice((0, 0, 0xFF))
    filled = bytes([value]) * (end - start)
    return data[:start] + filled + data[end:], f"bytes {start} to {end}={value}"


def _truncate(data, rng, _):
    size = rng.choice((0, 1, len(data) // 2, choose_place(rng, len(data))))
    return data[:size], f"truncated to {size} bytes"


def _extend(data, rng, other):
    more = rng.choice((b"\0" * 4096, rng.randbytes(64), data, other))
    return data + more, f"{len(more)} bytes appended"


def _repeat(data, rng, _):
    start, end = choose_range(rng, len(data))
    return data[:end] + data[start:], f"bytes {start} to {end} repeated"


def _remove(data, rng, _):
    start, end = choose_range(rng, len(data))
    return data[:start] + data[end:], f"bytes {start} to {end} removed"


def _insert(data, rng, _):
    place = choose_place(rng, len(data))
    more = rng.randbytes(rng.choice((1, 2, 4, 8, 100)))
    return data[:place] + more + data[place:], f"{len(more)} bytes at {place} inserted"


def _swap(data, rng, _):
    a, b = sorted((choose_place(rng, len(data)), choose_place(rng, len(data))))
    size = max(min(rng.choice((1, 4, 64, 512)), b - a, len(data) - b), 0)
    swapped = data[:a] + data[b : b + size] + data[a + size : b]
    swapped += data[a : a + size] + data[b + size :]
    return swapped, f"{size} bytes at {a} and {b} swapped"


def _overwrite_number(data, rng, _):
    """Overwrites what may be a length, an offset or a dimension."""
    place = choose_place(rng, len(data))
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), -1))
    order = rng.choice(("little", "big"))
    number = (value % 2 ** (8 * size)).to_bytes(size, order)
    return data[:place] + number + data[place + size :], f"{value} at {place} ({size})"


def _splice(data, rng, other):
    a, b = choose_place(rng, len(data)), choose_place(rng, len(other))
    return data[:a] + other[b:], f"to {a}, then another file from {b}"


_WAYS = (
    _flip_bit, _flip_bit, _change_byte, _fill, _truncate, _extend, _repeat, _remove,
    _insert, _swap, _overwrite_number, _overwrite_number, _splice,
)  # fmt: skip


def damage_bytes(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Damages a file at one place or several, whatever it contains."""
    if not data:
        return Damaged(rng.randbytes(8), "8 bytes in an empty file")
    steps = []
    for _ in range(1 if rng.random() < 0.8 else rng.randint(2, 5)):
        data, what = rng.choice(_WAYS)(data, rng, other)
        steps.append(what)
        if not data:
            break
    return Damaged(data, "; ".join(steps))


def remove_file(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Removes the file."""
    return Damaged(None, "removed")


def replace_file(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Replaces the whole contents."""
    contents = {
        "nothing": b"",
        "zeros": b"\0" * len(data),
        "ones": b"\xff" * len(data),
        "noise": rng.randbytes(len(data)),
        "a line of text": b"some text\n",
        "JSON": b"{}",
        "a zip archive": b"PK\x05\x06" + b"\0" * 18,
        "HTML": b"<html><body>404 Not Found</body></html>\n",
    }
    name = rng.choice(sorted(contents))
    return Damaged(contents[name], f"replaced by {name}")


def choose_one(damages: Sequence[Damage]) -> Damage:
    """Returns a damage function that does what one of others does."""

    def damage(data, rng, other):
        return rng.choice(damages)(data, rng, other)

    return damage
