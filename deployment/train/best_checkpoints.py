"""The best checkpoints of a run, kept in its folder `best`.

    run/best/model.ckpt-900.*   the checkpoints' files
    run/best/best.json          their ranking, best first
    run/best/checkpoint         makes `tf.train.latest_checkpoint` find the best

`best.json` is authoritative: it is replaced atomically after the files that it names
are complete and before others are removed. While it has its right checksum, files that
it does not name are leftovers of a killed process, and are removed when the next one
starts. If it is damaged or missing, the checkpoints are ranked again by the evaluations
in `metrics.jsonl`, and nothing is removed. It also records what was exported last.
"""

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from absl import logging

from deployment import files, text
from deployment.models import best_record, checksums
from deployment.models.best_record import FILE_NAME, FOLDER, BestRecord, Export, Kept
from deployment.tasks.base import Metric
from tf_slim_compat import tf

_BASE = "model.ckpt-"
_SUFFIX = r"(?:\.index|\.meta|\.data-\d+-of-\d+|)"


class BestCheckpoints:
    """Keeps the best checkpoints of a run beside its newest ones.

    Args:
      train_dir: the folder of the run.
      metric: the metric that ranks them.
      keep: how many to keep; 0 keeps none and leaves the folder alone.
      split: the split whose evaluations in `metrics.jsonl` rank the checkpoints where
        `best.json` does not; None for any.

    Raises:
      ValueError: if values of checkpoints in the folder are unknown, because it was not
        written by this module, is damaged, or was ranked by another metric.
      OSError: if it cannot be written.
    """

    def __init__(
        self, train_dir: str, metric: Metric, keep: int, split: str | None = None
    ):
        if keep < 0:
            raise ValueError(
                f"The number of best checkpoints to keep must be 0 or more, but is "
                f"{keep}."
            )
        self._train_dir, self._metric, self._keep = train_dir, metric, keep
        self._split = split
        self._folder = os.path.join(train_dir, FOLDER)
        self._ranking = []
        self._exported = None
        if keep and tf.gfile.IsDirectory(self._folder):
            self._recover()

    @property
    def ranking(self) -> list[Kept]:
        """The checkpoints that are kept, best first."""
        return list(self._ranking)

    def get_best(self) -> dict[str, Any] | None:
        """Returns what the run card says of the best, `run_card.Best`; None if none."""
        if not self._ranking:
            return None
        return {
            "metric": self._metric.name,
            "higher_is_better": self._metric.higher_is_better,
            "value": self._ranking[0].value,
            "step": self._ranking[0].step,
        }

    def get_path(self, kept: Kept) -> str:
        """Returns the prefix of a checkpoint that is kept."""
        return os.path.join(self._folder, f"{_BASE}{kept.step}")

    def is_exported(self) -> bool:
        """Whether the best, if there is one, was the last to be exported."""
        if not self._ranking:
            return True
        return self._exported is not None and (
            self._exported.step == self._ranking[0].step
        )

    def record_export(self, folder: str | None = None) -> None:
        """Records that the best is exported, and the files in the export's folder.

        Raises:
          OSError: if it cannot be written.
        """
        step = self._ranking[0].step
        if folder is None:
            self._exported = Export(step)
        else:
            relative = os.path.relpath(folder, self._train_dir)
            self._exported = Export(step, relative, checksums.read(folder))
        self._write_ranking(self._ranking)

    def check_export(self) -> None:
        """Forgets the last export if one of its files is missing or has changed."""
        if self._exported is None or not self._exported.files:
            return
        folder = os.path.join(self._train_dir, self._exported.folder)
        files.recover(folder)
        if not checksums.is_whole(folder, self._exported.files):
            logging.warning(
                "The export of the best checkpoint in %s is incomplete or was changed.",
                folder,
            )
            self._exported = None

    def consider(
        self,
        checkpoint_prefix: str,
        step: int,
        value: float | None,
        task_state: Mapping[str, Any] | None = None,
    ) -> bool:
        """Keeps a checkpoint if it is among the best.

        Its files are hard-linked where the file system allows it, else copied. If its
        step is kept already, it is only ranked again.

        Args:
          checkpoint_prefix: the checkpoint, such as 'run/model.ckpt-900'.
          step: its global step.
          value: its value of the metric; None and NaN are never kept. The earliest of
            equal values is best.
          task_state: the task's state that goes with it; see `ModelSpec.task_state`.

        Returns:
          Whether it is the new best.

        Raises:
          ValueError: if there is no such checkpoint.
          OSError: if it cannot be kept; those kept before stay.
        """
        if not self._keep or value is None or not math.isfinite(value):
            return False
        new = Kept(int(step), float(value), files.to_plain(task_state) or None)
        others = [kept for kept in self._ranking if kept.step != new.step]
        ranking = self._rank([*others, new])
        if new not in ranking:
            return False
        if len(others) == len(self._ranking):
            self._take(checkpoint_prefix, new)
        self._commit(ranking)
        return ranking[0] == new

    def forget_after(self, step: int) -> None:
        """Drops checkpoints beyond a step, where training resumes."""
        if any(kept.step > step for kept in self._ranking):
            self._commit([kept for kept in self._ranking if kept.step <= step])

    def _rank(self, kept: Iterable[Kept]) -> list[Kept]:
        """Returns the best, best first."""
        ranking = best_record.rank(kept, self._metric.higher_is_better)
        return list(ranking[: self._keep])

    def _take(self, prefix, kept):
        """Links or copies a checkpoint's files into the folder, atomically."""
        if not tf.gfile.IsDirectory(self._folder):
            files.make_folder(self._folder)
        if not tf.gfile.Exists(os.path.join(self._folder, FILE_NAME)):
            self._write_ranking([])  # Marks the folder as written by this module.
        folder, base = os.path.split(prefix)
        names = _list_checkpoint_files(files.list_names(folder or "."), base)
        if not names:
            raise ValueError(f"There is no checkpoint {prefix!r} to keep.")
        target = self.get_path(kept)
        targets = {os.path.join(folder, n): target + n[len(base) :] for n in names}
        try:
            for source, path in targets.items():
                files.link_or_copy(source, files.partial_path(path))
        except OSError:
            for path in targets.values():
                files.remove(files.partial_path(path))
            raise
        *_, last = targets.values()
        for path in targets.values():
            files.rename(files.partial_path(path), path, is_durable=path == last)

    def _commit(self, ranking):
        """Writes a ranking, then removes the files that it does not name."""
        self._set_ranking(ranking)
        named = {f"{_BASE}{kept.step}" for kept in ranking}
        # The index goes first: without it, the rest is not a checkpoint.
        for name in sorted(
            files.list_names(self._folder), key=lambda n: not n.endswith(".index")
        ):
            match = re.fullmatch(rf"({_BASE}\d+){_SUFFIX}", name)
            is_partial = name.startswith(".") and name.endswith(".partial")
            if is_partial or (match and match[1] not in named):
                files.remove(os.path.join(self._folder, name))

    def _set_ranking(self, ranking):
        """Writes a ranking, and TensorFlow's `checkpoint` file that goes with it."""
        self._write_ranking(ranking)
        self._ranking = ranking
        state_path = os.path.join(self._folder, "checkpoint")
        if ranking:
            files.write_text(state_path, self._format_state())
        else:
            files.remove(state_path)

    def _recover(self):
        """Continues from what an earlier process left."""
        record, problem = None, "is missing"
        try:
            record = BestRecord.load(self._folder)
        except ValueError as error:
            problem = f"is damaged ({error})"
        kept = self._get_values(record) if record else []
        if record is None or not record.is_verified:
            self._rebuild(kept, problem if record is None else "has no checksum")
            return
        self._exported = record.exported
        names = files.list_names(self._folder)
        complete = best_record.list_complete_steps(names)
        self._commit(self._rank(k for k in kept if k.step in complete))

    def _rebuild(self, known, problem):
        """Ranks the checkpoints in the folder again, and removes none of them."""
        record = best_record.rebuild(
            self._train_dir,
            self._metric.name,
            self._metric.higher_is_better,
            self._split,
            problem,
            known,
        )
        if record.checkpoints and not known:
            logging.warning(
                "%r %s: ranked %s again by what was measured.",
                os.path.join(self._folder, FILE_NAME),
                problem,
                text.format_count(len(record.checkpoints), "checkpoint"),
            )
        self._set_ranking(list(record.checkpoints))

    def _get_values(self, record):
        """Returns a record's checkpoints with their values of the current metric."""
        name = self._metric.name
        if record.metric == name:
            return list(record.checkpoints)
        values = best_record.read_values(self._train_dir, name, self._split)
        for one in record.checkpoints:
            if one.step not in values:
                raise ValueError(
                    f"{os.path.join(self._folder, FILE_NAME)!r} ranks by "
                    f"{record.metric}, and the {name} at step {one.step} was not "
                    f"measured: keep {record.metric}, or delete the folder "
                    f"{self._folder!r}."
                )
        return [
            dataclasses.replace(one, value=values[one.step])
            for one in record.checkpoints
        ]

    def _write_ranking(self, ranking):
        record = BestRecord(
            metric=self._metric.name,
            checkpoints=tuple(ranking),
            exported=self._exported,
        )
        record.save(self._folder)

    def _format_state(self):
        """Returns TensorFlow's `checkpoint` file, in which the best comes last too."""
        names = [f'"{_BASE}{kept.step}"' for kept in self._ranking]
        lines = [f"all_model_checkpoint_paths: {name}\n" for name in names[::-1]]
        return f"model_checkpoint_path: {names[0]}\n" + "".join(lines)


def _list_checkpoint_files(names, base):
    """Returns the names of a checkpoint's files, its index last."""
    own = [name for name in names if re.fullmatch(re.escape(base) + _SUFFIX, name)]
    is_checkpoint = {base, f"{base}.index"} & set(own)
    return sorted(own, key=lambda n: n.endswith(".index")) if is_checkpoint else []
