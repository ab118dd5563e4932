"""Damages bytes at random."""

import numpy as np


def mutate(data: bytes, random: np.random.RandomState) -> bytes:
    """Returns the data with bits flipped, bytes replaced, removed, repeated or cut."""
    data = bytearray(data)
    for _ in range(random.randint(1, 3)):
        if not data:
            break
        begin = random.randint(len(data))
        end = begin + random.randint(1, 40)
        kind = random.randint(6)
        if kind == 0:
            data[begin] ^= 1 << random.randint(8)
        elif kind == 1:
            data[begin] = random.choice([0, 1, 127, 128, 255])
        elif kind == 2:
            del data[begin:end]
        elif kind == 3:
            data[begin:begin] = data[begin:end]
        elif kind == 4:
            data[begin:end] = bytes(end - begin)
        else:
            del data[begin + 1 :]
    return bytes(data)
