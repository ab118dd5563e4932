"""The measurements of a run: `metrics.jsonl`, `metrics.csv` and `training.jsonl`.

The `.jsonl` files have one JSON object per line. That of an evaluation in
`metrics.jsonl`:

    {"step": 500, "epoch": 4.0, "split": "validation", "num_images": 800, "secs": 12.3,
     "accuracy": 0.61, "loss": 1.02, "train_loss": 1.3, ...}

`metrics.csv` has the same rows as a table. `training.jsonl` has one row per progress
line and evaluation, about that step's batch and the speed since the previous line:

    {"step": 500, "epoch": 4.0, "loss": 1.3, "total_loss": 1.5, "accuracy": 0.53,
     "learning_rate": 0.01, "images_per_sec": 220.1, "data_wait_share": 0.02, ...}

`loss` and `train_loss` do not include regularization and auxiliary classifiers, so they
compare with the `loss` of evaluations; `total_loss` does. Label smoothing, class
weights, mixup and the choice of a regression loss do affect them. Older runs have no
`total_loss`: their `loss` and `train_loss` include everything. Numbers that are not
finite are null.
"""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict

from absl import logging

import checked_json
from deployment import files

METRICS_FILE = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
TRAINING_FILE = "training.jsonl"


class _Labels(TypedDict, total=False):
    """The parts of a row that are no measurements."""

    step: Required[checked_json.Count]
    split: checked_json.Name | None
    time: checked_json.Text | None


class History:
    """The measurements in the folder of a run.

    Reading changes no file, so it is safe while the run is in progress.

    Args:
      train_dir: folder of the run, with or without measurements.

    Raises:
      ValueError: if a file is damaged. An incomplete last line, as a killed process
        leaves it, and zero bytes, as a power cut does, are ignored instead.
    """

    def __init__(self, train_dir: str) -> None:
        self._metrics = _JsonLines(os.path.join(train_dir, METRICS_FILE))
        self._training = _JsonLines(os.path.join(train_dir, TRAINING_FILE))
        self._table_path = os.path.join(train_dir, METRICS_TABLE)
        self._rows = self._metrics.read()
        self._columns = None  # Of the table; None while it may be out of date.

    def rows(self, split: str | None = None) -> list[dict[str, Any]]:
        """Returns the evaluations in order; of one split unless it is None."""
        return [dict(r) for r in self._rows if split in (None, r.get("split"))]

    def training_rows(self) -> list[dict[str, Any]]:
        """Reads the rows of `training.jsonl`."""
        return self._training.read()

    def find_training_row(self, step: int) -> dict[str, Any]:
        """Returns the row of a step in `training.jsonl`; empty if there is none."""
        rows = (row for row in self.training_rows() if row["step"] == step)
        return next(rows, {})

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds an evaluation, replacing one with the same step and split.

        Args:
          row: has `step` and `split`; `time` is added if it is missing.

        Raises:
          OSError: if the files cannot be written.
        """
        row = files.to_plain({**row, "time": row.get("time") or files.utc_now()})
        key = row["step"], row["split"]
        others = [r for r in self._rows if (r["step"], r.get("split")) != key]
        is_new = len(others) == len(self._rows)
        rows = [*others, row]
        if is_new:
            self._metrics.append(row)
        else:
            self._metrics.write(rows)
        self._rows = rows
        if is_new and self._columns is not None and set(row) <= set(self._columns):
            line = _format_table([row], self._columns)
            files.append_text(self._table_path, line, is_durable=False)
        else:
            self._write_table()

    def append_training(self, row: Mapping[str, Any]) -> None:
        """Adds a row to `training.jsonl`, with `time` if it is missing.

        It is durable only after `sync`.

        Raises:
          OSError: if the file cannot be written.
        """
        row = {**row, "time": row.get("time") or files.utc_now()}
        self._training.append(row, is_durable=False)

    def sync(self) -> None:
        """Makes all rows durable.

        Raises:
          OSError: if a file cannot be written.
        """
        self._training.sync()

    def get_last_steps(self) -> dict[str, int]:
        """Returns file name to the step of its last row, of the files with rows."""
        files_ = (self._metrics, self._training)
        return {f.name: f.last_step for f in files_ if f.last_step is not None}

    def find_losses(self, recorded: Mapping[str, Any]) -> list[str]:
        """Returns a sentence about each file that ends before it should.

        Args:
          recorded: what `get_last_steps` returned earlier.
        """
        self._training.read()
        last_steps = self.get_last_steps()
        return [
            f"{name} lacks the rows after step {last_steps.get(name, 0)} up to step "
            f"{step}, as after a power cut or a deletion; curves and early stopping do "
            "without them."
            for name, step in recorded.items()
            if isinstance(step, int) and last_steps.get(name, 0) < step
        ]

    def truncate_after(self, step: int) -> None:
        """Removes all rows after the step at which training resumes.

        Raises:
          OSError: if the files cannot be written.
        """
        self._training.truncate_after(step)
        self._rows = self._metrics.truncate_after(step)
        if self._rows or files.read_text(self._table_path) is not None:
            self._write_table()

    def _write_table(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        header = _format_table([dict(zip(columns, columns, strict=True))], columns)
        table = header + _format_table(self._rows, columns)
        files.write_text(self._table_path, table)
        self._columns = columns


class _JsonLines:
    """A file with one JSON object per line, each with a `step`."""

    def __init__(self, path: str) -> None:
        self._path = path
        # Whether the file is known to end with a complete line.
        self._is_whole = False
        self._is_durable = True
        self.name = os.path.basename(path)
        # The step of the last row that was read or written; None if there is none.
        self.last_step = None

    def read(self) -> list[dict[str, Any]]:
        *lines, rest = (files.read_text(self._path) or "").split("\n")
        rows = [
            self._parse(line, i + 1)
            for i, line in enumerate(lines)
            if line and "\0" not in line
        ]
        self._is_whole = not rest
        if any("\0" in line for line in lines):
            self._is_whole = False
            logging.warning("%s has lost rows, as after a power cut.", self._path)
        if rest:
            with contextlib.suppress(ValueError):  # Incomplete.
                rows.append(self._parse(rest, len(lines) + 1))
        self._note_last(rows)
        return rows

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        files.write_text(self._path, "".join(map(_format_line, rows)))
        self._is_whole = True
        self._note_last(rows)

    def append(self, row: Mapping[str, Any], is_durable: bool = True) -> None:
        if not self._is_whole:
            rows = self.read()
            if not self._is_whole:
                self.write(rows)
        self._is_whole = False  # A failure may leave part of the line.
        files.append_text(self._path, _format_line(row), is_durable)
        self._is_whole = True
        self._is_durable = is_durable
        self._note_last([row])

    def sync(self) -> None:
        if not self._is_durable:
            files.sync(self._path)
        self._is_durable = True

    def truncate_after(self, step: int) -> list[dict[str, Any]]:
        """Removes rows after `step` and an incomplete line; returns the other rows.

        Two processes that wrote at once leave rows out of order, and twice.
        """
        rows = self.read()
        kept = {
            (r["step"], r.get("split")): r for r in rows if r["step"] <= step
        }.values()
        kept = sorted(kept, key=lambda row: row["step"])
        if kept != rows or not self._is_whole:
            self.write(kept)
        return kept

    def _note_last(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.last_step = max((row["step"] for row in rows), default=None)

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = checked_json.parse(line)
            labels = checked_json.check(row, _Labels)
            for name in row.keys() - labels.keys():
                value = row[name]
                if type(value) is not float or not math.isfinite(value):
                    checked_json.check(value, checked_json.Number, name)
        except ValueError as error:
            raise ValueError(
                f"Line {number} of {self._path!r} is damaged ({error}): delete that "
                "line or the file."
            ) from None
        return row


def _format_line(row: Mapping[str, Any]) -> str:
    # As ASCII, so that an incomplete line never ends within a character.
    return json.dumps(files.to_plain(row)) + "\n"


def _format_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
