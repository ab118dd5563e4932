"""Tells by a few bytes whether TensorFlow decodes a picture file as it should be seen.

Most files are plain: a JPEG or PNG of 8 bits in grey or RGB, upright, whole. They need
no second decoder, which would take longer than many a network. All else goes through
`pictures.load_picture`, which turns, flattens and checks.

This module does not import TensorFlow.
"""

import struct
import zlib

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # Baseline, extended and progressive.
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Any other chunk may hold transparency, EXIF data or an animation.
_PNG_CHUNKS = frozenset(
    (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs")
)
_ORIENTATION = 0x0112


def is_plain(data: bytes) -> bool:
    """Whether a file's bytes are a whole, upright JPEG or PNG in 8-bit grey or RGB.

    Never true of a file that `pictures.load_picture` would encode anew; damage within
    the compressed pixels of a JPEG is left for the decoder to find.
    """
    try:
        if data.startswith(_JPEG_START):
            return _is_plain_jpeg(data)
        return data.startswith(_PNG_START) and _is_plain_png(data)
    except (IndexError, struct.error):  # It ends in the middle of a header.
        return False


def _is_plain_jpeg(data):
    # Behind the end some cameras put zeros.
    if _JPEG_END not in data[-64:]:
        return False
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _JPEG_FRAMES:
            precision, height, width, channels = struct.unpack_from(
                ">BHHB", data, position + 4
            )
            return precision == 8 and height * width > 0 and channels in (1, 3)
        segment = data[position + 4 : position + 2 + length]
        if b"tiff:Orientation" in segment:
            return False
        if segment.startswith(b"Exif\0\0") and _read_orientation(segment[6:]) != 1:
            return False
        position += 2 + length
    return False


def _read_orientation(exif):
    """The orientation, from 1 to 8, in EXIF data; 1, upright, where it says none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, place)
        if tag == _ORIENTATION:
            return value if kind == 3 else 0
    return 1


def _is_plain_png(data):
    view = memoryview(data)
    position = len(_PNG_START)
    if data[24] != 8 or data[25] not in (0, 2):
        return False
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if name not in _PNG_CHUNKS or zlib.crc32(view[position + 4 : end]) != checksum:
            return False
        if name == b"IEND":
            return True
        position = end + 4
