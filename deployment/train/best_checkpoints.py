"""The best checkpoints of a run, kept in its folder `best`.

    run/best/model.ckpt-900.*   the checkpoints' files
    run/best/best.json          their ranking, best first
    run/best/checkpoint         makes `tf.train.latest_checkpoint` find the best

`best.json` is authoritative: it is replaced atomically after the files that it names
are complete and before others are removed. Files that it does not name are leftovers of
a killed process, and are removed when the next one starts. It also records which
checkpoint was exported last.
"""

import dataclasses
import json
import math
import os
import re
from typing import Any

from deployment import files
from deployment.models import history
from deployment.tasks.base import Metric
from tf_slim_compat import tf

FOLDER = "best"
RANKING_FILE = "best.json"
_BASE = "model.ckpt-"
_SUFFIX = r"(?:\.index|\.meta|\.data-\d+-of-\d+|)"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A checkpoint that is kept, with its global step and its value of the metric."""

    step: int
    value: float


class BestCheckpoints:
    """Keeps the best checkpoints of a run beside its newest ones.

    Args:
      train_dir: the folder of the run.
      metric: the metric that ranks them.
      keep: how many to keep; 0 keeps none and leaves the folder alone.

    Raises:
      ValueError: if the folder was not written by this module, or was ranked by another
        metric and the values of this one are unknown.
      OSError: if it cannot be written.
    """

    def __init__(self, train_dir: str, metric: Metric, keep: int):
        if keep < 0:
            raise ValueError(
                f"The number of best checkpoints to keep must be 0 or more, but is "
                f"{keep}."
            )
        self._sign = 1 if metric.higher_is_better else -1
        self._train_dir, self._metric, self._keep = train_dir, metric.name, keep
        self._folder = os.path.join(train_dir, FOLDER)
        self._ranking = []
        self._exported_step = None
        if keep and tf.gfile.IsDirectory(self._folder):
            self._recover()

    @property
    def ranking(self) -> list[Kept]:
        """The checkpoints that are kept, best first."""
        return list(self._ranking)

    def get_best(self) -> dict[str, Any] | None:
        """Returns `metric`, `value` and `step` of the best, or None."""
        if not self._ranking:
            return None
        return {"metric": self._metric, **dataclasses.asdict(self._ranking[0])}

    def get_path(self, kept: Kept) -> str:
        """Returns the prefix of a checkpoint that is kept."""
        return os.path.join(self._folder, f"{_BASE}{kept.step}")

    def is_exported(self) -> bool:
        """Whether the best, if there is one, was the last to be exported."""
        return not self._ranking or self._ranking[0].step == self._exported_step

    def record_export(self) -> None:
        """Records that the best is exported.

        Raises:
          OSError: if it cannot be written.
        """
        self._exported_step = self._ranking[0].step
        self._write_ranking(self._ranking)

    def consider(self, checkpoint_prefix: str, step: int, value: float | None) -> bool:
        """Keeps a checkpoint if it is among the best.

        Its files are hard-linked where the file system allows it, else copied. If its
        step is kept already, it is only ranked again.

        Args:
          checkpoint_prefix: the checkpoint, such as 'run/model.ckpt-900'.
          step: its global step.
          value: its value of the metric; None and NaN are never kept. The earliest of
            equal values is best.

        Returns:
          Whether it is the new best.

        Raises:
          ValueError: if there is no such checkpoint.
          OSError: if it cannot be kept; those kept before stay.
        """
        if not self._keep or value is None or not math.isfinite(value):
            return False
        new = Kept(int(step), float(value))
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

    def _rank(self, kept):
        """Returns the best, best first."""
        return sorted(kept, key=lambda k: (-self._sign * k.value, k.step))[: self._keep]

    def _take(self, prefix, kept):
        """Links or copies a checkpoint's files into the folder, atomically."""
        if not tf.gfile.IsDirectory(self._folder):
            files.make_folder(self._folder)
        if files.read_text(self._ranking_path) is None:
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
        for path in targets.values():
            files.rename(files.partial_path(path), path)

    def _commit(self, ranking):
        """Writes a ranking, then removes the files that it does not name."""
        self._write_ranking(ranking)
        self._ranking = ranking
        state_path = os.path.join(self._folder, "checkpoint")
        if ranking:
            files.write_text(state_path, self._format_state())
        else:
            files.remove(state_path)
        named = {f"{_BASE}{kept.step}" for kept in ranking}
        # The index goes first: without it, the rest is not a checkpoint.
        for name in sorted(
            files.list_names(self._folder), key=lambda n: not n.endswith(".index")
        ):
            match = re.fullmatch(rf"({_BASE}\d+){_SUFFIX}", name)
            is_partial = name.startswith(".") and name.endswith(".partial")
            if is_partial or (match and match[1] not in named):
                files.remove(os.path.join(self._folder, name))

    def _recover(self):
        """Continues from what an earlier process left."""
        names = files.list_names(self._folder)
        text = files.read_text(self._ranking_path)
        if text is None:
            if any(re.fullmatch(rf".*{_BASE}\d+{_SUFFIX}", name) for name in names):
                raise ValueError(
                    f"The folder {self._folder!r} holds checkpoints but no "
                    f"{RANKING_FILE} that ranks them: move it elsewhere, because the "
                    "best checkpoints are kept there."
                )
            return
        metric, kept, self._exported_step = self._parse(text)
        if metric != self._metric:
            kept = self._revalue(kept, metric)
        complete = [k for k in kept if _is_complete(names, f"{_BASE}{k.step}")]
        self._commit(self._rank(complete))

    def _parse(self, text):
        try:
            record = json.loads(text)
            kept = [Kept(int(c["step"]), c["value"]) for c in record["checkpoints"]]
            if not all(math.isfinite(k.value) for k in kept):
                raise ValueError("a value is not finite")
            return record["metric"], kept, record.get("exported_step")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self._ranking_path!r} is damaged ({error}): repair it, or delete "
                f"the folder {self._folder!r}."
            ) from error

    def _revalue(self, kept, metric):
        """Returns the checkpoints with their values of the current metric."""
        rows = history.History(self._train_dir).rows()
        values = {row["step"]: row.get(self._metric) for row in rows}
        for one in kept:
            if values.get(one.step) is None:
                raise ValueError(
                    f"{self._ranking_path!r} ranks by {metric}, and the {self._metric} "
                    f"at step {one.step} was not measured: keep {metric}, or "
                    f"delete the folder {self._folder!r}."
                )
        return [Kept(one.step, values[one.step]) for one in kept]

    @property
    def _ranking_path(self):
        return os.path.join(self._folder, RANKING_FILE)

    def _write_ranking(self, ranking):
        checkpoints = [dataclasses.asdict(kept) for kept in ranking]
        record = {"metric": self._metric, "checkpoints": checkpoints}
        if self._exported_step is not None:
            record["exported_step"] = self._exported_step
        files.write_text(self._ranking_path, files.to_json(record, indent=1) + "\n")

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


def _is_complete(names, base):
    """Whether all files of a checkpoint exist, in either format."""
    counts = [
        int(match[1])
        for name in names
        if (match := re.fullmatch(re.escape(base) + r"\.data-\d+-of-(\d+)", name))
    ]
    is_v2 = f"{base}.index" in names and bool(counts) and len(counts) == counts[0]
    return is_v2 or base in names
