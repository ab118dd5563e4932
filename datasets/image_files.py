"""Finds image files and converts them to JPEG or PNG that TensorFlow decodes.

- 8-bit JPEG and PNG files in grayscale or RGB are kept byte for byte.
- EXIF orientation is applied to the pixels.
- CMYK and palette images become RGB, one-bit images become grayscale.
- Transparent images are blended onto white.
- 16-bit images keep their upper 8 bits, animations their first frame.
- Images that are re-encoded become PNG, or JPEG of quality 95 if the source was a JPEG
  or a lossy WebP.

Whether the pixels of a file that is kept are intact is left to TensorFlow's decoder,
the same for conversion, training, evaluation and classification; see `image_checks`.

This module does not import TensorFlow, which keeps worker processes quick to start.
"""

import collections
import contextlib
import dataclasses
import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
)
# Written by operating systems, archivers and network drives.
_LITTER = frozenset(("__macosx", "@eadir", "thumbs.db", "desktop.ini"))
# Of a file, and of its decoded pixels: 134 million pixels of 8-bit RGB, which take four
# times as much while they are float32.
MAX_BYTES = 384 * 2**20
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_RGB = 0, 2
_SIXTEEN_BITS = 16
# PNG chunks in which an orientation may be stored.
_PNG_METADATA = frozenset((b"eXIf", b"iTXt", b"tEXt", b"zTXt"))
_EXIF_ORIENTATION = 0x0112
_OTHER_TYPES = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
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
    """Reads a file, and re-encodes it where needed.

    Args:
      path: a JPEG, PNG, BMP, GIF or WebP file; its extension does not matter.

    Raises:
      ValueError: if the file is of another format, too large, no regular file, or so
        damaged that it cannot be re-encoded; the message says which.
      OSError: if it cannot be opened.
    """
    data = _read(path)
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Such as damaged EXIF data beside intact pixels.
            warnings.simplefilter("ignore")
            return _keep_or_convert(data)
    except UnidentifiedImageError:
        raise ValueError("not a JPEG, PNG, BMP, GIF or WebP image") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has too many pixels: {_SCALE_DOWN}") from None
    except Exception as error:  # Pillow's plugins raise many kinds.
        raise ValueError(str(error) or type(error).__name__) from error


def encode_png(pixels: np.ndarray) -> EncodedImage:
    """Encodes pixels as PNG.

    Args:
      pixels: uint8 [height, width] or [height, width, 3].
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "png", *pixels.shape[:2])


def find_other_type(path: str) -> str | None:
    """Returns what a path is if reading it may block, such as "named pipe", or None."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None  # Opening it says why.
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return next(
        (kind for is_kind, kind in _OTHER_TYPES if is_kind(mode)), "special file"
    )


def _read(path: str) -> bytes:
    kind = find_other_type(path)
    if kind:
        raise ValueError(f"it is a {kind}, not a regular file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ValueError(f"the file has {_megabytes(size)}: {_SCALE_DOWN}")
        return file.read()


def _keep_or_convert(data: bytes) -> EncodedImage:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_size(image, data)
    if _is_plain(image, data):
        kind = "png" if image.format == "PNG" else "jpeg"
        return EncodedImage(data, kind, image.height, image.width)
    return _convert(image, data)


def _check_size(image: Image.Image, data: bytes) -> None:
    """Raises ValueError if decoding would take too much memory."""
    # Pillow's modes do not tell all PNG files of 16 bits per channel.
    is_deep = image.mode.startswith("I") or (
        image.format == "PNG" and data[24] == _SIXTEEN_BITS
    )
    channels = max(3, len(image.getbands()))
    size = image.width * image.height * channels * (2 if is_deep else 1)
    if size > MAX_BYTES:
        raise ValueError(
            f"its {image.width} x {image.height} pixels decode to {_megabytes(size)}: "
            f"{_SCALE_DOWN}"
        )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


_SCALE_DOWN = (
    f"scale it down, as at most {_megabytes(MAX_BYTES)}, decoded or not, are read"
)


def is_plain(data: bytes) -> bool:
    """Returns whether `load` keeps a file as it is without decoding it.

    True for complete 8-bit JPEG and PNG files in grayscale or RGB that need no
    rotation, by their headers; damage among the pixels is left for TensorFlow to find.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            return _is_plain(image, data)
    except Exception:
        return False


def _is_plain(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        # Pillow would decode the pixels to read metadata.
        return _PNG_METADATA.isdisjoint(_list_png_chunks(data)) and _is_plain_png(
            image, data
        )
    # Some cameras write zeros behind the end.
    return (
        image.format in ("JPEG", "MPO")
        and _is_plain_jpeg(image)
        and _find_transpose(image) is None
        and _JPEG_END in data[-64:]
    )


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
    folders are skipped, see `is_hidden`; so are named pipes, sockets and devices.

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
            path = os.path.join(parent, name)
            kind = find_other_type(path)
            if has_extension(name) and not kind:
                yield path
            elif others is not None:
                extension = os.path.splitext(name)[1].lower()
                others[kind or extension or "no extension"] += 1


def _convert(image: Image.Image, data: bytes) -> EncodedImage:
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
    return b"IEND" in _list_png_chunks(data)


def _list_png_chunks(data: bytes) -> set[bytes]:
    """Returns the names of all chunks of a PNG file before the first damaged one."""
    names = set()
    position = len(_PNG_START)
    while position + 12 <= len(data) and b"IEND" not in names:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        # One slice of a view, as the pixels should not be copied.
        checksum = zlib.crc32(memoryview(data)[position + 4 : end])
        if data[end : end + 4] != struct.pack(">I", checksum):
            break
        names.add(name)
        position = end + 4
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
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
