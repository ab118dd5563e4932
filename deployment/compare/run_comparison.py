"""A table of training runs: the settings that differ, and what came of them."""

import datetime

from deployment import files
from deployment.models import run_card

# Not settings, or different in every run.
_LEFT_OUT = {"train_dir", "flags", "versions", "sessions", "results", "extra"}
_MAX_WIDTH = 36


def compare(runs):
    """A text table of runs, one a column, one setting or result a row.

    Args:
      runs: a list of `run_measurements.Run`, each with a card.

    Returns:
      A string of lines.
    """
    settings = [_list_settings(run.card) for run in runs]
    names = list(dict.fromkeys(name for own in settings for name in own))
    rows = [
        (name, [_format(own.get(name, "-")) for own in settings])
        for name in sorted(names)
    ]
    rows = [(name, values) for name, values in rows if len(set(values)) > 1]
    if not rows:
        rows = [("settings", ["the same"] * len(runs))]
    results = [_list_results(run) for run in runs]
    ends = [(name, [own[name] for own in results]) for name in results[0]]
    return _format_table([run.name for run in runs], rows, ends)


def _list_settings(card):
    """A card's settings, by name: its flags, and what else was found out."""
    own = {name: value for name, value in vars(card).items() if name not in _LEFT_OUT}
    flags = {name: v for name, v in card.flags.items() if name not in _LEFT_OUT}
    versions = {f"version of {name}": v for name, v in card.versions.items()}
    return {**flags, **own, **versions}


def _list_results(run):
    """A run's results as texts, by name."""
    results, sessions = run.card.results, run.card.sessions
    best = results.get("best") or _find_best(run)
    ended = [s for s in sessions if s.get("secs") and s.get("to_step") is not None]
    secs = sum(session["secs"] for session in ended)
    images = sum((s["to_step"] - s["from_step"]) * s["images_per_step"] for s in ended)
    step = results.get("step")
    return {
        "best metric": f"{best['metric']} {best['value']:.4f}" if best else "-",
        "at step": _format(best["step"] if best else "-"),
        "trained steps": _format("-" if step is None else step),
        "trained epochs": _format_epochs(run.card, step),
        "duration": str(datetime.timedelta(seconds=round(secs))) if secs else "-",
        "images/s": f"{images / secs:.1f}" if secs else "-",
        "stopped because": _format(results.get("stopped_because") or "-"),
    }


def _find_best(run):
    steps, values = run.get_curve("evaluations", "accuracy", "step")
    if not values:
        return None
    value = max(values)
    return {"metric": "accuracy", "value": value, "step": steps[values.index(value)]}


def _format_epochs(card, step):
    if step is None or not card.num_samples or not card.sessions:
        return "-"
    return f"{run_card.images_seen(card, step) / card.num_samples:.1f}"


def _format(value):
    value = files.to_plain(value)
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "unset" if value is None else str(value)
    return text if len(text) <= _MAX_WIDTH else text[: _MAX_WIDTH - 3] + "..."


def _format_table(heads, *parts):
    """Lines of columns of equal width, a rule under the heads and between parts."""
    rows = [("", heads), *(row for part in parts for row in part)]
    widths = [max(len(values[i]) for _, values in rows) for i in range(len(heads))]
    first = max(len(name) for name, _ in rows)

    def format_row(name, values):
        cells = [v.ljust(width) for v, width in zip(values, widths, strict=True)]
        return "  ".join([name.ljust(first), *cells]).rstrip()

    rule = "-" * (first + sum(widths) + 2 * len(widths))
    lines = [format_row("", heads)]
    for part in parts:
        lines.append(rule)
        lines.extend(format_row(name, values) for name, values in part)
    return "\n".join(lines)
