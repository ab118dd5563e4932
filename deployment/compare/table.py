"""Compares training runs in a table: settings that differ, and results."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from deployment import files
from deployment.compare.measurements import Run
from deployment.models import run_card
from deployment.text import format_table

# Fields of a run card that are not settings, or that differ in every run.
_LEFT_OUT = {"train_dir", "flags", "versions", "sessions", "results", "extra"}
_MAX_WIDTH = 36


def compare(runs: Sequence[Run]) -> str:
    """Returns a table with a column for each run.

    The rows are the settings that differ and, below them, the results.

    Args:
      runs: the runs, each with a run card.
    """
    settings = [_list_settings(run.card) for run in runs]
    names = sorted(set().union(*settings))
    rows = [
        [name, *(_format(own.get(name, "-")) for own in settings)] for name in names
    ]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        rows = [["settings", *["the same"] * len(runs)]]
    results = [_list_results(run) for run in runs]
    ends = [[name, *(own[name] for own in results)] for name in results[0]]
    gap = [""] * (len(runs) + 1)
    return format_table(["", *(run.name for run in runs)], [*rows, gap, *ends])


def _list_settings(card: run_card.RunCard) -> dict[str, Any]:
    """Returns a run's settings by name: flags, fields of the card, versions."""
    flags = {name: v for name, v in card.flags.items() if name not in _LEFT_OUT}
    versions = {f"version of {name}": v for name, v in card.versions.items()}
    own = {}
    for name, value in dataclasses.asdict(card).items():
        if name not in _LEFT_OUT:
            own.update(value if isinstance(value, dict) else {name: value})
    return {**flags, **own, **versions}


def _list_results(run: Run) -> dict[str, str]:
    """Returns a run's results by name."""
    results, sessions = run.card.results, run.card.sessions
    best = run.find_best()
    ended = [s for s in sessions if s.get("secs") and s.get("to_step") is not None]
    secs = sum(session["secs"] for session in ended)
    images = sum((s["to_step"] - s["from_step"]) * s["images_per_step"] for s in ended)
    step = results.get("step")
    return {
        "best metric": f"{best.metric} {best.value:.4f}" if best else "-",
        "at step": _format(best.step if best else "-"),
        "trained steps": _format("-" if step is None else step),
        "trained epochs": _format_epochs(run.card, step),
        "duration": str(datetime.timedelta(seconds=round(secs))) if secs else "-",
        "images/s": f"{images / secs:.1f}" if secs else "-",
        "stopped because": _format(results.get("stopped_because") or "-"),
    }


def _format_epochs(card: run_card.RunCard, step: int | None) -> str:
    if step is None or not card.num_samples or not card.sessions:
        return "-"
    return f"{run_card.images_seen(card, step) / card.num_samples:.1f}"


def _format(value: Any) -> str:
    value = files.to_plain(value)
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "unset" if value is None else str(value)
    return text if len(text) <= _MAX_WIDTH else text[: _MAX_WIDTH - 3] + "..."
