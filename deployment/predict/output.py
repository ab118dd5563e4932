"""Writers of predictions: a table, CSV, JSON or Parquet, one image at a time.

    with open_writer("json", "names.json", task) as writer:
        writer.write("a.jpg", task.interpret(scores, spec, limit=5))
        writer.write_failure("b.jpg", "the file is empty")

Results are written at once, so that memory does not grow with the number of images.
"""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

import remote_files
from deployment import files, terminal, text
from deployment.tasks.base import Task

# Columns of probabilities, which get 6 decimals; other numbers get 7 digits, which is
# the precision of float32.
_PROBABILITIES = {"score", "threshold"}
_ARROW_TYPES = {
    **dict.fromkeys(("rank", "class"), "int64"),
    **dict.fromkeys(("score", "threshold", "value"), "float64"),
}
_ROWS_PER_GROUP = 100_000
_ERROR = "error"
_RANK = "rank"  # A column that JSON leaves to the order of its list.


class Writer:
    """Writes the rows of `Task.interpret`.

    Args:
      file: an open text file.
      task: whose rows they are.
    """

    def __init__(self, file: TextIO, task: Task):
        self._file, self.task = file, task

    def write(self, path: str, rows: Sequence[tuple]) -> None:
        """Adds an image and its rows."""
        raise NotImplementedError

    def write_failure(self, path: str, reason: str) -> None:
        """Adds an image that cannot be read; only JSON has a place for it."""

    def close(self) -> None:
        """Completes the output; does not close the file."""


class TableWriter(Writer):
    """Writes the image's path, then a line such as `  0.9876  name` per row.

    Names are made printable.
    """

    def write(self, path: str, rows: Sequence[tuple]) -> None:
        path = remote_files.to_urls(path)
        for line in (path, *(f"  {self.task.format_row(row)}" for row in rows)):
            self._file.write(f"{text.printable(line)}\n")


class CsvWriter(Writer):
    """Writes a line per image and row: the file and the task's columns.

    A name that a spreadsheet would run as a formula gets an apostrophe in front.
    """

    def __init__(self, file: TextIO, task: Task):
        super().__init__(file, task)
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(("file", *task.columns))

    def write(self, path: str, rows: Sequence[tuple]) -> None:
        path = remote_files.to_urls(path)
        for row in rows:
            self._write_row(path, map(_format_cell, self.task.columns, row))

    def _write_row(self, path: str, cells: Iterable[Any]) -> None:
        self._csv.writerow(map(text.csv_cell, (path, *cells)))


class CsvShardWriter(CsvWriter):
    """Writes the lines of `CsvWriter` with a column for unreadable images.

    The last column, `error`, is empty but for these, which have no other columns.
    """

    def __init__(self, file: TextIO, task: Task):
        Writer.__init__(self, file, task)
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(("file", *task.columns, _ERROR))

    def _write_row(self, path: str, cells: Iterable[Any]) -> None:
        super()._write_row(path, (*cells, ""))

    def write_failure(self, path: str, reason: str) -> None:
        super()._write_row(path, (*("" for _ in self.task.columns), reason))


class JsonWriter(Writer):
    """Writes a list with one object per image, one a line.

    {"file": "a.jpg", "predictions": [{"class": 3, "name": "cat", "score": 0.987654}]}
    {"file": "b.jpg", "error": "the file is empty"}
    """

    def __init__(self, file: TextIO, task: Task):
        super().__init__(file, task)
        self._before = "[\n"

    def write(self, path: str, rows: Sequence[tuple]) -> None:
        predictions = [
            {
                name: _round(name, value)
                for name, value in zip(self.task.columns, row, strict=True)
                if name != _RANK
            }
            for row in rows
        ]
        self._add({"file": path, "predictions": predictions})

    def write_failure(self, path: str, reason: str) -> None:
        self._add({"file": path, "error": reason})

    def close(self) -> None:
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")

    def _add(self, record: dict) -> None:
        record = record | {"file": remote_files.to_urls(record["file"])}
        self._file.write(self._before + json.dumps(record, ensure_ascii=False))
        self._before = ",\n"


class ParquetWriter(Writer):
    """Writes a Parquet file with the columns and rows of `CsvShardWriter`.

    Numbers are those of `JsonWriter`; what a row lacks is null.
    """

    def __init__(self, file: TextIO, task: Task):
        super().__init__(file, task)
        arrow, parquet = _import_arrow()
        types = {name: _ARROW_TYPES.get(name, "string") for name in task.columns}
        types = {"file": "string", **types, _ERROR: "string"}
        self._schema = arrow.schema(
            [(name, arrow.type_for_alias(kind)) for name, kind in types.items()]
        )
        self._arrow, self._rows = arrow, []
        self._parquet = parquet.ParquetWriter(file.buffer, self._schema)

    def write(self, path: str, rows: Sequence[tuple]) -> None:
        for row in rows:
            self._add(path, map(_round, self.task.columns, row), None)

    def write_failure(self, path: str, reason: str) -> None:
        self._add(path, (None for _ in self.task.columns), reason)

    def close(self) -> None:
        self._flush()
        self._parquet.close()

    def _add(self, path: str, values: Iterable[Any], error: str | None) -> None:
        self._rows.append(
            [
                _make_text(value) if field.type == "string" else value
                for field, value in zip(
                    self._schema, (path, *values, error), strict=True
                )
            ]
        )
        if len(self._rows) == _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [[] for _ in self._schema]
        self._parquet.write_table(
            self._arrow.Table.from_arrays(
                [
                    self._arrow.array(column, field.type)
                    for field, column in zip(self._schema, columns, strict=True)
                ],
                schema=self._schema,
            )
        )
        self._rows.clear()


def _make_text(value: Any) -> str | None:
    """Returns a value as valid Unicode, which names of files need not be."""
    if value is None:
        return None
    return str(value).encode(errors="backslashreplace").decode()


def _import_arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"Parquet needs the package pyarrow, which cannot be imported ({error}): "
            "pip install -e '.[beam]'."
        ) from error
    return pyarrow, parquet


def _format_cell(column: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:.6f}" if column in _PROBABILITIES else f"{value:.7g}"


def _round(column: str, value: Any) -> Any:
    """Returns a value with the digits that `_format_cell` shows."""
    return float(_format_cell(column, value)) if isinstance(value, float) else value


WRITERS = {
    "table": TableWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
    "parquet": ParquetWriter,
}
# Of output in several files, which nobody reads the messages of.
SHARD_WRITERS = {"csv": CsvShardWriter, "json": JsonWriter, "parquet": ParquetWriter}


def check_packages(output_format: str) -> None:
    """Raises ValueError if a format needs a package that is missing."""
    if output_format == "parquet":
        _import_arrow()


@contextlib.contextmanager
def open_writer(
    output_format: str | None, output_file: str | None, task: Task
) -> Iterator[Writer]:
    """Yields a writer to a file, or to the standard output.

    Args:
      output_format: a key of WRITERS; None chooses by the file's ending.
      output_file: replaced once everything is written, and left alone after an error;
        None or empty for the standard output.
      task: whose predictions are written.

    Raises:
      OSError: if the file cannot be written.
    """
    if output_format is None:
        ending = os.path.splitext(output_file or "")[1].lower().lstrip(".")
        output_format = ending if ending in WRITERS else "table"
    if not output_file:
        if output_format == "parquet":
            raise ValueError(
                "Parquet goes into a file: add --output_file=names.parquet."
            )
        # File names need not be valid Unicode.
        sys.stdout.reconfigure(errors="backslashreplace")
        writer = WRITERS[output_format](sys.stdout, task)
        yield writer
        writer.close()
        return
    with open_file(output_file, task, WRITERS[output_format]) as writer:
        yield writer


@contextlib.contextmanager
def open_file(
    path: str, task: Task, writer_class: Callable[[TextIO, Task], Writer]
) -> Iterator[Writer]:
    """Yields a writer to a file, which is replaced once everything is written.

    Args:
      path: of the file, which is left alone after an error.
      task: whose predictions are written.
      writer_class: a value of `WRITERS` or `SHARD_WRITERS`.

    Raises:
      OSError: if the file cannot be written.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.isdir(path):
        raise OSError(f"{path!r} is a folder: give --output_file a file's name.")
    partial = files.partial_path(path)
    try:
        with (
            open(partial, "w", encoding="utf-8", errors="backslashreplace") as plain,
            terminal.Stream(plain, repr(path)) as file,
        ):
            writer = writer_class(file, task)
            yield writer
            writer.close()
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
