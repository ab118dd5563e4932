"""Reports as text tables, for all tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from deployment import text
from deployment.models.spec import ModelSpec

# More would not fit on a screen.
_MAX_ROWS = 100
_NUM_WORST = 20
_MAX_NAME_LENGTH = 30


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], num_text: int = 1
) -> str:
    """Formats a table.

    Args:
      header: the name of each column.
      rows: cells, as many as the header has.
      num_text: number of columns on the left that are aligned left; the others are
        aligned right.
    """
    numbers = range(num_text, len(header))
    return text.format_table(list(header), list(rows), numbers, rule=False)


def format_values(values: Mapping[str, float]) -> str:
    """Formats one line per metric."""
    width = max(map(len, values))
    return "\n".join(f"{name:<{width}}  {v:.4f}" for name, v in values.items())


def format_fractions(values: Iterable[float]) -> list[str]:
    """Formats numbers as cells with four decimals."""
    return [f"{value:.4f}" for value in values]


def format_percent(fraction: float) -> str:
    """Formats a probability without rounding it to 0 or 1."""
    if fraction > 0.999:
        return "> 99.9 %"
    return f"{100 * fraction:.1f} %" if fraction >= 0.001 else "< 0.1 %"


def list_names(spec: ModelSpec) -> tuple[str, ...]:
    """Returns the name of each output, fit to print."""
    return tuple(map(text.printable, spec.names))


def shorten(name: str) -> str:
    """Cuts off a long name."""
    is_long = len(name) > _MAX_NAME_LENGTH
    return name[: _MAX_NAME_LENGTH - 1] + "…" if is_long else name


def to_records(
    title: str, names: Sequence[str], columns: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Returns one dict per name, with JSON values.

    Args:
      title: key of the name.
      names: n names.
      columns: key to values, shape [n].
    """
    return [
        {title: name, **{key: values[i].item() for key, values in columns.items()}}
        for i, name in enumerate(names)
    ]


def to_rows(records: Sequence[Mapping[str, Any]]) -> list[tuple]:
    """Returns the rows of a CSV file, the header first."""
    return [tuple(records[0]), *(tuple(record.values()) for record in records)]


def choose_rows(
    f1: np.ndarray, counts: np.ndarray, noun: str
) -> tuple[Sequence[int], str]:
    """Returns the rows of a per-class table to show, and a note if some are left out.

    Of more than 100 classes the 20 with the lowest F1 are shown.

    Args:
      f1: float [num_classes].
      counts: images of each class; those without any are not shown then.
      noun: 'classes' or 'labels', for the note.
    """
    if len(f1) <= _MAX_ROWS:
        return range(len(f1)), ""
    (occurring,) = np.nonzero(counts)
    order = np.argsort(f1[occurring], kind="stable")
    shown = occurring[order[:_NUM_WORST]]
    return shown, (
        f"\n(The {len(shown)} {noun} with the lowest F1 out of {len(f1)}; eval.json "
        "has all of them.)"
    )
