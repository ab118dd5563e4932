"""Validation while training: what is due when, the best kept, the end seen early."""

import dataclasses
import time

from absl import logging

from deployment import files
from deployment.durations import Duration
from deployment.tasks import metrics
from deployment.train import early_stopping
from deployment.train.best_checkpoints import BestCheckpoints


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """How a run is validated.

    Attributes:
      split_name: the split that is evaluated.
      every: how often; the end of training is evaluated in any case.
      best_metric: 'accuracy', 'loss' or 'top_5': what the best checkpoints and
        early stopping go by.
      num_best_checkpoints: how many of the best are kept in `train_dir/best`.
      patience: how many evaluations in a row may pass without a better one; 0 never
        stops early.
      min_change: by how much a value must be better to count.
    """

    split_name: str = "validation"
    every: Duration = Duration(1, "epochs")
    best_metric: str = "accuracy"
    num_best_checkpoints: int = 1
    patience: int = 0
    min_change: float = 0.0


class Validator:
    """Evaluates checkpoints of a run as they are saved, and judges them.

    Args:
      config: a `training.TrainingConfig` with a `validation`.
      history: the `history.History` of the run, which remembers every evaluation.
      build_evaluator: returns an `evaluation.Evaluator`, or what has its methods
        `predict(prefix)` and `close()`; called once, at the first evaluation.
      on_new_best: called with the prefix of a checkpoint that is the best so far,
        or None.
    """

    def __init__(self, config, history, build_evaluator, on_new_best=None):
        self._run = config
        self._config = config.validation
        self._history = history
        self._build_evaluator = build_evaluator
        self._evaluator = None
        self._on_new_best = on_new_best
        self._best = BestCheckpoints(
            config.train_dir,
            self._config.best_metric,
            self._config.num_best_checkpoints,
        )
        self._steps = None
        if not self._config.every.is_time:
            self._steps = self._config.every.to_steps(config.steps_per_epoch)

    def start(self, step):
        """Forgets what lies beyond `step`, where training goes on; sets the clock."""
        self._best.forget_after(step)
        self._due = time.monotonic() + self._config.every.value

    def is_due(self, step, is_last=False):
        """Whether the checkpoint of `step` is to be evaluated, and was not yet."""
        if step == 0 or any(row["step"] == step for row in self._rows()):
            return False
        if self._steps is None:
            return is_last or time.monotonic() >= self._due
        return is_last or step % self._steps == 0

    def evaluate(self, step, prefix, facts):
        """Evaluates a checkpoint; returns its metrics by name.

        Args:
          step: its global step.
          prefix: the checkpoint.
          facts: what the training step had: 'loss', 'learning_rate'.
        """
        if self._evaluator is None:
            self._evaluator = self._build_evaluator()
        started = time.monotonic()
        predictions = self._evaluator.predict(prefix)
        values = metrics.compute(predictions)
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
        is_best = self._best.consider(prefix, step, self._get_value(values))
        self._history.append(row)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        logging.info(
            "Validation at step %d: %s (%.1f s)%s",
            *(step, shown, secs, ", the best so far." if is_best else "."),
        )
        if is_best and self._on_new_best is not None:
            self._on_new_best(prefix)
        self._due = time.monotonic() + self._config.every.value
        return values

    def _get_value(self, values):
        name = self._config.best_metric
        if name not in values:
            raise ValueError(
                f"--best_metric={name} is not among what is measured: "
                f"{', '.join(values)}."
            )
        return values[name]

    def get_reason_to_stop(self):
        """Why training should end here, as a sentence, or None."""
        if not self._config.patience:
            return None
        return early_stopping.reason_to_stop(
            self._rows(),
            self._config.best_metric,
            self._config.patience,
            self._config.min_change,
        )

    def get_best(self):
        """The best so far, a dict of 'metric', 'value' and 'step', or None."""
        return self._best.get_best()

    def close(self):
        """Frees the graph of the evaluations."""
        if self._evaluator is not None:
            self._evaluator.close()

    def _rows(self):
        return self._history.rows(self._config.split_name)
