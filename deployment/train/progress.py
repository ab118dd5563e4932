"""Progress of a long loop: a live bar on a terminal, plain lines elsewhere."""

import contextlib
import datetime
import os
import sys
import time
from collections.abc import Iterator

import tqdm
from absl import logging

# Waiting for data is worth a hint from this fraction of the time on.
_MUCH_WAITING = 0.1


class Progress:
    """Reports steps with loss, metric, learning rate, images/s and time left.

    The rate leaves out the first step, which builds caches and traces.

    Args:
      first_step: the step before the first.
      last_step: the last step, or None if there is no limit.
      images_per_step: images per step.
      log_every_n_steps: steps between plain lines; 0 for none.
      metric_name: name of the metric of the training batch.
      is_live: whether to draw a live bar; None draws one on a terminal.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int | None,
        images_per_step: int,
        log_every_n_steps: int,
        metric_name: str = "accuracy",
        is_live: bool | None = None,
    ):
        self._metric_name = metric_name.replace("_", " ")
        self._last_step = last_step
        self._images_per_step = images_per_step
        self._log_every_n_steps = log_every_n_steps
        self._step = self._counted_from = first_step
        self._started = None
        self._paused_secs = self._waited_secs = 0.0
        is_live = sys.stderr.isatty() if is_live is None else is_live
        self._bar = None
        if is_live:
            self._bar = tqdm.tqdm(
                total=last_step,
                initial=first_step,
                unit="step",
                dynamic_ncols=True,
                smoothing=0.05,
            )

    def report(
        self,
        step: int,
        loss: float,
        metric: float,
        learning_rate: float,
        *,
        step_secs: float,
        waited_secs: float,
    ) -> None:
        """Reports a finished step.

        Args:
          step: its number.
          loss: the total loss of its batch.
          metric: the metric of its batch.
          learning_rate: the learning rate of the schedule.
          step_secs: its duration in seconds.
          waited_secs: how much of that it waited for its batch.
        """
        if self._started is None:
            self._started, self._counted_from = time.monotonic(), step
        else:
            self._waited_secs += waited_secs
        self._step = step
        facts = (
            f"loss {loss:.4f}, {self._metric_name} {metric:.3f}, learning rate "
            f"{learning_rate:.3g}"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"{facts}, {self.images_per_second():.1f} images/s{self._waiting()}",
                refresh=False,
            )
            self._bar.update(step - self._bar.n)
        elif self.is_line_due(step):
            rate = self.images_per_second() or self._images_per_step / step_secs
            logging.info(
                "global step %d: loss = %.4f (%.3f sec/step, %.1f images/s, %s "
                "%.3f, learning rate %.3g%s%s)",
                *(step, loss, step_secs, rate),
                *(self._metric_name, metric, learning_rate),
                *(self._waiting(), self._time_left(step)),
            )

    def is_line_due(self, step: int) -> bool:
        """Whether a plain line is due after this step."""
        return bool(self._log_every_n_steps) and step % self._log_every_n_steps == 0

    def images_per_second(self) -> float:
        """Images/s since the first step; 0.0 before there is a rate."""
        steps = self._step - self._counted_from
        secs = self._training_secs()
        return steps * self._images_per_step / secs if steps > 0 and secs > 0 else 0.0

    def data_wait_share(self) -> float:
        """Fraction of the time since the first step spent waiting for data."""
        secs = self._training_secs()
        return min(1.0, self._waited_secs / secs) if secs > 0 else 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within, time does not count as training."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused_secs += time.monotonic() - started

    def close(self) -> None:
        """Ends the live bar; logs the speed, and what limited it."""
        if self._bar is not None:
            self._bar.close()
        rate, share = self.images_per_second(), self.data_wait_share()
        if not rate:
            return
        logging.info(
            "%.1f images/s; %.0f %% of the time was spent waiting for data.%s",
            *(rate, 100 * share, _advise() if share > _MUCH_WAITING else ""),
        )

    def _training_secs(self):
        if self._started is None:
            return 0.0
        return time.monotonic() - self._started - self._paused_secs

    def _waiting(self):
        share = self.data_wait_share()
        return f", {100 * share:.0f} % waiting for data" if share >= 0.01 else ""

    def _time_left(self, step):
        rate = self.images_per_second() / self._images_per_step
        if self._last_step is None or rate == 0:
            return ""
        left = datetime.timedelta(seconds=round((self._last_step - step) / rate))
        return f", {left} left"


def _advise():
    return (
        " To reduce it, set --num_preprocessing_threads to the number of cores "
        f"({os.cpu_count()}), raise --num_readers if the files are on a slow disk, or "
        "store the images no larger than they are used."
    )
