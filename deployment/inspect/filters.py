"""Draws the filters of a network's first layer, or the weights of a linear model."""

import math

import numpy as np
from PIL import Image

from deployment.inspect import drawing, linear_weights
from deployment.models import variable_kinds
from deployment.models.checkpoint import Checkpoint
from deployment.models.run_card import RunCard

_CELL_PX = 48  # Approximately: filters are enlarged by a whole number.
_GAP_PX = 3
_BACKGROUND = 255


def find_weights(reader: Checkpoint) -> str:
    """Returns the name of the variable whose weights can be drawn as images.

    That is the kernel of the first convolution or, in a model without convolutions,
    the weight matrix if there is only one.

    Raises:
      ValueError: if there is no such variable.
    """
    names = [name for name in reader.variables if _is_weight(reader, name)]
    for channels in (3, 1, 4):
        kernels = [name for name in names if _is_kernel(reader, name, channels)]
        if kernels:
            # First layers have the fewest filters and the shortest names.
            return min(
                kernels,
                key=lambda name: (
                    reader.variables[name].shape[-1], name.count("/"), name,
                ),
            )  # fmt: skip
    ranks = [len(reader.variables[name].shape) for name in names]
    if ranks.count(2) == 1 and max(ranks) == 2:
        return names[ranks.index(2)]
    raise ValueError(
        f"The checkpoint {reader.path!r} has no first layer to draw, neither a "
        "convolution of at least 2x2 pixels over 1, 3 or 4 channels nor a single "
        "weight matrix: choose a variable with --filters_variable."
    )


def _is_weight(reader: Checkpoint, name: str) -> bool:
    kind = variable_kinds.get_kind(name, reader.variables)
    return kind == "model" and "float" in reader.variables[name].dtype


def _is_kernel(reader: Checkpoint, name: str, channels: int) -> bool:
    shape = reader.variables[name].shape
    return (
        len(shape) in (4, 5)
        and shape[-2] == channels
        and min(shape[-4:-2]) > 1
        and shape[-1] > 1
    )


def draw_filters(filters: np.ndarray) -> Image.Image:
    """Draws all filters of a convolution in a grid.

    Each filter has its own scale: gray is 0, and the largest absolute weight is black
    or white, or a fully saturated color.

    Args:
      filters: float [height, width, channels, filters], or [frames, height, width,
        channels, filters] for videos, of which the middle frame is drawn.

    Returns:
      A color image of the first three channels, if there are that many; otherwise a
      grayscale image of the first channel.

    Raises:
      ValueError: if the shape is another or values are not finite.
    """
    if filters.ndim not in (4, 5):
        raise ValueError(
            "Filters have the shape [height, width, channels, filters], not "
            f"{list(filters.shape)}: choose another variable."
        )
    if filters.ndim == 5:
        filters = filters[len(filters) // 2]
    filters = filters[:, :, : 3 if filters.shape[2] >= 3 else 1].astype(np.float32)
    if not np.isfinite(filters).all():
        raise ValueError("Filters with NaN or infinite values cannot be drawn.")
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


def write_weights(
    reader: Checkpoint,
    path: str,
    name: str | None = None,
    card: RunCard | None = None,
) -> tuple[str, int, int]:
    """Draws weights of a checkpoint into an image file.

    Args:
      reader: the checkpoint.
      path: the file to write; its extension decides on the format.
      name: the variable; None finds it, see `find_weights`.
      card: the run card of the checkpoint, with the image size and class names of a
        linear model; None guesses the size.

    Returns:
      `(name, width, height)`: the variable that was drawn, and the image's size in
      pixels.

    Raises:
      ValueError: if the checkpoint has no such variable, it cannot be drawn, or the
        extension is unknown.
      OSError: if the file cannot be written.
    """
    drawing.get_format(path)  # Fails before the work does.
    name = name or find_weights(reader)
    values = reader.read(name)
    if values.ndim == 2:
        image = linear_weights.draw(values, card)
    else:
        image = draw_filters(values)
    drawing.write_image(image, path)
    return name, *image.size
