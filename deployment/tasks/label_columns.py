"""Readers of the columns of label files."""

from collections.abc import Mapping, Sequence

import numpy as np

from deployment.tasks.base import Labels

_SEPARATOR = ";"


def read_class_names(columns: Mapping[str, Sequence[str]]) -> Labels:
    """Reads one column of class names; classes are in alphabetical order.

    Raises:
      ValueError: if there is another number of columns, or no name.
    """
    if len(columns) != 1:
        raise ValueError(
            "Task classification takes one column of class names, but the label file "
            f"has {len(columns)} ({', '.join(columns)}): remove columns, or choose "
            "another --task."
        )
    ((column, cells),) = columns.items()
    cells = [cell.strip() for cell in cells]
    names = sorted(set(filter(None, cells)))
    if not names:
        raise ValueError(f"Column {column!r} of the label file has no class name.")
    indices = {name: i for i, name in enumerate(names)}
    return Labels(
        names=tuple(names),
        values=np.array([indices.get(cell, 0) for cell in cells], np.int64),
        faults={
            i: f"column {column!r} is empty" for i, cell in enumerate(cells) if not cell
        },
    )


def read_name_lists(columns: Mapping[str, Sequence[str]]) -> Labels:
    """Reads one column of label names separated by ';', in alphabetical order.

    An empty cell is an image without labels.

    Raises:
      ValueError: if there is no name.
    """
    ((column, cells),) = columns.items()
    parts = [
        {part.strip() for part in cell.split(_SEPARATOR) if part.strip()}
        for cell in cells
    ]
    names = sorted(set().union(*parts))
    if not names:
        raise ValueError(f"Column {column!r} of the label file has no label.")
    values = np.zeros([len(parts), len(names)], np.float32)
    for row, own in zip(values, parts, strict=True):
        row[[name in own for name in names]] = 1
    return Labels(tuple(names), values)


def read_indicators(columns: Mapping[str, Sequence[str]]) -> Labels:
    """Reads one 0/1 column per label.

    Raises:
      ValueError: if there is no column.
    """
    _check_any(columns)
    values, faults = [], {}
    for name, cells in columns.items():
        cells = [cell.strip() for cell in cells]
        for i, cell in enumerate(cells):
            if cell not in ("0", "1"):
                faults.setdefault(i, f"column {name!r} is {cell!r}, not 0 or 1")
        values.append([cell == "1" for cell in cells])
    return Labels(tuple(columns), np.array(values, np.float32).T, faults)


def read_numbers(columns: Mapping[str, Sequence[str]]) -> Labels:
    """Reads one column of numbers per target.

    Raises:
      ValueError: if there is no column.
    """
    _check_any(columns)
    values, faults = [], {}
    for name, cells in columns.items():
        numbers = [_parse(cell) for cell in cells]
        for i, number in enumerate(numbers):
            if number is None:
                fault = f"column {name!r} is {cells[i]!r}, not a finite number"
                faults.setdefault(i, fault)
        values.append([number or 0.0 for number in numbers])
    return Labels(tuple(columns), np.array(values, np.float32).T, faults)


def _check_any(columns: Mapping[str, Sequence[str]]) -> None:
    if not columns:
        raise ValueError(
            "The label file has no label column beside the file names: add one."
        )


def _parse(cell: str) -> float | None:
    """Returns a number that is finite as float32, else None."""
    try:
        number = float(cell)
    except ValueError:
        return None
    # Python reads "1_000" as a number; in a label file it is a typing error.
    is_sound = abs(number) <= float(np.finfo(np.float32).max) and "_" not in cell
    return number if is_sound else None
