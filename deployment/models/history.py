"""The measurements of a run: `metrics.jsonl`, `metrics.csv` and `training.jsonl`.

The `.jsonl` files have one JSON object per line. That of an evaluation in
`metrics.jsonl`:

    {"step": 500, "epoch": 4.0, "split": "validation", "num_images": 800, "secs": 12.3,
     "accuracy": 0.61, "loss": 1.02, "train_loss": 1.3, ...}

`metrics.csv` has the same rows as a table. `training.jsonl` has one row per progress
line, about that step's batch and the speed since the previous line:

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
import os
from collections.abc import Mapping, Sequence
from typing import Any

from deployment import files

METRICS_FILE = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
TRAINING_FILE = "training.jsonl"


class History:
    """The measurements in the folder of a run.

    Reading changes no file, so it is safe while the run is in progress.

    Args:
      train_dir: folder of the run, with or without measurements.

    Raises:
      ValueError: if a file is damaged. An incomplete last line, as a killed process
        leaves it, is ignored instead.
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
            files.append_text(self._table_path, _format_table([row], self._columns))
        else:
            self._write_table()

    def append_training(self, row: Mapping[str, Any]) -> None:
        """Adds a row to `training.jsonl`, with `time` if it is missing.

        Raises:
          OSError: if the file cannot be written.
        """
        self._training.append({**row, "time": row.get("time") or files.utc_now()})

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

    def read(self) -> list[dict[str, Any]]:
        *lines, rest = (files.read_text(self._path) or "").split("\n")
        rows = [self._parse(line, i + 1) for i, line in enumerate(lines) if line]
        self._is_whole = not rest
        if rest:
            with contextlib.suppress(ValueError):  # Incomplete.
                rows.append(self._parse(rest, len(lines) + 1))
        return rows

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        files.write_text(self._path, "".join(map(_format_line, rows)))
        self._is_whole = True

    def append(self, row: Mapping[str, Any]) -> None:
        if not self._is_whole:
            rows = self.read()
            if not self._is_whole:
                self.write(rows)
        self._is_whole = False  # A failure may leave part of the line.
        files.append_text(self._path, _format_line(row))
        self._is_whole = True

    def truncate_after(self, step: int) -> list[dict[str, Any]]:
        """Removes rows after `step` and an incomplete line; returns the other rows."""
        rows = self.read()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows) or not self._is_whole:
            self.write(kept)
        return kept

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
            raise ValueError(
                f"Line {number} of {self._path!r} is not a JSON object with a step: "
                "delete that line or the file."
            )
        return row


def _format_line(row: Mapping[str, Any]) -> str:
    # As ASCII, so that an incomplete line never ends within a character.
    return json.dumps(files.to_plain(row)) + "\n"


def _format_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
