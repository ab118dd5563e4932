"""The checksum of checkpoint files (CRC-32C, masked), fast enough for all of one.

A checksum is a chain: each byte's step needs the step before. But it is linear, so the
data is cut into lanes that go side by side in NumPy, and their checksums are joined
in pairs: that of `a` followed by `b` is that of `a`, carried over as many zero bytes
as `b` has, xor that of `b`.
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANE_BYTES = 512
_LONG_BYTES = 1 << 14  # Below this the plain loop is as fast.
_PIECE_BYTES = 1 << 22  # Lanes are copied; so much at a time.


def compute_masked(data, state=0xFFFFFFFF):
    """The masked CRC-32C of bytes, as tables and bundles store it."""
    return mask(extend(state, data))


def mask(state):
    """What is stored for the state after the last byte."""
    crc = state ^ 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def extend(state, data):
    """The state after further bytes; the first state is 0xFFFFFFFF.

    Args:
      state: int.
      data: bytes, or anything else with a buffer.
    """
    data = np.frombuffer(data, np.uint8)
    while data.size >= _LONG_BYTES:
        length = min(data.size - data.size % _LANE_BYTES, _PIECE_BYTES)
        state = _extend_in_lanes(state, data[:length])
        data = data[length:]
    table = _get_table().tolist()
    for byte in data.tolist():
        state = table[(state ^ byte) & 0xFF] ^ state >> 8
    return state


def _extend_in_lanes(state, data):
    table = _get_table()
    columns = np.ascontiguousarray(data.reshape(-1, _LANE_BYTES).T)
    num_lanes = columns.shape[1]
    states = np.zeros(num_lanes, np.uint32)
    states[0] = state
    for column in columns:
        states = table[(states ^ column) & 0xFF] ^ states >> 8
    # Lanes of zeros in front change nothing, and make their number a power of two.
    padded = np.zeros(1 << (num_lanes - 1).bit_length(), np.uint32)
    padded[padded.size - num_lanes :] = states
    level = 0
    while padded.size > 1:
        padded = _apply(_carry_matrix(level), padded[0::2]) ^ padded[1::2]
        level += 1
    return int(padded[0])


@functools.cache
def _get_table():
    """uint32 [256]: what a byte adds."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> 1 ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


@functools.cache
def _carry_matrix(level):
    """uint32 [32]: where each bit goes over `_LANE_BYTES * 2**level` zero bytes."""
    if level > 0:
        half = _carry_matrix(level - 1)
        return _apply(half, half)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_LANE_BYTES):
        bits = _get_table()[bits & 0xFF] ^ bits >> 8
    return bits


def _apply(matrix, values):
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= np.where(values >> bit & 1, matrix[bit], np.uint32(0))
    return result
