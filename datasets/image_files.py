"""Finds image files and converts them to JPEG or PNG that TensorFlow decodes.

- 8-bit JPEG and PNG files in grayscale or RGB are kept byte for byte.
- EXIF orientation is applied to the pixels.
- CMYK and palette images become RGB, one-bit images become grayscale.
- Transparent images are blended onto white.
- 16-bit images keep their upper 8 bits, animations their first frame.
- Images that are re-encoded become PNG, or JPEG of quality 95 if the source was a JPEG
  or a lossy WebP.

This module does not import TensorFlow, which keeps worker processes quick to start.
"""

import collections
import contextlib
import dataclasses
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
)
# Written by operating systems, archivers and network drives.
_LITTER = frozenset(("__macosx", "@eadir", "thumbs.db", "desktop.ini"))
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_RGB = 0, 2
# PNG chunks in which an orientation may be stored.
_PNG_METADATA = frozenset((b"eXIf", b"iTXt", b"tEXt", b"zTXt"))
_EXIF_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An encoded image.

    Attributes:
      encoded: contents of the file.
      format: "jpeg" or "png".
      height: in pixels.
      width: in pixels.
    """

    encoded: bytes
    format: str
    height: int
    width: int


def load(path: str) -> EncodedImage:
    """Reads a file, decodes it to find damage, and re-encodes it where needed.

    Args:
      path: a JPEG, PNG, BMP, GIF or WebP file; its extension does not matter.

    Raises:
      ValueError: if the file is damaged or of another format; the message says which.
      OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        data = file.read()
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Such as damaged EXIF data beside intact pixels.
            warnings.simplefilter("ignore")
            return _convert(data)
    except UnidentifiedImageError:
        raise ValueError("not a JPEG, PNG, BMP, GIF or WebP image") from None
    except Exception as error:  # Pillow's plugins raise many kinds.
        raise ValueError(str(error) or type(error).__name__) from error


def is_plain(data: bytes) -> bool:
    """Returns whether TensorFlow decodes a file as `load` would, by its header.

    True for complete 8-bit JPEG and PNG files in grayscale or RGB that need no
    rotation. The pixels are not decoded, which would take longer than many a network;
    damage among them is left for TensorFlow to find.
    """
    is_png = data.startswith(_PNG_START)
    if is_png and not _PNG_METADATA.isdisjoint(_list_png_chunks(data)):
        return False  # Pillow would decode the pixels to read these.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            if is_png:
                return _is_plain_png(image, data)
            # Some cameras write zeros behind the end.
            return (
                _is_plain_jpeg(image)
                and _find_transpose(image) is None
                and _JPEG_END in data[-64:]
            )
    except Exception:
        return False


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is hidden or was left by the system.

    Args:
      name: without its folder, such as ".DS_Store", "._1.jpg" or "__MACOSX".
    """
    return name.startswith(".") or name.lower() in _LITTER


def has_extension(name: str) -> bool:
    """Returns whether a file's extension is that of an image, in any case."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def walk(
    folder: str,
    parents: Sequence[str] = (),
    others: collections.Counter | None = None,
    onerror: Callable[[OSError], None] | None = None,
) -> Iterator[str]:
    """Yields the paths of all images below a folder, sorted within each folder.

    Symbolic links are followed, each folder is visited once, and hidden files and
    folders are skipped, see `is_hidden`.

    Args:
      folder: where to start.
      parents: folders to which a symbolic link must not lead back.
      others: extension to number of files that are no images; added to.
      onerror: called if a folder cannot be listed; None skips the folder.
    """
    seen = {os.path.realpath(path) for path in parents}
    for parent, folders, files in os.walk(folder, onerror=onerror, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if is_hidden(name):
                continue
            if has_extension(name):
                yield os.path.join(parent, name)
            elif others is not None:
                extension = os.path.splitext(name)[1].lower()
                others[extension or "no extension"] += 1


def _convert(data: bytes) -> EncodedImage:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    is_jpeg = image.format in ("JPEG", "MPO")
    transpose = _find_transpose(image)
    if transpose is None and (
        _is_plain_jpeg(image) if is_jpeg else _is_plain_png(image, data)
    ):
        kind = "jpeg" if is_jpeg else "png"
        return EncodedImage(data, kind, image.height, image.width)
    image = _flatten(image if transpose is None else image.transpose(transpose))
    buffer = io.BytesIO()
    if is_jpeg or _is_lossy_webp(data):
        image.save(buffer, "JPEG", quality=95, subsampling=0, icc_profile=None)
        kind = "jpeg"
    else:
        image.save(buffer, "PNG", icc_profile=None)
        kind = "png"
    return EncodedImage(buffer.getvalue(), kind, image.height, image.width)


def _find_transpose(image: Image.Image) -> Image.Transpose | None:
    """Returns what turns the image upright; None if it is, or if EXIF is damaged."""
    with contextlib.suppress(Exception):
        return _TRANSPOSES.get(image.getexif().get(_EXIF_ORIENTATION))
    return None


def _is_plain_jpeg(image: Image.Image) -> bool:
    return image.mode in ("L", "RGB")


def _is_plain_png(image: Image.Image, data: bytes) -> bool:
    if image.format != "PNG" or image.has_transparency_data:
        return False
    bit_depth, color_type = data[24], data[25]
    if bit_depth != 8 or color_type not in (_PNG_GRAY, _PNG_RGB):
        return False
    # Pillow decodes without the end and without checksums, TensorFlow does not.
    if b"IEND" not in _list_png_chunks(data):
        return False
    try:
        Image.open(io.BytesIO(data)).verify()
    except Exception:
        return False
    return True


def _list_png_chunks(data: bytes) -> set[bytes]:
    """Returns the names of all complete chunks of a PNG file."""
    names = set()
    position = len(_PNG_START)
    while position + 12 <= len(data) and b"IEND" not in names:
        length, name = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if position <= len(data):
            names.add(name)
    return names


def _is_lossy_webp(data: bytes) -> bool:
    if data[:4] != b"RIFF":
        return False
    return data[12:16] == b"VP8 " or (data[12:16] == b"VP8X" and b"VP8L" not in data)


def _flatten(image: Image.Image) -> Image.Image:
    """Returns the image as 8-bit grayscale (mode L) or RGB, without transparency."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
