"""Writers of predictions: a table, CSV or JSON, one image at a time.

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
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import remote_files
from deployment import files, terminal, text
from deployment.tasks.base import Task

# Columns of probabilities, which get 6 decimals; other numbers get 7 digits, which is
# the precision of float32.
_PROBABILITIES = {"score", "threshold"}
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
            cells = map(_format_cell, self.task.columns, row)
            self._csv.writerow(map(text.csv_cell, (path, *cells)))


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
                name: float(_format_cell(name, value))
                if isinstance(value, float)
                else value
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


def _format_cell(column: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:.6f}" if column in _PROBABILITIES else f"{value:.7g}"


WRITERS = {"table": TableWriter, "csv": CsvWriter, "json": JsonWriter}


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
        # File names need not be valid Unicode.
        sys.stdout.reconfigure(errors="backslashreplace")
        writer = WRITERS[output_format](sys.stdout, task)
        yield writer
        writer.close()
        return
    os.makedirs(os.path.dirname(output_file) or ".", exist_ok=True)
    if os.path.isdir(output_file):
        raise OSError(f"{output_file!r} is a folder: give --output_file a file's name.")
    partial = files.partial_path(output_file)
    try:
        with (
            open(partial, "w", encoding="utf-8", errors="backslashreplace") as plain,
            terminal.Stream(plain, repr(output_file)) as file,
        ):
            writer = WRITERS[output_format](file, task)
            yield writer
            writer.close()
        os.replace(partial, output_file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
