"""What is recorded of the steps of a run: its history, scalars and histograms."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from deployment import files, tasks
from deployment.models.history import History
from deployment.train.config import TrainingConfig
from deployment.train.progress import Speed
from deployment.train.summaries import write_scalars

# Largest fraction of the time for histograms of every variable and activation, however
# often they are requested.
_MAX_SUMMARY_SHARE = 0.05


class StepReports:
    """Records steps in the history and for TensorBoard.

    Args:
      config: the configuration of the run.
      loss_names: names of the losses, which come first in the health of a step.
      history: records the progress lines; None for none.
    """

    def __init__(
        self,
        config: TrainingConfig,
        loss_names: Sequence[str],
        history: History | None,
    ) -> None:
        self._config, self._loss_names, self._history = config, loss_names, history
        self._metric_name = tasks.get_task(config.spec.task).batch_metric
        # The first step is slow anyway, so it computes the first histograms.
        self._due = 0.0 if config.save_summaries_secs > 0 else math.inf

    def record(self, step: int, facts: Mapping[str, float], speed: Speed) -> None:
        """Records what the progress line says in the history."""
        if self._history is not None:
            row = {
                "step": step,
                "epoch": round(self._config.steps_to_epochs(step), 4),
                **facts,
                "images_per_sec": round(speed.images_per_sec, 2),
                "data_wait_share": round(speed.data_wait_share, 4),
                "time": files.utc_now(),
            }
            self._history.append_training(row)

    def find(self, step: int) -> dict[str, Any]:
        """Returns what was recorded of a step; empty if nothing."""
        return {} if self._history is None else self._history.find_training_row(step)

    def sync(self) -> None:
        """Makes what was recorded durable."""
        if self._history is not None:
            self._history.sync()

    def write(
        self,
        writer: Any,
        step: int,
        facts: Mapping[str, float],
        speed: Speed,
        health: Sequence[float],
    ) -> None:
        """Writes what the progress line says for TensorBoard, if there is a writer."""
        if writer is None:
            return
        facts = dict(facts)
        losses = zip(self._loss_names, health, strict=False)
        scalars = {
            f"training_{self._metric_name}": facts.pop(self._metric_name),
            **facts,
            **{f"losses/{name}": float(value) for name, value in losses},
            "global_step/sec": 1 / speed.secs_per_step,
            "images/sec": speed.images_per_sec,
            "data_wait_share": speed.data_wait_share,
        }
        write_scalars(writer, scalars, step)

    def are_due(self, now: float) -> bool:
        """Whether the step that begins is to compute histograms."""
        return now >= self._due

    def add_histograms(
        self,
        writer: Any,
        step: int,
        summaries: bytes,
        step_secs: float,
        others_secs: Collection[float],
    ) -> None:
        """Writes histograms, and settles when the next are due.

        Args:
          writer: of TensorBoard's event file.
          step: the step that computed them.
          summaries: the histograms, serialized.
          step_secs: duration of that step.
          others_secs: durations of steps without histograms.
        """
        writer.add_summary(summaries, step)
        typical = np.median(list(others_secs)) if others_secs else step_secs
        self._due = time.monotonic() + max(
            self._config.save_summaries_secs,
            (step_secs - typical) / _MAX_SUMMARY_SHARE,
        )
