"""Charts of evaluations and of learning rates as PNG images."""

import io
import math
import warnings
from collections.abc import Sequence

import numpy as np

# Above these numbers of classes, counts and names would be illegible.
_MAX_COUNTS = 20
_MAX_NAMES = 60
_MAX_NAME_LENGTH = 24
# Fraction of a row above which its count is written in white.
_DARK = 0.55
_MAX_TARGETS = 9
_PANEL_INCHES = 4.2


def draw_confusion(
    confusion: np.ndarray, names: Sequence[str]
) -> tuple[bytes, int, int]:
    """Draws a confusion matrix with one row per label, shaded by fraction of the row.

    Up to 20 classes have their counts written in, up to 60 their names beside them.

    Args:
      confusion: int64 [num_classes, num_classes].
      names: the name of each class.

    Returns:
      `(png, height, width)`, sizes in pixels.
    """
    num_classes = len(confusion)
    side_inches = np.clip(0.55 * num_classes, 3.5, 12)
    figure = _make_figure(side_inches + 2, side_inches + 1)
    axes = figure.add_subplot()
    fractions = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, shrink=0.8, label="fraction of the label's images")
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if num_classes <= _MAX_NAMES:
        _write_names(axes, names)
    if num_classes <= _MAX_COUNTS:
        for row, column in np.ndindex(confusion.shape):
            axes.text(
                *(column, row, confusion[row, column]),
                ha="center",
                va="center",
                color="white" if fractions[row, column] > _DARK else "black",
                fontsize="small" if confusion.max() < 1000 else "x-small",
            )
    return _render(figure)


def draw_scatter(
    labels: np.ndarray, values: np.ndarray, names: Sequence[str]
) -> tuple[bytes, int, int]:
    """Plots predictions against labels, one panel per target (the first 9).

    Args:
      labels: float [n, num_targets].
      values: float [n, num_targets], predictions.
      names: the name of each target.

    Returns:
      `(png, height, width)`, sizes in pixels.
    """
    figure, panels = _make_panels(names)
    for i, axes in enumerate(panels):
        finite = np.isfinite(labels[:, i]) & np.isfinite(values[:, i])
        x, y = labels[finite, i], values[finite, i]
        axes.set_xlabel("label")
        axes.set_ylabel("prediction")
        if not len(x):
            continue
        size = float(np.clip(4000 / len(x), 3, 24))
        axes.scatter(x, y, s=size, alpha=0.5, linewidths=0)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        margin = 0.05 * (high - low) or 1.0
        limits = low - margin, high + margin
        axes.plot(limits, limits, color="gray", linewidth=1, linestyle="--", zorder=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
    return _render(figure)


def draw_errors(errors: np.ndarray, names: Sequence[str]) -> tuple[bytes, int, int]:
    """Plots a histogram of the errors of each target (the first 9).

    Args:
      errors: float [n, num_targets], prediction minus label.
      names: the name of each target.

    Returns:
      `(png, height, width)`, sizes in pixels.
    """
    figure, panels = _make_panels(names)
    for i, axes in enumerate(panels):
        finite = errors[np.isfinite(errors[:, i]), i]
        axes.set_xlabel("prediction - label")
        axes.set_ylabel("images")
        if len(finite):
            axes.hist(finite, bins=int(np.clip(math.sqrt(len(finite)), 5, 50)))
        axes.axvline(0, color="gray", linewidth=1, linestyle="--")
    return _render(figure)


def draw_learning_rates(
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    suggestion: float | None,
) -> tuple[bytes, int, int]:
    """Plots losses against learning rates on a logarithmic axis.

    Args:
      rates: float [n].
      losses: float [n].
      smoothed: float [n], smoothed losses.
      suggestion: the rate to mark; None for none.

    Returns:
      `(png, height, width)`, sizes in pixels.
    """
    figure = _make_figure(6.4, 4.4)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="tab:blue", alpha=0.3, label="loss")
    axes.plot(rates, smoothed, color="tab:blue", label="smoothed loss")
    if suggestion is not None:
        label = f"suggestion: {suggestion:.2g}"
        axes.axvline(suggestion, color="tab:red", linestyle="--", label=label)
    # Where it diverges, the loss would press the rest of the curve flat.
    low, high = smoothed.min(), max(smoothed[0], smoothed.min() + 1e-6)
    axes.set_ylim(low - 0.3 * (high - low), high + (high - low))
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend()
    return _render(figure)


def _make_figure(width_inches: float, height_inches: float):
    from matplotlib.figure import Figure  # Takes a second to import.

    return Figure((width_inches, height_inches), layout="constrained")


def _make_panels(names: Sequence[str]):
    """Returns a figure and its axes, one for each name."""
    names = names[:_MAX_TARGETS]
    num_columns = math.ceil(math.sqrt(len(names)))
    num_rows = math.ceil(len(names) / num_columns)
    figure = _make_figure(_PANEL_INCHES * num_columns, _PANEL_INCHES * num_rows)
    panels = [
        figure.add_subplot(num_rows, num_columns, i + 1) for i in range(len(names))
    ]
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(_shorten(name), parse_math=False)
        axes.locator_params(nbins=6)
    return figure, panels


def _render(figure) -> tuple[bytes, int, int]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About characters that the font lacks.
        canvas.print_png(buffer)
    width, height = canvas.get_width_height()
    return buffer.getvalue(), height, width


def _write_names(axes, names: Sequence[str]) -> None:
    # A name such as "$5 note" is not a formula.
    options = {
        "labels": [_shorten(name) for name in names],
        "parse_math": False,
        "fontsize": "small",
    }
    turn = {"rotation": 45, "ha": "right"} if len(names) <= 30 else {"rotation": 90}
    axes.set_xticks(range(len(names)), **turn, **options)
    axes.set_yticks(range(len(names)), **options)


def _shorten(name: str) -> str:
    is_long = len(name) > _MAX_NAME_LENGTH
    return name[: _MAX_NAME_LENGTH - 1] + "…" if is_long else name
