"""Validation during training: when it is due, what is kept, when to stop early."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from deployment import files, tasks
from deployment.evaluate import ranking
from deployment.models.history import History
from deployment.train import early_stopping
from deployment.train.best_checkpoints import BestCheckpoints
from deployment.train.config import TrainingConfig


class Validator:
    """Evaluates checkpoints as they are saved, and keeps the best.

    Args:
      config: the configuration of the run, with a `validation`.
      history: records every evaluation.
      build_evaluator: returns an `evaluation.Evaluator`, or an object with its methods
        `predict(prefix)` and `close()`; called once, at the first evaluation.
      on_new_best: exports the best checkpoint; called with its prefix and with the
        `ModelSpec` that goes with it; returns the folder that it wrote, or None. None
        for no exports.

    Raises:
      ValueError: if the task has no such metric.
    """

    def __init__(
        self,
        config: TrainingConfig,
        history: History,
        build_evaluator: Callable[[], Any],
        on_new_best: Callable[..., str | None] | None = None,
    ):
        self._run = config
        self._config = config.validation
        self._history = history
        self._build_evaluator = build_evaluator
        self._evaluator = None
        self._on_new_best = on_new_best
        self._task = tasks.get_task(config.spec.task)
        self._metric = self._task.get_metric(
            self._config.best_metric or self._task.default_metric,
            config.spec.num_outputs,
            "--best_metric",
        )
        self._best = BestCheckpoints(
            config.train_dir,
            self._metric,
            self._config.num_best_checkpoints,
            self._config.split_name,
        )
        self._steps = None
        if not self._config.every.is_time:
            self._steps = self._config.every.to_steps(config.steps_per_epoch)

    @property
    def task_state(self) -> Mapping[str, Any]:
        """The task's state as of the best checkpoint so far."""
        return self._spec.task_state

    @property
    def _spec(self):
        """The model with the task's state as of the best checkpoint."""
        ranking = self._best.ranking
        state = ranking[0].task_state if ranking else None
        return (
            self._run.spec
            if state is None
            else self._run.spec.replace(task_state=state)
        )

    def start(self, step: int) -> None:
        """Drops evaluations beyond `step`, where training resumes; starts the clock."""
        self._best.forget_after(step)
        if self._on_new_best is not None:
            self._best.check_export()
        self._due = time.monotonic() + self._config.every.value

    def is_due(self, step: int, is_last: bool = False) -> bool:
        """Whether the checkpoint of a step is to be evaluated, and was not yet."""
        if step == 0 or any(row["step"] == step for row in self._rows()):
            return False
        if self._steps is None:
            return is_last or time.monotonic() >= self._due
        return is_last or step % self._steps == 0

    def evaluate(
        self, step: int, prefix: str, facts: Mapping[str, float]
    ) -> dict[str, float]:
        """Evaluates a checkpoint; returns its metrics by name.

        Args:
          step: its global step.
          prefix: the checkpoint.
          facts: `loss`, without regularization, and `learning_rate` of the training
            step.
        """
        if self._evaluator is None:
            self._evaluator = self._build_evaluator()
        started = time.monotonic()
        predictions = self._evaluator.predict(prefix)
        state = self._task.fit_state(predictions, self._run.spec)
        spec = self._run.spec.replace(task_state=state)
        values = self._task.compute(predictions, spec)
        if fault := ranking.explain_scores(predictions):
            logging.warning("%s", fault)
            values = dict.fromkeys(values)
        secs = time.monotonic() - started
        row = {
            "step": step,
            "epoch": round(self._run.steps_to_epochs(step), 4),
            "split": self._config.split_name,
            "num_images": len(predictions.labels),
            **values,
            "secs": round(secs, 3),
            "train_loss": facts.get("loss"),
            "learning_rate": facts.get("learning_rate"),
            "time": files.utc_now(),
        }
        # In this order, a killed run repeats what is missing.
        is_best = self._best.consider(prefix, step, values[self._metric.name], state)
        self._history.append(row)
        self._due = time.monotonic() + self._config.every.value
        shown = ", ".join(
            f"{name} {'none' if value is None else format(value, '.4f')}"
            for name, value in values.items()
        )
        logging.info(
            "Validation at step %d: %s (%.1f s)%s",
            *(step, shown, secs, ", the best so far." if is_best else "."),
        )
        return values

    def is_export_due(self) -> bool:
        """Whether the best checkpoint is to be exported, and was not yet."""
        return self._on_new_best is not None and not self._best.is_exported()

    def export_best(self) -> None:
        """Exports the best checkpoint, and records that it is exported."""
        prefix = self._best.get_path(self._best.ranking[0])
        self._best.record_export(self._on_new_best(prefix, self._spec))

    def get_reason_to_stop(self) -> str | None:
        """Returns why training should end now, as a sentence, or None."""
        if not self._config.patience:
            return None
        return early_stopping.reason_to_stop(
            self._rows(), self._metric, self._config.patience, self._config.min_change
        )

    def get_best(self) -> dict[str, Any] | None:
        """See `BestCheckpoints.get_best`."""
        return self._best.get_best()

    def close(self) -> None:
        """Frees the graph of the evaluations."""
        if self._evaluator is not None:
            self._evaluator.close()

    def _rows(self):
        return self._history.rows(self._config.split_name)
