"""Draws accuracy, loss and learning rate of training runs into one picture."""

import os

import numpy as np

from deployment import files

_INCHES = (10, 10)
_INCHES_A_RUN = 0.2  # For its line in the legend.
_DOTS_PER_INCH = 110
# How much of a curve each point of the smoothed one is the mean of.
SMOOTHING = 0.05
_MANY_RUNS = 10


def draw(runs, output_file, x="steps", smoothing=SMOOTHING):
    """Draws three panels over one another: accuracy, loss, learning rate.

    Each run has a colour. Evaluations are thick lines with dots; training batches are
    thin, with a pale line of the single values behind their running mean.

    Args:
      runs: a list of `run_measurements.Run`; those with nothing to draw are left out.
      output_file: the picture; its ending decides on the format, such as .png or .svg.
      x: "steps" or "epochs".
      smoothing: which part of a training curve the running mean is taken over, from 0
        (not at all) to 1.

    Returns:
      The runs that were drawn.

    Raises:
      ValueError: if there is nothing to draw, or the format is unknown.
      OSError: if the file cannot be written.
    """
    _check_format(output_file)
    key = {"steps": "step", "epochs": "epoch"}[x]
    drawn = [run for run in runs if any(_list_curves(run, key))]
    if not drawn:
        raise ValueError(_explain_nothing(runs, x))
    from matplotlib.figure import Figure

    size = (_INCHES[0], _INCHES[1] + _INCHES_A_RUN * len(drawn))
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    figure.suptitle(_describe(drawn), fontsize=13)
    colors = _choose_colors(len(drawn))
    for run, color in zip(drawn, colors, strict=True):
        _draw_metric(panels[0], run, "accuracy", key, color, smoothing, scale=100)
        _draw_metric(panels[1], run, "loss", key, color, smoothing)
        rates = run.get_curve("training", "learning_rate", key)
        panels[2].plot(*rates, color=color, marker="." if len(rates[0]) < 3 else None)
        _mark_best(panels[0], run, key, color)
    _finish(figure, panels, drawn, colors, x)
    _save(figure, output_file)
    return drawn


def smooth(values, share):
    """The running mean of a list of floats, centred, over a share of its length."""
    values = np.asarray(values, np.float64)
    reach = int(len(values) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    # Towards the ends the window shrinks on both sides alike: the mean stays centred.
    reaches = np.minimum(np.minimum(places, len(values) - 1 - places), reach)
    first, last = places - reaches, places + reaches + 1
    return (sums[last] - sums[first]) / (last - first)


def _list_curves(run, x):
    for kind in ("training", "evaluations"):
        for metric in ("accuracy", "loss", "learning_rate"):
            yield run.get_curve(kind, metric, x)[0]


def _draw_metric(panel, run, metric, x, color, smoothing, scale=1):
    xs, ys = run.get_curve("training", metric, x)
    ys = np.multiply(ys, scale)
    panel.plot(xs, ys, color=color, alpha=0.25, linewidth=0.8, label="_single")
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
        np.multiply(ys, scale),
        color=color,
        linewidth=2.2,
        marker="o",
        markersize=4 if len(xs) < 60 else 0,
    )


def _mark_best(panel, run, x, color):
    """A star at the best accuracy of the evaluations."""
    xs, ys = run.get_curve("evaluations", "accuracy", x)
    if ys:
        best = int(np.argmax(ys))
        panel.plot(
            xs[best],
            100 * ys[best],
            marker="*",
            markersize=15,
            color=color,
            markeredgecolor="black",
            zorder=5,
        )


def _finish(figure, panels, runs, colors, x):
    """Titles, axes, and the legends: colours for runs, lines for what was measured."""
    from matplotlib.lines import Line2D

    split = runs[0].split
    panels[0].set_title("Accuracy")
    panels[0].set_ylabel("accuracy (%)")
    panels[1].set_title("Loss")
    panels[1].set_ylabel("loss (nats)")
    panels[2].set_title("Learning rate")
    panels[2].set_ylabel("learning rate")
    panels[2].set_xlabel({"steps": "training steps", "epochs": "epochs"}[x])
    _set_limits(panels)
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.margins(x=0.02)
        if not any(len(line.get_xdata()) for line in panel.lines):
            panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
    names = [
        Line2D([], [], color=color, linewidth=3, label=_name(run, x))
        for run, color in zip(runs, colors, strict=True)
    ]
    figure.legend(handles=names, loc="outside lower center")
    kinds = [
        Line2D([], [], color="gray", linewidth=2.2, marker="o", markersize=4),
        Line2D([], [], color="gray", linewidth=1.1, linestyle=(0, (4, 1.5))),
        Line2D([], [], color="gray", alpha=0.4, linewidth=0.8),
        Line2D([], [], color="gray", marker="*", markersize=12, linewidth=0),
    ]
    texts = [split, "training batches, running mean", "training batches", "best"]
    panels[0].legend(kinds, texts, loc="lower right", fontsize=9)
    panels[1].legend(kinds[:3], texts[:3], loc="upper right", fontsize=9)


def _set_limits(panels):
    """Room for what matters: the first losses, and peaks, may lie outside."""
    losses, accuracies = _list_values(panels[1]), _list_values(panels[0])
    if len(losses):
        top = 1.2 * np.percentile(losses, 95)
        panels[1].set_ylim(min(0.0, losses.min() * 1.05), top if top > 0 else None)
    low = np.floor(accuracies.min() / 10 - 0.5) * 10 if len(accuracies) else 0
    panels[0].set_ylim(low if low >= 40 else 0, 101)
    peaks = [max(line.get_ydata(), default=0) for line in panels[2].lines]
    peaks = [peak for peak in peaks if peak > 0]
    if peaks and max(peaks) > 10 * min(peaks):
        rates = _list_values(panels[2])
        panels[2].set_yscale("log")
        lowest = max(rates[rates > 0].min(), 1e-4 * max(peaks))
        panels[2].set_ylim(bottom=0.7 * lowest)
    else:
        panels[2].set_ylim(bottom=0)


def _list_values(panel):
    """All values of a panel's lines, but for those of single batches."""
    lines = (line for line in panel.lines if line.get_label() != "_single")
    return np.concatenate([[], *(np.asarray(line.get_ydata()) for line in lines)])


def _name(run, x):
    """A run's name, with its best accuracy where it was evaluated."""
    key = {"steps": "step", "epochs": "epoch"}[x]
    xs, ys = run.get_curve("evaluations", "accuracy", key)
    if not ys:
        return run.name
    best = int(np.argmax(ys))
    unit = {"steps": "at step", "epochs": "at epoch"}[x]
    return f"{run.name}: best {100 * ys[best]:.1f} % {unit} {xs[best]:,.6g}"


def _describe(runs):
    networks = {run.card.model_name for run in runs if run.card}
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} training runs"
    return f"{title} ({networks.pop()})" if len(networks) == 1 else title


def _choose_colors(count):
    import matplotlib

    if count <= _MANY_RUNS:
        return list(matplotlib.colormaps["tab10"].colors[:count])
    return [matplotlib.colormaps["turbo"](i / (count - 1)) for i in range(count)]


def _check_format(output_file):
    from matplotlib.backend_bases import FigureCanvasBase

    ending = os.path.splitext(output_file)[1].lower().lstrip(".")
    known = FigureCanvasBase.get_supported_filetypes()
    if ending not in known:
        raise ValueError(
            f"--output_file={output_file} does not end like a picture: give .png, or "
            f"one of {', '.join(sorted(known))}."
        )


def _save(figure, output_file):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    folder, name = os.path.split(os.path.abspath(output_file))
    files.make_folder(folder)
    # The ending tells matplotlib the format, so the temporary file keeps it.
    partial = os.path.join(folder, f".partial-{os.getpid()}-{name}")
    try:
        figure.savefig(partial)
        os.replace(partial, output_file)
    finally:
        files.remove(partial)


def _explain_nothing(runs, x):
    names = ", ".join(repr(run.name) for run in runs)
    if x == "epochs" and any(any(_list_curves(run, "step")) for run in runs):
        return (
            f"Nothing in {names} tells how many steps an epoch has: draw them with "
            "--x=steps."
        )
    return (
        f"There is nothing to draw in {names}: no metrics.jsonl, no training.jsonl, "
        "and no event file with scalars."
    )
