"""Draws the metrics and learning rates of training runs into one image."""

import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from deployment import files, text
from deployment.compare.measurements import (
    LEARNING_RATE,
    TOTAL_LOSS,
    Run,
    is_lower_better,
)

# Default fraction of a curve that each value of its running mean averages.
SMOOTHING = 0.05
_PANEL_INCHES = (10, 3.4)
_NARROW_PANEL_INCHES = (8, 3.2)  # In two columns.
_MARGIN_INCHES = 0.8
_INCHES_PER_RUN = 0.2  # Of the legend.
_DOTS_PER_INCH = 110
_MAX_ROWS = 3  # Of one column.
_MAX_DISTINCT_COLORS = 10
_SINGLE_BATCHES = "_single"  # The label of lines that do not count for the limits.
_X_LABELS = {"step": "training steps", "epoch": "epochs"}
_TITLES = {
    "loss": "loss (without regularization)",
    TOTAL_LOSS: "total loss (with regularization)",
}


def draw(
    runs: Sequence[Run],
    output_file: str,
    x: str = "steps",
    smoothing: float = SMOOTHING,
    metrics: Sequence[str] = (),
) -> list[Run]:
    """Draws a panel for each metric, and one for the learning rate.

    Each run has a color. Evaluations are thick lines with dots, and the best one is a
    star. Measurements on training batches are pale lines, below a dashed line of their
    running mean.

    Args:
      runs: the runs; those with nothing to draw are left out.
      output_file: the file to write; its extension decides on the format.
      x: "steps" or "epochs".
      smoothing: fraction of a training curve that each value of its running mean
        averages, from 0 (no smoothing) to 1.
      metrics: the metrics to draw; empty for all but the total loss, which is only
        drawn for runs that did not measure the loss without regularization.

    Returns:
      The runs that were drawn.

    Raises:
      ValueError: if there is nothing to draw, or a metric or the format is unknown.
      OSError: if the file cannot be written.
    """
    _check_format(output_file)
    key = {"steps": "step", "epochs": "epoch"}[x]
    names = [*_choose_metrics(runs, metrics), LEARNING_RATE]
    drawn = [run for run in runs if _has_curves(run, names, key)]
    if not drawn:
        raise ValueError(_explain_nothing(runs, names, x))
    figure, panels = _build_panels(names, len(drawn), _X_LABELS[key])
    figure.suptitle(_get_title(drawn), fontsize=13)
    colors = _choose_colors(len(drawn))
    for run, color in zip(drawn, colors, strict=True):
        for name, panel in panels.items():
            _draw_metric(panel, run, name, key, color, smoothing)
        _mark_best(panels, run, key, color)
    for name, panel in panels.items():
        _finish_panel(panel, name)
    _add_legends(figure, panels[names[0]], names[0], drawn, colors, key)
    _save(figure, output_file)
    return drawn


def smooth(values: Sequence[float], share: float) -> np.ndarray:
    """Returns the centered running mean of values.

    Args:
      values: the values.
      share: width of the window as a fraction of their number. Towards the ends it
        shrinks, to stay symmetric.
    """
    values = np.asarray(values, np.float64)
    reach = int(len(values) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reaches = np.minimum(np.minimum(places, len(values) - 1 - places), reach)
    first, last = places - reaches, places + reaches + 1
    return (sums[last] - sums[first]) / (last - first)


def _choose_metrics(runs: Sequence[Run], wanted: Sequence[str]) -> list[str]:
    """Returns the metrics to draw: those of the best evaluations first, then losses."""
    known = dict.fromkeys(name for run in runs for name in run.metrics)
    for name in wanted:
        if name not in known:
            raise ValueError(text.unknown("metric", name, known))
    if wanted:
        return list(dict.fromkeys(wanted))
    if all(_is_trained(run, "loss") for run in runs if _is_trained(run, TOTAL_LOSS)):
        known.pop(TOTAL_LOSS, None)
    best = [found.metric for found in (run.find_best() for run in runs) if found]
    first = [name for name in (*best, "loss") if name in known]
    return list(dict.fromkeys([*first, *known]))


def _is_trained(run: Run, metric: str) -> bool:
    """Whether a metric was measured on training batches."""
    return bool(run.get_curve("training", metric, "step")[0])


def _has_curves(run: Run, names: Sequence[str], x: str) -> bool:
    return any(
        run.get_curve(kind, name, x)[0]
        for kind in ("training", "evaluations")
        for name in names
    )


def _build_panels(
    names: Sequence[str], num_runs: int, x_label: str
) -> tuple[Any, dict[str, Any]]:
    """Returns an empty figure and its axes by name, in one column or two."""
    # Not at the top: importing it takes a second.
    from matplotlib.figure import Figure

    columns = 1 if len(names) <= _MAX_ROWS else 2
    rows = math.ceil(len(names) / columns)
    width, height = _PANEL_INCHES if columns == 1 else _NARROW_PANEL_INCHES
    size = (
        columns * width,
        rows * height + _MARGIN_INCHES + _INCHES_PER_RUN * num_runs,
    )
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for unused in axes[len(names) :]:
        unused.remove()
    for axis in axes[: len(names)][-columns:]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel(x_label)
    return figure, dict(zip(names, axes, strict=False))


def _draw_metric(
    panel: Any, run: Run, metric: str, x: str, color: Any, smoothing: float
) -> None:
    xs, ys = run.get_curve("training", metric, x)
    if metric == LEARNING_RATE:
        panel.plot(xs, ys, color=color, marker="." if len(xs) < 3 else None)
        return
    panel.plot(xs, ys, color=color, alpha=0.25, linewidth=0.8, label=_SINGLE_BATCHES)
    panel.plot(
        xs,
        smooth(ys, smoothing),
        color=color,
        linewidth=1.1,
        linestyle=(0, (4, 1.5)),
        marker="." if len(xs) < 3 else None,
    )
    xs, ys = run.get_curve("evaluations", metric, x)
    panel.plot(
        xs,
        ys,
        color=color,
        linewidth=2.2,
        marker="o",
        markersize=4 if len(xs) < 60 else 0,
    )


def _find_best_point(run: Run, x: str) -> tuple[str, float, float] | None:
    """Returns `(metric, x, y)` of a run's best evaluation; None if unknown."""
    best = run.find_best()
    if best is None:
        return None
    rows = [row for row in run.evaluations if row.get("step") == best.step]
    place = best.step if x == "step" else rows[-1].get(x) if rows else None
    return None if place is None else (best.metric, place, best.value)


def _mark_best(panels: dict[str, Any], run: Run, x: str, color: Any) -> None:
    """Draws a star at a run's best evaluation."""
    metric, *point = _find_best_point(run, x) or (None,)
    if metric in panels:
        panels[metric].plot(
            *point,
            marker="*",
            markersize=15,
            color=color,
            markeredgecolor="black",
            zorder=5,
        )


def _finish_panel(panel: Any, metric: str) -> None:
    """Adds title and grid, and chooses limits that hide outliers."""
    panel.set_title(_TITLES.get(metric, metric.replace("_", " ")))
    panel.grid(alpha=0.3)
    panel.margins(x=0.02)
    if not any(len(line.get_xdata()) for line in panel.lines):
        panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
        return
    values = _list_values(panel)
    if metric == LEARNING_RATE:
        _set_learning_rate_limits(panel, values)
    elif is_lower_better(metric):
        top = 1.2 * np.percentile(values, 95)
        panel.set_ylim(min(0.0, values.min() * 1.05), top if top > 0 else None)
    else:
        high, low = values.max(), values.min()
        if low < 0:  # Such as R² of the first steps.
            median = np.median(values)
            low = max(low, min(0, median - 3 * (high - median)))
        margin = 0.05 * (high - low) or 0.05
        panel.set_ylim(low - margin, high + margin)


def _set_learning_rate_limits(panel: Any, values: np.ndarray) -> None:
    """Chooses a logarithmic scale if the runs' peaks differ by more than ten times."""
    peaks = [max(line.get_ydata(), default=0) for line in panel.lines]
    peaks = [peak for peak in peaks if peak > 0]
    if peaks and max(peaks) > 10 * min(peaks):
        panel.set_yscale("log")
        lowest = max(values[values > 0].min(), 1e-4 * max(peaks))
        panel.set_ylim(bottom=0.7 * lowest)
    else:
        panel.set_ylim(bottom=0)


def _list_values(panel: Any) -> np.ndarray:
    """Returns all values of a panel's lines, except those of single batches."""
    lines = (line for line in panel.lines if line.get_label() != _SINGLE_BATCHES)
    return np.concatenate([[], *(np.asarray(line.get_ydata()) for line in lines)])


def _add_legends(
    figure: Any, panel: Any, metric: str, runs: Sequence[Run], colors: Sequence, x: str
) -> None:
    """Explains the colors below the panels, and the kinds of lines in one of them."""
    from matplotlib.lines import Line2D

    names = [
        Line2D([], [], color=color, linewidth=3, label=_describe_run(run, x))
        for run, color in zip(runs, colors, strict=True)
    ]
    figure.legend(handles=names, loc="outside lower center")
    kinds = [
        Line2D([], [], color="gray", linewidth=2.2, marker="o", markersize=4),
        Line2D([], [], color="gray", linewidth=1.1, linestyle=(0, (4, 1.5))),
        Line2D([], [], color="gray", alpha=0.4, linewidth=0.8),
        Line2D([], [], color="gray", marker="*", markersize=12, linewidth=0),
    ]
    texts = [
        runs[0].split,
        "training batches, running mean",
        "training batches",
        "best",
    ]
    place = "upper right" if is_lower_better(metric) else "lower right"
    panel.legend(kinds, texts, loc=place, fontsize=9)


def _describe_run(run: Run, x: str) -> str:
    """Returns a run's name and its best evaluation."""
    metric, *point = _find_best_point(run, x) or (None,)
    if metric is None:
        return run.name
    place, value = point
    return f"{run.name}: best {metric} {value:.4g} at {x} {place:,.6g}"


def _get_title(runs: Sequence[Run]) -> str:
    networks = {run.card.model_name for run in runs if run.card}
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} training runs"
    return f"{title} ({networks.pop()})" if len(networks) == 1 else title


def _choose_colors(count: int) -> list[Any]:
    import matplotlib

    if count <= _MAX_DISTINCT_COLORS:
        return list(matplotlib.colormaps["tab10"].colors[:count])
    return [matplotlib.colormaps["turbo"](i / (count - 1)) for i in range(count)]


def _get_format(output_file: str) -> str:
    return os.path.splitext(output_file)[1].lower().lstrip(".")


def _check_format(output_file: str) -> None:
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if _get_format(output_file) not in known:
        raise ValueError(
            f"The output file {output_file!r} has no extension of an image format: use "
            f".png, or one of {', '.join(sorted(known))}."
        )


def _save(figure: Any, output_file: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    image = io.BytesIO()
    figure.savefig(image, format=_get_format(output_file))
    files.make_folder(os.path.dirname(output_file) or ".")
    files.write_bytes(output_file, image.getvalue())


def _explain_nothing(runs: Sequence[Run], names: Sequence[str], x: str) -> str:
    listed = ", ".join(repr(run.name) for run in runs)
    if x == "epochs" and any(_has_curves(run, names, "step") for run in runs):
        return f"The length of an epoch is unknown for {listed}: use --x=steps."
    return (
        f"There is nothing to draw in {listed}: no metrics.jsonl, no training.jsonl "
        "and no event file with scalars."
    )
