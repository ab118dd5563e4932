"""Picture files as users have them, made into JPEG or PNG that TensorFlow decodes.

- A JPEG in grey or RGB and a PNG of 8 bits in grey or RGB are kept byte for byte.
- A picture that EXIF says is turned is turned for good.
- CMYK becomes RGB; palette and one-bit pictures become RGB and grey.
- Transparent pictures are laid on white.
- Of 16 bits the upper 8 are kept; of an animation the first picture.
- What is encoded anew becomes PNG, which loses nothing, or JPEG of quality 95 where the
  source was JPEG or lossy WebP.

This module does not import TensorFlow, so worker processes start fast.
"""

import dataclasses
import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
)
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_PNG_GREY, _PNG_RGB = 0, 2
_PNG_END = b"IEND\xae\x42\x60\x82"
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
      encoded: the bytes of the file.
      format: "jpeg" or "png".
      height: in pixels.
      width: in pixels.
    """

    encoded: bytes
    format: str
    height: int
    width: int


def load_picture(path: str) -> Picture:
    """Reads a file, decodes all of it, and encodes it anew where that is needed.

    Args:
      path: a JPEG, PNG, BMP, GIF or WebP file, whatever its name ends in.

    Raises:
      ValueError: the file is damaged or of another kind; the message says how.
      OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        data = file.read()
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Such as damaged EXIF data beside sound pixels.
            warnings.simplefilter("ignore")
            return _convert(data)
    except UnidentifiedImageError:
        raise ValueError("not a JPEG, PNG, BMP, GIF or WebP picture") from None
    except Exception as error:  # Pillow's plugins raise many kinds.
        raise ValueError(str(error) or type(error).__name__) from error


def _convert(data: bytes) -> Picture:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    is_jpeg = image.format in ("JPEG", "MPO")
    turn = _find_turn(image)
    if turn is None and (
        image.mode in ("L", "RGB") if is_jpeg else _is_plain_png(image, data)
    ):
        kind = "jpeg" if is_jpeg else "png"
        return Picture(data, kind, image.height, image.width)
    image = _flatten(image if turn is None else image.transpose(turn))
    buffer = io.BytesIO()
    if is_jpeg or _is_lossy_webp(data):
        image.save(buffer, "JPEG", quality=95, subsampling=0, icc_profile=None)
        kind = "jpeg"
    else:
        image.save(buffer, "PNG", icc_profile=None)
        kind = "png"
    return Picture(buffer.getvalue(), kind, image.height, image.width)


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """Returns what puts the picture upright, None where it is so or EXIF is damaged."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION))
    except Exception:
        return None


def _is_plain_png(image: Image.Image, data: bytes) -> bool:
    if image.format != "PNG" or image.has_transparency_data:
        return False
    bit_depth, color_type = data[24], data[25]
    if bit_depth != 8 or color_type not in (_PNG_GREY, _PNG_RGB):
        return False
    # Pillow decodes without the end and without checksums, TensorFlow does not.
    if _PNG_END not in data:
        return False
    try:
        Image.open(io.BytesIO(data)).verify()
    except Exception:
        return False
    return True


def _is_lossy_webp(data: bytes) -> bool:
    if data[:4] != b"RIFF":
        return False
    return data[12:16] == b"VP8 " or (data[12:16] == b"VP8X" and b"VP8L" not in data)


def _flatten(image: Image.Image) -> Image.Image:
    """Returns the picture in grey (mode L) or RGB, with 8 bits and without holes."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
