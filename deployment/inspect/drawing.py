"""Writes images that reports draw."""

import io
import os

from PIL import Image

from deployment import files


def write_image(image: Image.Image, path: str) -> None:
    """Writes an image; the extension of `path` decides on the format.

    Raises:
      ValueError: if the extension is unknown.
      OSError: if the file cannot be written.
    """
    encoded = io.BytesIO()
    image.save(encoded, get_format(path))
    files.make_folder(os.path.dirname(path) or ".")
    files.write_bytes(path, encoded.getvalue())


def get_format(path: str) -> str:
    """Returns the format of an image file, such as "PNG", from its extension.

    Raises:
      ValueError: if the extension is unknown.
    """
    image_format = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
    if image_format not in Image.SAVE:
        raise ValueError(f"{path!r} has no extension of an image format: use .png.")
    return image_format
