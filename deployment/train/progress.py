"""Progress of a long loop: a live bar on a terminal, plain lines elsewhere."""

import contextlib
import datetime
import logging as python_logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tqdm
from absl import logging

# Waiting for data is worth a hint from this fraction of the time on.
_MUCH_WAITING = 0.1
# The bar itself takes this fraction of the terminal, and at least so many columns.
_BAR_SHARE = 0.2
_LEAST_BAR_COLUMNS = 8
_UNKNOWN_WIDTH = 80


class Speed(NamedTuple):
    """The speed of an interval of steps.

    Attributes:
      secs_per_step: mean duration of a step, without validation and saving.
      images_per_sec: images/s.
      data_wait_share: fraction of the time spent waiting for data.
    """

    secs_per_step: float
    images_per_sec: float
    data_wait_share: float


class _Mark(NamedTuple):
    """A point in time: after a step, with the seconds trained and waited so far."""

    step: int
    training_secs: float
    waited_secs: float


class Progress:
    """Reports steps with loss, metric, learning rate, speed and time left.

    Lines are due every `log_every_n_steps` steps and after the last step. Speed is that
    of the steps since the previous line; the first step, which builds caches and
    traces, counts only if there is no other. The time left follows from the whole run,
    validation and saving included.

    Args:
      first_step: the step before the first.
      last_step: the last step, or None if there is no limit.
      images_per_step: images per step.
      log_every_n_steps: steps between lines; 0 for none.
      metric_name: name of the metric of the training batch.
      is_live: whether to draw a live bar; None draws one on a terminal.
      precision: what the steps are computed in; float32 goes without saying.
      clock: has `left_secs`, the time that is left in a run that ends at a time.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int | None,
        images_per_step: int,
        log_every_n_steps: int,
        metric_name: str = "accuracy",
        is_live: bool | None = None,
        precision: str = "float32",
        clock: Any = None,
    ):
        self._clock = clock
        self._metric_name = metric_name
        self._in_precision = f" in {precision}" if precision != "float32" else ""
        self._last_step = last_step
        self._images_per_step = images_per_step
        self._log_every_n_steps = log_every_n_steps
        self._start = self._previous_line = self._latest = None
        self._has_line = False
        self._speed = None
        self._started = 0.0
        self._paused_secs = 0.0
        is_live = sys.stderr.isatty() if is_live is None else is_live
        self._bar = _Bar(first_step, last_step) if is_live else None

    @property
    def speed(self) -> Speed | None:
        """The speed between the two latest lines, or so far; None before a step."""
        return self._speed

    def report(
        self,
        step: int,
        facts: Mapping[str, float],
        *,
        step_secs: float,
        waited_secs: float,
    ) -> None:
        """Reports a finished step.

        Args:
          step: its number.
          facts: `total_loss`, `loss` (without regularization), `learning_rate`, and the
            metric of its batch by name.
          step_secs: its duration in seconds.
          waited_secs: how much of that it waited for its batch.
        """
        self._measure(step, step_secs, waited_secs)
        if self._bar is not None:
            self._bar.show(step, self._describe_briefly(step, facts))
        elif self.is_line_due(step):
            logging.info("%s", self._describe(step, facts))

    def is_line_due(self, step: int) -> bool:
        """Whether a line is due after this step."""
        every = self._log_every_n_steps
        return bool(every) and (step % every == 0 or step == self._last_step)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within, time does not count as training."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused_secs += time.monotonic() - started

    def close(self) -> None:
        """Ends the live bar; may be called again."""
        if self._bar is not None:
            self._bar.close()

    def log_mean_speed(self) -> None:
        """Logs the speed of the whole run, and what limited it."""
        speed = self._compute_speed(self._start)
        if speed is None:
            return
        share = speed.data_wait_share
        logging.info(
            "On average %.1f images/s; %.0f %% of the time was spent waiting for "
            "data.%s",
            *(speed.images_per_sec, 100 * share),
            _advise() if share > _MUCH_WAITING else "",
        )

    def _measure(self, step: int, step_secs: float, waited_secs: float) -> None:
        """Updates the speed: at a line, or while there was none yet."""
        now = time.monotonic()
        if self._latest is None:
            self._started = now
            self._latest = _Mark(step, 0.0, 0.0)
            self._start = self._previous_line = self._latest
            self._speed = Speed(
                step_secs,
                self._images_per_step / max(step_secs, 1e-9),
                min(1.0, waited_secs / max(step_secs, 1e-9)),
            )
        else:
            training_secs = now - self._started - self._paused_secs
            waited_secs += self._latest.waited_secs
            self._latest = _Mark(step, training_secs, waited_secs)
        is_line = self.is_line_due(step)
        if is_line or not self._has_line:
            self._speed = self._compute_speed(self._previous_line) or self._speed
        if is_line:
            self._previous_line, self._has_line = self._latest, True

    def _compute_speed(self, start: _Mark | None) -> Speed | None:
        """Returns the speed since a mark; None without a step since then."""
        if start is None or self._latest.step <= start.step:
            return None
        steps = self._latest.step - start.step
        secs = max(self._latest.training_secs - start.training_secs, 1e-9)
        return Speed(
            secs / steps,
            steps * self._images_per_step / secs,
            min(1.0, (self._latest.waited_secs - start.waited_secs) / secs),
        )

    def _describe(self, step: int, facts: Mapping[str, float]) -> str:
        """Returns a plain line, which begins as TF-Slim's."""
        loss, total_loss = f"{facts['loss']:.4f}", f"{facts['total_loss']:.4f}"
        described = [
            f"{self._speed.secs_per_step:.3f} sec/step",
            self._describe_speed(),
            f"without regularization {loss}" if loss != total_loss else "",
            self._describe_metric(facts),
            f"learning rate {facts['learning_rate']:.3g}",
            self._describe_waiting(),
            self._describe_time_left(step),
        ]
        return (
            f"global step {step}: loss = {total_loss} "
            f"({', '.join(filter(None, described))})"
        )

    def _describe_briefly(self, step: int, facts: Mapping[str, float]) -> list[str]:
        """Returns what is written beside the bar, the most important first."""
        described = [
            self._describe_time_left(step),
            f"loss {facts['loss']:.4f}",
            self._describe_metric(facts),
            self._describe_speed(),
            self._describe_waiting(),
            f"learning rate {facts['learning_rate']:.3g}",
        ]
        return list(filter(None, described))

    def _describe_metric(self, facts: Mapping[str, float]) -> str:
        return f"{self._metric_name.replace('_', ' ')} {facts[self._metric_name]:.3f}"

    def _describe_speed(self) -> str:
        return f"{self._speed.images_per_sec:.1f} images/s{self._in_precision}"

    def _describe_waiting(self) -> str:
        share = self._speed.data_wait_share
        return f"{100 * share:.0f} % waiting for data" if share >= 0.01 else ""

    def _describe_time_left(self, step: int) -> str:
        if self._clock is not None:
            secs_left = max(0, self._clock.left_secs)
        elif self._last_step is None or step <= self._start.step:
            return ""
        else:
            steps, steps_left = step - self._start.step, self._last_step - step
            secs_left = (time.monotonic() - self._started) / steps * steps_left
        return f"{datetime.timedelta(seconds=round(secs_left))} left"


class _Bar:
    """A live bar that keeps its share of the terminal, whatever is written beside it.

    Messages of absl's log appear above it.
    """

    def __init__(self, first_step: int, last_step: int | None):
        if last_step is None:
            layout = "step {n_fmt} [{elapsed}]{postfix}"
        else:
            layout = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
        self._last_step = last_step
        self._tqdm = tqdm.tqdm(
            total=last_step,
            initial=first_step,
            dynamic_ncols=True,
            bar_format=layout,
        )
        logging.get_absl_handler().addFilter(self._clear)

    def show(self, step: int, facts: Sequence[str]) -> None:
        """Moves the bar to a step; `facts` begin with the most important."""
        columns = self._tqdm.format_dict["ncols"] or _UNKNOWN_WIDTH
        if self._last_step is None:
            room = columns - len(f"step {step} [00:00:00]")
        else:
            room = columns - max(_LEAST_BAR_COLUMNS, round(_BAR_SHARE * columns))
            room -= len(f"100%|| {step}/{self._last_step}")
        self._tqdm.set_postfix_str(join_fitting(facts, room), refresh=False)
        self._tqdm.update(step - self._tqdm.n)

    def close(self) -> None:
        logging.get_absl_handler().removeFilter(self._clear)
        self._tqdm.close()

    def _clear(self, record: python_logging.LogRecord) -> bool:
        """Makes room for a message, as a filter that lets everything pass."""
        del record
        self._tqdm.clear()
        return True


def join_fitting(facts: Sequence[str], columns: int) -> str:
    """Joins those facts that fit, each after ", "; the first ones take precedence."""
    chosen = []
    for fact in facts:
        columns_left = columns - sum(len(f", {one}") for one in chosen)
        if len(f", {fact}") <= columns_left:
            chosen.append(fact)
    return ", ".join(chosen)


def _advise() -> str:
    return (
        " To reduce it, set --num_preprocessing_threads to the number of cores "
        f"({os.cpu_count()}), raise --num_readers if the files are on a slow disk, or "
        "store the images no larger than they are used."
    )
