"""What a run measured: `metrics.jsonl`, `metrics.csv` and `training.jsonl`.

Each line of the `.jsonl` files is a JSON object. `metrics` has one an evaluation:

    {"step": 500, "epoch": 4.0, "split": "validation", "num_images": 800, "secs": 12.3,
     "accuracy": 0.61, "loss": 1.02, "top_5": 0.99, "train_loss": 1.3, ...}

`metrics.csv` has the same rows as a table. `training` has one for every few steps,
of the training batches. What is not finite is null.
"""

import contextlib
import csv
import io
import json
import os
import re

from deployment import files

METRICS_FILE = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
TRAINING_FILE = "training.jsonl"


def is_lower_better(metric):
    """Whether a metric is a loss: 'accuracy' and 'top_5' are not, 'loss' is.

    Raises:
      ValueError: if there is no such metric.
    """
    if not re.fullmatch(r"accuracy|loss|top_[1-9]\d*", metric):
        raise ValueError(
            f"There is no metric {metric!r}: choose accuracy, loss, or top_5 (with "
            "more than five classes)."
        )
    return metric == "loss"


class History:
    """The measurements of a run, read from its folder and added to.

    Reading alone changes no file, so it may be done while the run goes on.

    Args:
      train_dir: the folder of the run; it need not have any measurements.

    Raises:
      ValueError: if a file is damaged; a last line that was cut short by a kill is
        left out instead.
    """

    def __init__(self, train_dir):
        self._metrics = _JsonLines(os.path.join(train_dir, METRICS_FILE))
        self._training = _JsonLines(os.path.join(train_dir, TRAINING_FILE))
        self._table_path = os.path.join(train_dir, METRICS_TABLE)
        self._rows = self._metrics.read()
        self._columns = None  # Of the table, once it is known to be up to date.

    def rows(self, split=None):
        """The evaluations in their order, as dicts; of one split unless None."""
        return [dict(r) for r in self._rows if split in (None, r.get("split"))]

    def training_rows(self):
        """The rows of `training.jsonl`, as dicts; read anew each time."""
        return self._training.read()

    def append(self, row):
        """Adds an evaluation, in the place of one of the same step and split.

        Args:
          row: a dict with `step` and `split`; `time` is added if it has none.

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

    def append_training(self, row):
        """Adds a row to `training.jsonl`; `time` is added if it has none.

        Raises:
          OSError: if the file cannot be written.
        """
        self._training.append({**row, "time": row.get("time") or files.utc_now()})

    def truncate_after(self, step):
        """Drops all rows beyond a step, from which training goes on.

        Raises:
          OSError: if the files cannot be written.
        """
        self._training.truncate_after(step)
        self._rows = self._metrics.truncate_after(step)
        if self._rows or files.read_text(self._table_path) is not None:
            self._write_table()

    def _write_table(self):
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        header = _format_table([dict(zip(columns, columns, strict=True))], columns)
        table = header + _format_table(self._rows, columns)
        files.write_text(self._table_path, table)
        self._columns = columns


class _JsonLines:
    """A file of JSON objects with a `step`, one a line."""

    def __init__(self, path):
        self._path = path
        self._is_whole = False  # Whether a row can be added as it is.

    def read(self):
        *lines, rest = (files.read_text(self._path) or "").split("\n")
        rows = [self._parse(line, i + 1) for i, line in enumerate(lines) if line]
        self._is_whole = not rest
        if rest:
            with contextlib.suppress(ValueError):  # Cut short.
                rows.append(self._parse(rest, len(lines) + 1))
        return rows

    def write(self, rows):
        files.write_text(self._path, "".join(map(_format_line, rows)))
        self._is_whole = True

    def append(self, row):
        if not self._is_whole:
            rows = self.read()
            if not self._is_whole:
                self.write(rows)
        self._is_whole = False  # If this fails, a part may be there.
        files.append_text(self._path, _format_line(row))
        self._is_whole = True

    def truncate_after(self, step):
        """Drops rows beyond `step`, and half of one; returns the others."""
        rows = self.read()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows) or not self._is_whole:
            self.write(kept)
        return kept

    def _parse(self, line, number):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
            raise ValueError(
                f"Line {number} of {self._path!r} is no JSON object with a step: "
                "delete that line, or the file."
            )
        return row


def _format_line(row):
    # ASCII: a line that is cut short must not end within a character.
    return json.dumps(files.to_plain(row)) + "\n"


def _format_table(rows, columns):
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
