"""Chooses a checkpoint of a training folder: the best, the newest, or that of a step.

choice = choose("run")                  # the best if the run kept one
choice = choose("run", "latest")
choice.path, choice.reason
"""

import dataclasses
import os

from absl import logging

from deployment import text
from deployment.models import best_record, checkpoint, run_card
from deployment.models.best_record import FOLDER as BEST_FOLDER
from deployment.models.best_record import BestRecord
from tf_slim_compat import tf

BEST, LATEST = "best", "latest"


@dataclasses.dataclass(frozen=True)
class Choice:
    """A checkpoint that was chosen.

    Attributes:
      path: its prefix.
      reason: why it was chosen, as a clause; "" if its path was given.
    """

    path: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The best checkpoints of a run.

    Attributes:
      folder: the folder that holds them.
      metric: the metric by which they are ranked.
      values: global step to value of the metric, best first.
    """

    folder: str
    metric: str
    values: dict[int, float]

    @property
    def prefixes(self) -> list[str]:
        """The checkpoints' prefixes, best first."""
        return [os.path.join(self.folder, f"model.ckpt-{step}") for step in self.values]


def choose(
    path: str, wanted: str | None = None, path_flag: str = "checkpoint_path"
) -> Choice:
    """Chooses a checkpoint.

    Args:
      path: a training folder, its folder `best`, a checkpoint's prefix, one of its
        files, or the folder of a SavedModel.
      wanted: 'best', 'latest', or a global step as text. None chooses the best
        checkpoint if the run kept one, else the newest.
      path_flag: the flag that gave `path`, for error messages.

    Raises:
      ValueError: if there is no such checkpoint, or `path` already is a checkpoint and
        `wanted` is not None.
    """
    if not tf.gfile.IsDirectory(path) or checkpoint.is_saved_model(path):
        prefix = checkpoint.find_prefix(path)
        if wanted is not None:
            raise ValueError(
                f"--checkpoint={wanted} chooses among the checkpoints of a training "
                f"folder, but --{path_flag} is the checkpoint {path!r}: leave one of "
                "the two out."
            )
        return Choice(prefix)
    if wanted in (None, BEST):
        ranking = read_ranking(path)
        if ranking is not None and ranking.values:
            return _choose_best(path, ranking, is_default=wanted is None)
        if wanted is None:
            return Choice(checkpoint.find_prefix(path), "the newest")
        raise ValueError(
            f"--checkpoint=best: the run in {path!r} kept no best checkpoint. "
            f"{_list_what_exists(path)}"
        )
    if wanted == LATEST:
        steps = _list_steps(path)
        is_own = os.path.basename(path.rstrip("/")) == BEST_FOLDER and bool(steps)
        # In the folder of the best, TensorFlow's `checkpoint` file names the best.
        newest = steps[max(steps)] if is_own else checkpoint.find_prefix(path)
        return Choice(newest, "the newest")
    return _choose_step(path, wanted)


def read_ranking(train_dir: str) -> Ranking | None:
    """Reads the ranking of the best checkpoints; None if the run kept none.

    Args:
      train_dir: a training folder, or its folder `best`.

    Returns:
      The `Ranking` of those that still exist.

    Raises:
      ValueError: if the file is damaged.
    """
    folder = train_dir
    if os.path.basename(os.path.normpath(train_dir)) != BEST_FOLDER:
        folder = os.path.join(train_dir, BEST_FOLDER)
    problem = "is missing"
    try:
        record = BestRecord.load(folder)
    except ValueError as error:
        record, problem = None, f"is damaged ({error})"
    if record is None:
        record = _rebuild(folder, problem)
    if record is None:
        return None
    values = {kept.step: kept.value for kept in record.checkpoints}
    ranking = Ranking(folder, record.metric, values)
    existing = {
        step: value
        for (step, value), prefix in zip(values.items(), ranking.prefixes, strict=True)
        if checkpoint.exists(prefix)
    }
    if missing := [str(step) for step in values if step not in existing]:
        logging.warning(
            "%r ranks step %s, but files of that checkpoint are missing: restore them, "
            "or go on without it.",
            os.path.join(folder, best_record.FILE_NAME),
            ", ".join(missing),
        )
    return dataclasses.replace(ranking, values=existing)


def _rebuild(folder: str, problem: str) -> BestRecord | None:
    """Ranks the checkpoints in a folder `best` again; None if it is no run's."""
    train_dir = os.path.dirname(os.path.normpath(folder))
    path = os.path.join(folder, best_record.FILE_NAME)
    card = run_card.RunCard.load(train_dir)
    best = card.results.get("best") if card else None
    if best is None or "higher_is_better" not in best:
        if not tf.gfile.Exists(path):
            return None
        raise ValueError(
            f"{path!r} {problem}: resume training, which ranks the checkpoints again, "
            "or choose one with --checkpoint=latest or a step such as "
            "--checkpoint=1500."
        )
    record = best_record.rebuild(
        train_dir,
        best["metric"],
        best["higher_is_better"],
        card.eval_split_name,
        problem,
    )
    if record.checkpoints:
        logging.warning("%r %s: ranked the checkpoints again.", path, problem)
    return record


def _choose_best(path: str, ranking: Ranking, is_default: bool) -> Choice:
    step, value = next(iter(ranking.values.items()))
    reason = f"the best by {ranking.metric} ({value:.4f})"
    newest = max(_list_steps(path), default=step)
    if newest == step:
        reason += " and the newest"
    elif is_default:
        reason += f"; --checkpoint=latest takes step {newest}"
    return Choice(ranking.prefixes[0], reason)


def _choose_step(path: str, wanted: str) -> Choice:
    if not wanted.isdecimal():
        raise ValueError(
            f"--checkpoint is {wanted!r}: give best, latest or a step such as 1500."
        )
    steps = _list_steps(path)
    if int(wanted) not in steps:
        raise ValueError(
            f"There is no checkpoint of step {int(wanted)} in {path!r}. "
            f"{_list_what_exists(path)}"
        )
    return Choice(steps[int(wanted)])


def _list_steps(path: str) -> dict[int, str]:
    """Returns global step to prefix, of a training folder and its folder `best`."""
    best = checkpoint.list_steps(os.path.join(path, BEST_FOLDER))
    return best | checkpoint.list_steps(path)


def _list_what_exists(path: str) -> str:
    """Returns a sentence with the checkpoints that can be chosen."""
    steps = sorted(_list_steps(path), reverse=True)
    if not steps:
        return "It holds no checkpoint at all."
    return f"It holds those of steps {text.shorten(map(str, steps), 8)}."
