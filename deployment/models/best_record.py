"""The record of a run's best checkpoints, `best.json` in its folder `best`.

The file has a checksum. Where it is damaged or missing, `rebuild` makes the record
again from the checkpoints in the folder and the evaluations in `metrics.jsonl`.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import checked_json
from checked_json import Count, Finite, Name, Text
from deployment import files
from deployment.models.history import METRICS_FILE, History

FOLDER = "best"
FILE_NAME = "best.json"
_BASE = "model.ckpt-"
_CHECKSUM = "sha256"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A checkpoint that is kept.

    Attributes:
      step: its global step.
      value: its value of the metric.
      task_state: the task's state as of its evaluation; see `ModelSpec.task_state`.
        None if unknown.
    """

    step: Count
    value: Finite
    task_state: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Export:
    """The last export of a best checkpoint.

    Attributes:
      step: the checkpoint's global step.
      folder: the folder of the export, relative to that of the run; "" if unknown.
      files: SHA-256 of its files, by their paths in the folder; see `checksums.read`.
    """

    step: Count
    folder: Text = ""
    files: dict[Text, Text] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestRecord:
    """The best checkpoints of a run.

    Attributes:
      metric: the metric that ranks them.
      checkpoints: those that are kept, best first.
      exported: the last export; None if there was none, or it is unknown.
      is_verified: whether the record had a right checksum when it was read. Files of
        earlier releases have none.
    """

    metric: Name
    checkpoints: tuple[Kept, ...]
    exported: Export | None = None
    is_verified: bool = False

    @classmethod
    def load(cls, folder: str) -> "BestRecord | None":
        """Loads the record in a folder `best`; None if there is none.

        Raises:
          ValueError: if it is damaged; the message is a clause.
        """
        record = files.read_json(os.path.join(folder, FILE_NAME))
        if record is None:
            return None
        found = checked_json.check(record, cls)
        if _CHECKSUM not in record:
            return dataclasses.replace(found, is_verified=False)
        if record.pop(_CHECKSUM) != _compute_checksum(record):
            raise ValueError("its contents do not match its checksum")
        return dataclasses.replace(found, is_verified=True)

    def save(self, folder: str) -> None:
        """Writes the record atomically.

        Raises:
          OSError: if it cannot be written.
        """
        record = {
            "metric": self.metric,
            "checkpoints": [_leave_out_none(kept) for kept in self.checkpoints],
        }
        if self.exported is not None:
            record["exported"] = dataclasses.asdict(self.exported)
        record = files.to_plain(record)
        record[_CHECKSUM] = _compute_checksum(record)
        text = files.to_json(record, indent=1)
        files.write_text(os.path.join(folder, FILE_NAME), text + "\n")


def rebuild(
    train_dir: str,
    metric: str,
    higher_is_better: bool,
    split: str | None,
    problem: str,
    known: Sequence[Kept] = (),
) -> BestRecord:
    """Ranks all complete checkpoints in the folder `best` of a run, changing nothing.

    Args:
      train_dir: the folder of the run.
      metric: the metric to rank by.
      higher_is_better: whether its highest value is best.
      split: the split whose evaluations count; None for any.
      problem: what is wrong with the record, such as "is missing", for the message.
      known: checkpoints whose values count where `metrics.jsonl` has none.

    Raises:
      ValueError: if the value of a checkpoint is unknown.
    """
    folder = os.path.join(train_dir, FOLDER)
    found = {kept.step: kept for kept in known}
    for step, value in read_values(train_dir, metric, split).items():
        state = found[step].task_state if step in found else None
        found[step] = Kept(step, value, state)
    steps = list_complete_steps(files.list_names(folder))
    for step in steps:
        if step not in found:
            raise ValueError(
                f"{os.path.join(folder, FILE_NAME)!r} {problem}, and {METRICS_FILE} "
                f"has no {metric} of step {step} to rank the checkpoints again: "
                f"restore one of the two, or move {folder!r} elsewhere."
            )
    kept = rank((found[step] for step in steps), higher_is_better)
    return BestRecord(metric=metric, checkpoints=kept)


def read_values(train_dir: str, metric: str, split: str | None) -> dict[int, float]:
    """Returns global step to value of a metric, where it was measured."""
    rows = History(train_dir).rows(split)
    values = {row["step"]: row.get(metric) for row in rows}
    return {step: float(v) for step, v in values.items() if v is not None}


def rank(kept: Any, higher_is_better: bool) -> tuple[Kept, ...]:
    """Returns checkpoints, best first; of equal ones the earliest."""
    sign = -1 if higher_is_better else 1
    return tuple(sorted(kept, key=lambda k: (sign * k.value, k.step)))


def list_complete_steps(names: Sequence[str]) -> list[int]:
    """Returns the steps of the checkpoints of which all files exist, in either format.

    Args:
      names: the names in a folder.
    """
    pattern = re.compile(rf"{_BASE}(\d+)(?:\.index|\.data-\d+-of-\d+)?")
    steps = {int(match[1]) for n in names if (match := pattern.fullmatch(n))}
    return sorted(step for step in steps if _is_complete(names, f"{_BASE}{step}"))


def _is_complete(names: Sequence[str], base: str) -> bool:
    counts = [
        int(match[1])
        for name in names
        if (match := re.fullmatch(re.escape(base) + r"\.data-\d+-of-(\d+)", name))
    ]
    is_v2 = f"{base}.index" in names and bool(counts) and len(counts) == counts[0]
    return is_v2 or base in names


def _leave_out_none(value: Any) -> dict[str, Any]:
    items = dataclasses.asdict(value).items()
    return {name: item for name, item in items if item is not None}


def _compute_checksum(record: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a record's values, however they are written."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
