"""The confusion matrix as a picture."""

import io
import warnings

import numpy as np

# Beyond these, counts and names would no longer be legible.
_MAX_COUNTS = 20
_MAX_NAMES = 60
_MAX_NAME_LETTERS = 24
_DARK = 0.55


def draw(confusion, class_names):
    """Draws a confusion matrix: a row for each label, shaded by shares of the row.

    Up to 20 classes have their counts written in, up to 60 their names beside them.

    Args:
      confusion: int64, shape [num_classes, num_classes].
      class_names: the classes' names, in order.

    Returns:
      `(png, height, width)`: bytes, and the sizes in pixels.
    """
    # Here, because it takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_classes = len(confusion)
    side_inches = np.clip(0.55 * num_classes, 3.5, 12)
    figure = Figure((side_inches + 2, side_inches + 1), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, shrink=0.8, label="share of the label's images")
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if num_classes <= _MAX_NAMES:
        _write_names(axes, class_names)
    if num_classes <= _MAX_COUNTS:
        for row, column in np.ndindex(confusion.shape):
            color = "white" if shares[row, column] > _DARK else "black"
            axes.text(
                *(column, row, confusion[row, column]),
                ha="center",
                va="center",
                color=color,
                fontsize="small" if confusion.max() < 1000 else "x-small",
            )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of letters that the font lacks.
        canvas.print_png(buffer)
    width, height = canvas.get_width_height()
    return buffer.getvalue(), height, width


def _write_names(axes, class_names):
    names = [
        name if len(name) <= _MAX_NAME_LETTERS else name[: _MAX_NAME_LETTERS - 1] + "…"
        for name in class_names
    ]
    # A name such as "$5 note" is no formula.
    options = {"labels": names, "parse_math": False, "fontsize": "small"}
    turn = {"rotation": 45, "ha": "right"} if len(names) <= 30 else {"rotation": 90}
    axes.set_xticks(range(len(names)), **turn, **options)
    axes.set_yticks(range(len(names)), **options)
