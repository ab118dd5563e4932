"""Reads a label file: a CSV with a column of file names and columns of labels.

    file,label,split
    beach/1.jpg,sunny,train
    beach/2.jpg,cloudy,validation

The file is UTF-8, with or without a byte order mark, and separated by commas; cells may
be quoted. This module does not know what labels mean, and does not import TensorFlow.
"""

import csv
import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

from datasets import image_source

FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
SPLIT_COLUMN = "split"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a label file.

    Attributes:
      line: number of the line, from 1.
      file: normalized name of the image file.
      cells: contents of the label columns; may be empty, which the task judges.
      split: "train", "validation" or "test"; None without a split column.
    """

    line: int
    file: str
    cells: tuple[str, ...]
    split: str | None


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """The contents of a label file.

    Attributes:
      columns: names of the label columns.
      rows: sound rows in the order of the file, one per image.
      faults: line number to the reason why that row is not among `rows`.
      repeats: line number to a sentence about a row that says the same as an earlier
        one.
      files: normalized names of all files that are listed, with or without faults.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: Mapping[int, str]
    repeats: Mapping[int, str]
    files: frozenset[str]


def read(
    path: str,
    file_column: str | None = None,
    label_columns: Sequence[str] | None = None,
) -> LabelTable:
    """Reads a label file.

    Args:
      path: of the CSV file.
      file_column: name of the column of file names; None finds one of `FILE_COLUMNS`,
        or else takes the first column.
      label_columns: names of the label columns; None takes all that are neither the
        file names nor called 'split'.

    Raises:
      ValueError: if the file is no such table, or lacks a column.
      OSError: if it cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(_number_rows(csv.reader(file, strict=True), path))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path!r} is not UTF-8 text ({error.reason} at byte {error.start}): save "
            "it as CSV in UTF-8."
        ) from error
    if not lines:
        raise ValueError(f"{path!r} is empty: its first line must name the columns.")
    header = [name.strip() for name in lines[0][1]]
    columns = _find_columns(header, file_column, label_columns, path)
    rows, faults = [], {}
    for line, cells in lines[1:]:
        try:
            rows.append(_parse_row(line, cells, header, columns))
        except ValueError as error:
            faults[line] = str(error)
    rows, repeats = _remove_duplicates(rows, faults)
    place = header.index(columns.file)
    files = frozenset(
        os.path.normpath(cells[place].strip())
        for _, cells in lines[1:]
        if len(cells) > place
    )
    return LabelTable(columns.labels, rows, faults, repeats, files)


@dataclasses.dataclass(frozen=True)
class _Columns:
    file: str
    labels: tuple[str, ...]
    split: str | None


def _number_rows(reader: Iterator, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row with the number of its first line, without blank lines."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{path!r}, line {line}, is not CSV: {error}.") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _find_columns(
    header: Sequence[str],
    file_column: str | None,
    label_columns: Sequence[str] | None,
    path: str,
) -> _Columns:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{path!r} has several columns {repeated[0]!r}: give each its own name."
        )
    for name in [*([file_column] if file_column else ()), *(label_columns or ())]:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{path!r} has no column {name!r}; its columns are "
                f"{', '.join(map(repr, header))}.{hint}"
            )
    known = {name.lower(): name for name in reversed(header)}
    if not file_column:
        found = [known[name] for name in FILE_COLUMNS if name in known]
        found = [name for name in found if name not in (label_columns or ())]
        file_column = found[0] if found else header[0]
    split = known.get(SPLIT_COLUMN)
    if split == file_column or split in (label_columns or ()):
        split = None
    labels = tuple(
        label_columns or (name for name in header if name not in (file_column, split))
    )
    if not labels or file_column in labels:
        raise ValueError(
            f"{path!r} needs a column of file names and at least one other column of "
            f"labels, separated by commas, but its columns are "
            f"{', '.join(map(repr, header))}."
        )
    return _Columns(file_column, labels, split)


def _parse_row(
    line: int, cells: Sequence[str], header: Sequence[str], columns: _Columns
) -> Row:
    """Raises ValueError with the reason if the row is faulty."""
    if len(cells) != len(header):
        raise ValueError(
            f"there are {len(cells)} cells, but the first line names {len(header)} "
            "columns"
        )
    values = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    if not values[columns.file]:
        raise ValueError(f"column {columns.file!r} is empty")
    split = None
    if columns.split:
        split = image_source.find_split(values[columns.split])
        if split is None:
            raise ValueError(
                f"column {columns.split!r} is {values[columns.split]!r}, but must be "
                "train, validation or test"
            )
    labels = tuple(values[name] for name in columns.labels)
    return Row(line, os.path.normpath(values[columns.file]), labels, split)


def _remove_duplicates(
    rows: Sequence[Row], faults: dict[int, str]
) -> tuple[tuple[Row, ...], dict[int, str]]:
    """Returns rows of different files, and which were dropped as repeats.

    Where rows contradict each other none of them can be trusted: all become faults.
    """
    by_file: dict[str, list[Row]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row)
    kept, repeats = [], {}
    for file, group in by_file.items():
        first, *others = group
        if len({(row.cells, row.split) for row in group}) == 1:
            kept.append(first)
            for row in others:
                repeats[row.line] = f"{file!r} is listed again, as in line {first.line}"
            continue
        for row in group:
            lines = [str(other.line) for other in group if other is not row]
            faults[row.line] = (
                f"{file!r} is labeled differently in line {', '.join(lines)}"
            )
    return tuple(kept), repeats
