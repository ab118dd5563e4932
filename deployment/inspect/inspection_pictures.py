"""The filters of a network's first layer as a picture."""

import math
import os

import numpy as np
from PIL import Image

_CELL_PX = 48  # About: a filter is enlarged by a whole number.
_GAP_PX = 3
_BACKGROUND = 255


def find_first_filters(reader):
    """The name of the variable that holds the filters that see the image.

    Args:
      reader: of `checkpoint_reader.open_checkpoint`.

    Raises:
      ValueError: if there is none: no convolution reads 1, 3 or 4 channels.
    """
    for channels in (3, 1, 4):
        names = [
            variable.name
            for variable in reader.variables.values()
            if len(variable.shape) in (4, 5)
            and variable.shape[-2] == channels
            and min(variable.shape[-4:-2]) > 1
            and variable.shape[-1] > 1
            and "float" in variable.dtype
            # Not what an optimizer keeps of a variable.
            and variable.name.rpartition("/")[0] not in reader.variables
        ]
        if names:
            return min(names, key=lambda name: _order(reader, name))
    raise ValueError(
        f"The checkpoint {reader.path!r} holds no filters of a first layer: no "
        "convolution of 2 pixels or more reads 1, 3 or 4 channels; name a variable "
        "with --filters_variable."
    )


def _order(reader, name):
    """First layers have the shortest names, few outputs and stand first."""
    return reader.variables[name].shape[-1], name.count("/"), name


def draw_filters(filters):
    """A grid of all filters.

    Each filter has its own scale: grey is 0, the largest absolute weight black or
    white (or a full colour).

    Args:
      filters: float [height, width, channels, filters]; for videos with frames in
        front, of which the middle one is drawn.

    Returns:
      A `PIL.Image`: in colour for three channels or more (the first three), else
      grey.

    Raises:
      ValueError: for another rank, or no finite values.
    """
    if filters.ndim not in (4, 5):
        raise ValueError(
            "Filters have the shape [height, width, channels, filters], not "
            f"{list(filters.shape)}: name another variable."
        )
    if filters.ndim == 5:
        filters = filters[len(filters) // 2]
    filters = filters[:, :, : 3 if filters.shape[2] >= 3 else 1].astype(np.float32)
    if not np.isfinite(filters).all():
        raise ValueError(
            "The filters hold values that are not finite: NaN or infinity."
        )
    height, width, channels, count = filters.shape
    largest = np.abs(filters).max(axis=(0, 1, 2), keepdims=True)
    pixels = np.rint(127.5 + 127.5 * filters / np.where(largest > 0, largest, 1))
    factor = max(1, _CELL_PX // max(height, width))
    pixels = pixels.astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
    columns = math.ceil(math.sqrt(count * 1.5))
    rows = math.ceil(count / columns)
    step_y, step_x = height * factor + _GAP_PX, width * factor + _GAP_PX
    grid = np.full(
        (rows * step_y + _GAP_PX, columns * step_x + _GAP_PX, channels),
        _BACKGROUND,
        np.uint8,
    )
    for number in range(count):
        y = number // columns * step_y + _GAP_PX
        x = number % columns * step_x + _GAP_PX
        grid[y : y + height * factor, x : x + width * factor] = pixels[..., number]
    return Image.fromarray(grid if channels == 3 else grid[:, :, 0])


def write_filters(reader, path, name=None):
    """Writes the filters of a checkpoint as a picture, whole or not at all.

    Args:
      reader: of `checkpoint_reader.open_checkpoint`.
      path: the picture, in the format of its ending, such as .png.
      name: the variable; None finds the first layer's.

    Returns:
      (name of the variable, width, height of the picture in pixels).

    Raises:
      ValueError: if the checkpoint has no such variable, or its values cannot be
        drawn, or the picture's format is unknown.
    """
    name = name or find_first_filters(reader)
    picture = draw_filters(reader.read(name))
    if os.path.splitext(path)[1].lower() not in Image.registered_extensions():
        raise ValueError(f"{path!r} has no ending of a picture format: use .png.")
    folder, base = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.getpid()}-{base}")
    try:
        picture.save(temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    return name, *picture.size
