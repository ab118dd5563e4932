"""Reads what training runs measured, for drawing and comparing.

The measurements come from `metrics.jsonl` and `training.jsonl` or, if a run has none,
from its TensorBoard event files. Which metrics there are depends on the run's task.
"""

import dataclasses
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployment.models import history, run_card
from tf_slim_compat import tf

LEARNING_RATE = "learning_rate"
# The loss that is minimized; "loss" has no regularization, as in evaluations.
TOTAL_LOSS = "total_loss"
# Columns of the files that are no metrics.
_OTHER_COLUMNS = {
    "step", "epoch", "split", "time", "secs", "num_images", "images_per_sec",
    "data_wait_share", "train_loss", LEARNING_RATE,
}  # fmt: skip
_LOWER_IS_BETTER = re.compile(r"(.*_)?(loss|error|mae|mse|rmse)", re.IGNORECASE)

# Tags of event files, of this project and its predecessor, for each name in
# `training.jsonl`; the first tag that a step has counts.
_TRAINING_TAGS = {
    "loss": (r"loss", r"clone_loss(_\d+)?", r"losses/clone_loss.*"),
    TOTAL_LOSS: (r"total_loss(_\d+)?", r"losses/total_loss.*"),
    "accuracy": (r"training_accuracy", r"accuracy(_\d+)?"),
    LEARNING_RATE: (r"learning_rate(_\d+)?",),
}


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation of a run.

    Attributes:
      metric: the metric by which it is best.
      value: its value.
      step: the global step.
    """

    metric: str
    value: float
    step: int


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
      name: a short name that is unique among the runs that were read with it.
      card: its run card; None if it has none.
      training: measurements on training batches, in dicts with `step` and, where they
        are known, `epoch`, `learning_rate`, `loss` and other metrics.
      evaluations: measurements on one split, in dicts with `step`, `epoch` and metrics.
      split: the name of that split.
    """

    name: str
    card: run_card.RunCard | None
    training: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    split: str = "validation"

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics: those of evaluations, then those of training."""
        return [
            name
            for name in dict.fromkeys(
                name
                for row in (*self.evaluations, *self.training)
                for name, value in row.items()
                if _is_number(value)
            )
            if name not in _OTHER_COLUMNS
        ]

    def get_curve(
        self, kind: str, metric: str, x: str
    ) -> tuple[list[float], list[float]]:
        """Returns the points of a curve, without missing values, as `(xs, ys)`.

        Args:
          kind: "training" or "evaluations".
          metric: a metric, or "learning_rate".
          x: "step" or "epoch".
        """
        rows = getattr(self, kind)
        points = [(row.get(x), row.get(metric)) for row in rows]
        points = sorted(p for p in points if all(map(_is_number, p)))
        return [p[0] for p in points], [p[1] for p in points]

    def find_best(self) -> Best | None:
        """Returns the best evaluation; None if there was none.

        It is the one in the run card or, if that has none, the best by the first metric
        other than the loss.
        """
        best = self.card.results.get("best") if self.card else None
        if best:
            return Best(best["metric"], best["value"], best["step"])
        curves = {
            metric: self.get_curve("evaluations", metric, "step")
            for metric in self.metrics
        }
        evaluated = [metric for metric, (steps, _) in curves.items() if steps]
        if not evaluated:
            return None
        metric = next((name for name in evaluated if name != "loss"), evaluated[0])
        steps, values = curves[metric]
        value = min(values) if is_lower_better(metric) else max(values)
        return Best(metric, value, steps[values.index(value)])


def is_lower_better(metric: str) -> bool:
    """Whether a metric is a loss or an error, judging by its name."""
    return _LOWER_IS_BETTER.fullmatch(metric) is not None


def read_runs(train_dirs: Sequence[str]) -> list[Run]:
    """Reads the runs in some training folders.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if a file in one is damaged.
    """
    folders = dict.fromkeys(os.path.normpath(train_dir) for train_dir in train_dirs)
    names = name_runs(list(folders))
    return [_read_run(f, name) for f, name in zip(folders, names, strict=True)]


def name_runs(folders: Sequence[str]) -> list[str]:
    """Returns names for folders: the shortest ends of their paths that differ."""
    parts = [os.path.abspath(folder).split(os.sep)[1:] for folder in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(folders)


def _read_run(train_dir: str, name: str) -> Run:
    if not tf.gfile.IsDirectory(train_dir):
        raise FileNotFoundError(f"There is no folder {train_dir!r}.")
    card = run_card.RunCard.load(train_dir)
    measured = history.History(train_dir)
    training = [_name_total_loss(row) for row in measured.training_rows()]
    evaluations = measured.rows()
    split = _choose_split(evaluations)
    evaluations = [row for row in evaluations if row.get("split") == split]
    if not training or not evaluations:
        found = _read_events(train_dir)
        training = training or _add_epochs(found[0], card)
        evaluations = evaluations or _add_epochs(found[1], card)
    return Run(name, card, training, evaluations, split or "validation")


def _name_total_loss(row: dict[str, Any]) -> dict[str, Any]:
    """Renames the loss of older runs, which recorded it with regularization only."""
    if TOTAL_LOSS in row or "loss" not in row:
        return row
    return {TOTAL_LOSS if name == "loss" else name: v for name, v in row.items()}


def _choose_split(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns the split to compare: preferably another than that of training."""
    splits = list(dict.fromkeys(row.get("split") for row in rows))
    others = [split for split in splits if split != "train"]
    return next(iter(others or splits), None)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _read_events(train_dir: str) -> tuple[list[dict], list[dict]]:
    """Returns the training and evaluation rows in event files, subfolders included."""
    training, evaluations = {}, {}
    for folder, _, names in tf.gfile.Walk(train_dir):
        if folder[len(train_dir) :].count("/") > 1:
            continue
        for name in sorted(n for n in names if n.startswith("events.out.tfevents")):
            for step, tag, value in _read_scalars(os.path.join(folder, name)):
                if tag.startswith("eval/"):
                    metric = tag.removeprefix("eval/").lower()
                    metric = metric.replace("recall_", "top_")
                    evaluations.setdefault(step, {})[metric] = value
                metric, rank = _find_training_metric(tag)
                if metric:
                    row = training.setdefault(step, {})
                    row[metric] = min(row.get(metric, (math.inf, 0)), (rank, value))
    return (
        [
            {"step": step, **{metric: value for metric, (_, value) in row.items()}}
            for step, row in sorted(training.items())
        ],
        [{"step": step, **row} for step, row in sorted(evaluations.items())],
    )


def _read_scalars(path: str) -> Iterator[tuple[int, str, float]]:
    """Generates (step, tag, value) of an event file, up to where it is damaged."""
    try:
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    yield event.step, value.tag, value.simple_value
    except tf.errors.DataLossError:  # The run was killed, or is still writing.
        return


def _find_training_metric(tag: str) -> tuple[str | None, int]:
    """Returns the name of a tag's metric, and the rank of the tag among its tags."""
    for metric, patterns in _TRAINING_TAGS.items():
        for rank, pattern in enumerate(patterns):
            if re.fullmatch(pattern, tag):
                return metric, rank
    return None, 0


def _add_epochs(rows: list[dict], card: run_card.RunCard | None) -> list[dict]:
    """Adds `epoch` to the rows, if the run card has what it takes."""
    if card is None or not card.num_samples or not card.sessions:
        return rows
    return [
        {**row, "epoch": run_card.images_seen(card, row["step"]) / card.num_samples}
        for row in rows
    ]
