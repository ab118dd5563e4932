"""How far a long loop has come: a live bar on a terminal, plain lines elsewhere."""

import datetime
import sys
import time

import tqdm
from absl import logging


class Progress:
    """Reports steps with their loss, learning rate, images a second, time left.

    The rate leaves out the first step, which builds caches and traces.

    Args:
      first_step: the step before the first.
      last_step: the last step, or None if there is no limit.
      images_per_step: images that one step works on.
      log_every_n_steps: how often a plain line is written; 0 for never.
      is_live: whether to draw a live bar; None does so on a terminal.
    """

    def __init__(
        self, first_step, last_step, images_per_step, log_every_n_steps, is_live=None
    ):
        self._last_step = last_step
        self._images_per_step = images_per_step
        self._log_every_n_steps = log_every_n_steps
        self._started = None
        self._counted_from = first_step
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

    def report(self, step, loss, learning_rate, step_secs):
        """Takes note of a finished step."""
        if self._started is None:
            self._started, self._counted_from = time.monotonic(), step
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"loss {loss:.4f}, learning rate {learning_rate:.3g}, "
                f"{self.images_per_second():.1f} images/s",
                refresh=False,
            )
            self._bar.update(step - self._bar.n)
        elif self._log_every_n_steps and step % self._log_every_n_steps == 0:
            logging.info(
                "global step %d: loss = %.4f (%.3f sec/step, %.1f images/s, "
                "learning rate %.3g%s)",
                step,
                loss,
                step_secs,
                self.images_per_second() or self._images_per_step / step_secs,
                learning_rate,
                self._time_left(step),
            )
        self._step = step

    def images_per_second(self):
        """Images a second since the first step; 0.0 before there is a rate."""
        if self._started is None or self._steps_done() <= 0:
            return 0.0
        secs = time.monotonic() - self._started
        return self._steps_done() * self._images_per_step / secs

    def close(self):
        if self._bar is not None:
            self._bar.close()

    def _steps_done(self):
        return getattr(self, "_step", self._counted_from) - self._counted_from

    def _time_left(self, step):
        rate = self.images_per_second() / self._images_per_step
        if self._last_step is None or rate == 0:
            return ""
        left = datetime.timedelta(seconds=round((self._last_step - step) / rate))
        return f", {left} left"
