"""Draws the weights of a linear model: an image for each of its outputs."""

import math
import warnings

import numpy as np
from PIL import Image

from deployment.models.run_card import RunCard

_MAX_IMAGES = 100
_MAX_TITLE = 24  # Letters.
_PANEL_INCHES = 1.6
_MARGIN_INCHES = 1.2  # For the color bar and its label.
_DOTS_PER_INCH = 110


def draw(weights: np.ndarray, card: RunCard | None = None) -> Image.Image:
    """Draws each column of a weight matrix as an image.

    All images have the same scale of colors: red for positive weights, white for zero,
    blue for negative ones. The channels of color images are drawn side by side. Only
    the first 100 columns are drawn.

    Args:
      weights: float [height * width * channels, outputs].
      card: the run card, with the image size, channels and class names; None guesses
        that images are square, with 1 or 3 channels.

    Raises:
      ValueError: if the rows are not the pixels of an image, or values are not finite.
    """
    # Not at the top: importing it takes a second.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not np.isfinite(weights).all():
        raise ValueError("Weights with NaN or infinite values cannot be drawn.")
    size, channels = get_image_shape(len(weights), card)
    titles = get_titles(weights.shape[1], card)
    images = _join_channels(
        weights.reshape(size, size, channels, -1)[..., :_MAX_IMAGES]
    )
    count = len(images)
    columns = math.ceil(math.sqrt(count / channels))
    rows = math.ceil(count / columns)
    inches = (
        columns * channels * _PANEL_INCHES + _MARGIN_INCHES,
        rows * (_PANEL_INCHES + 0.3) + 0.5,
    )
    figure = Figure(inches, dpi=_DOTS_PER_INCH, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(_describe(count, weights.shape[1], channels), fontsize=10)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    limit = float(np.nanmax(np.abs(images))) or 1.0
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="gray")
    for panel, image, title in zip(panels, images, titles, strict=False):
        drawn = panel.imshow(
            image, cmap=colors, vmin=-limit, vmax=limit, interpolation="nearest"
        )
        panel.set_title(title, fontsize=9)
        panel.set(xticks=[], yticks=[])
    for panel in panels[count:]:
        panel.set_axis_off()
    figure.colorbar(drawn, ax=figure.axes, label="weight", shrink=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About letters that the font lacks.
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def get_image_shape(num_pixels: int, card: RunCard | None = None) -> tuple[int, int]:
    """Returns `(size, channels)` of the square images that a linear model reads.

    Args:
      num_pixels: values of an image: the rows of the weight matrix.
      card: the run card; None, or one of another image size, leaves it to a guess.

    Raises:
      ValueError: if there are not the values of a square image with 1 or 3 channels.
    """
    if card is not None:
        channels = 1 if card.use_grayscale else 3
        if num_pixels == card.image_size**2 * channels:
            return card.image_size, channels
    for channels in (1, 3):
        size = math.isqrt(num_pixels // channels)
        if num_pixels == size**2 * channels:
            return size, channels
    raise ValueError(
        f"A weight matrix of {num_pixels:,} rows cannot be drawn: the rows must be the "
        "pixels of a square image with 1 or 3 channels."
    )


def get_titles(num_outputs: int, card: RunCard | None = None) -> list[str]:
    """Returns a title for each column of a weight matrix.

    Args:
      num_outputs: number of columns. A model of two classes may have only one, whose
        positive weights stand for the second class.
      card: the run card, with the names; None numbers the columns.
    """
    names = (card.output_names if card else None) or ()
    short = [
        name if len(name) <= _MAX_TITLE else name[: _MAX_TITLE - 3] + "..."
        for name in names
    ]
    if len(short) == num_outputs:
        return short
    if len(short) == 2 and num_outputs == 1:
        return [f"{short[1]} (red) or {short[0]} (blue)"]
    return [f"output {i}" for i in range(num_outputs)]


def _join_channels(weights: np.ndarray) -> list[np.ndarray]:
    """Returns the columns as [height, width] images, channels side by side."""
    size, _, channels, count = weights.shape
    gap = np.full((size, max(1, size // 16)), np.nan)
    images = []
    for i in range(count):
        parts = [gap] * (2 * channels - 1)
        parts[::2] = [weights[:, :, channel, i] for channel in range(channels)]
        images.append(np.concatenate(parts, axis=1))
    return images


def _describe(num_drawn: int, num_outputs: int, channels: int) -> str:
    title = "Weights"
    if num_drawn < num_outputs:
        title += f" of the first {num_drawn} of {num_outputs:,} outputs"
    return title + (" of the red, green and blue channels" if channels == 3 else "")
