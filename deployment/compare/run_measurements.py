"""What training runs measured, read back from their folders to be drawn and compared.

From `metrics.jsonl` and `training.jsonl`, where a run has them, else from its
TensorBoard event files.
"""

import dataclasses
import os
import re

from deployment.models import history, run_card
from tf_slim_compat import tf

# Tags in event files, of this project and its predecessor, by our name for them;
# the first that is there counts.
_TRAINING_TAGS = {
    "loss": (
        r"total_loss(_\d+)?",
        r"losses/(total|clone)_loss.*",
        r"clone_loss(_\d+)?",
    ),
    "accuracy": (r"accuracy(_\d+)?",),
    "learning_rate": (r"learning_rate(_\d+)?",),
}
_EVALUATION_TAGS = {
    "accuracy": (r"eval/Accuracy",),
    "loss": (r"eval/Loss",),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
      name: to call it by.
      card: its `run_card.RunCard`, or None.
      training: rows of the training batches, dicts with `step` and, where they were
        measured, `epoch`, `loss`, `accuracy` and `learning_rate`.
      evaluations: rows of the evaluations of one split, with `step`, `epoch`,
        `accuracy` and `loss` in the same way.
      split: the name of that split.
    """

    name: str
    card: run_card.RunCard | None
    training: list
    evaluations: list
    split: str = "validation"

    def get_curve(self, kind, metric, x):
        """The points of a curve.

        Args:
          kind: "training" or "evaluations".
          metric: "accuracy", "loss" or "learning_rate".
          x: "step" or "epoch".

        Returns:
          (xs, ys), two lists of floats, without what was not measured.
        """
        rows = getattr(self, kind)
        points = [(row.get(x), row.get(metric)) for row in rows]
        points = sorted(p for p in points if None not in p)
        return [p[0] for p in points], [p[1] for p in points]


def read_runs(train_dirs):
    """The runs in folders, as a list of `Run`.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: if a file in one is damaged.
    """
    folders = dict.fromkeys(os.path.normpath(train_dir) for train_dir in train_dirs)
    names = name_runs(list(folders))
    return [_read_run(f, name) for f, name in zip(folders, names, strict=True)]


def name_runs(folders):
    """The shortest last parts of paths that tell them apart, a list of names."""
    parts = [os.path.abspath(folder).split(os.sep)[1:] for folder in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(folders)


def _read_run(train_dir, name):
    if not tf.gfile.IsDirectory(train_dir):
        raise FileNotFoundError(f"There is no folder {train_dir!r}.")
    path = os.path.join(train_dir, run_card.FILE_NAME)
    card = run_card.RunCard.load(train_dir) if tf.gfile.Exists(path) else None
    measured = history.History(train_dir)
    training, evaluations = measured.training_rows(), measured.rows()
    split = _choose_split(evaluations)
    evaluations = [row for row in evaluations if row.get("split") == split]
    if not training or not evaluations:
        found = _read_events(train_dir)
        training = training or _with_epochs(found[0], card)
        evaluations = evaluations or _with_epochs(found[1], card)
    return Run(name, card, training, evaluations, split or "validation")


def _choose_split(rows):
    """The split to draw: not that of the training, if there is another."""
    splits = list(dict.fromkeys(row.get("split") for row in rows))
    others = [split for split in splits if split != "train"]
    return next(iter(others or splits), None)


def _read_events(train_dir):
    """(training rows, evaluation rows) from the event files in a folder and below."""
    training, evaluations = {}, {}
    for folder, _, names in tf.gfile.Walk(train_dir):
        if folder[len(train_dir) :].count("/") > 1:
            continue
        for name in sorted(n for n in names if n.startswith("events.out.tfevents")):
            for step, tag, value in _read_scalars(os.path.join(folder, name)):
                for rows, tags in (
                    (training, _TRAINING_TAGS),
                    (evaluations, _EVALUATION_TAGS),
                ):
                    metric, rank = _find_metric(tag, tags)
                    if metric:
                        row = rows.setdefault(step, {})
                        row[metric] = min(row.get(metric, (9, 0)), (rank, value))
    return [
        [
            {"step": step, **{metric: value for metric, (_, value) in row.items()}}
            for step, row in sorted(rows.items())
        ]
        for rows in (training, evaluations)
    ]


def _read_scalars(path):
    """Yields (step, tag, value) of an event file, as far as it is whole."""
    try:
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    yield event.step, value.tag, value.simple_value
    except tf.errors.DataLossError:  # The run was killed, or is still writing.
        return


def _find_metric(tag, tags):
    """(our name, place among the tags) of a tag; (None, None) if it is none of ours."""
    for metric, patterns in tags.items():
        for rank, pattern in enumerate(patterns):
            if re.fullmatch(pattern, tag):
                return metric, rank
    return None, None


def _with_epochs(rows, card):
    """Rows with their `epoch`, where the card tells it."""
    if card is None or not card.num_samples or not card.sessions:
        return rows
    return [
        {**row, "epoch": run_card.images_seen(card, row["step"]) / card.num_samples}
        for row in rows
    ]
