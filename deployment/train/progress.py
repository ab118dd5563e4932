"""How far a long loop has come: a live bar on a terminal, plain lines elsewhere."""

import contextlib
import datetime
import os
import sys
import time

import tqdm
from absl import logging

# From this share on, waiting for data is worth a hint.
_MUCH_WAITING = 0.1


class Progress:
    """Reports steps with loss, accuracy, learning rate, images a second, time left.

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

    def report(self, step, loss, accuracy, learning_rate, step_secs, waited_secs):
        """Takes note of a finished step.

        Args:
          step: its number.
          loss: the total loss of its batch.
          accuracy: the share of its batch whose best class is the label.
          learning_rate: what the schedule gave it.
          step_secs: how long it took.
          waited_secs: how much of that it waited for its batch.
        """
        if self._started is None:
            self._started, self._counted_from = time.monotonic(), step
        else:
            self._waited_secs += waited_secs
        self._step = step
        facts = (
            f"loss {loss:.4f}, accuracy {accuracy:.3f}, learning rate "
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
                "global step %d: loss = %.4f (%.3f sec/step, %.1f images/s, accuracy "
                "%.3f, learning rate %.3g%s%s)",
                *(step, loss, step_secs, rate, accuracy, learning_rate),
                *(self._waiting(), self._time_left(step)),
            )

    def is_line_due(self, step):
        """Whether `log_every_n_steps` asks for a line after this step."""
        return bool(self._log_every_n_steps) and step % self._log_every_n_steps == 0

    def images_per_second(self):
        """Images a second since the first step; 0.0 before there is a rate."""
        steps = self._step - self._counted_from
        secs = self._training_secs()
        return steps * self._images_per_step / secs if steps > 0 and secs > 0 else 0.0

    def data_wait_share(self):
        """The share of the time since the first step that was spent on waiting."""
        secs = self._training_secs()
        return min(1.0, self._waited_secs / secs) if secs > 0 else 0.0

    @contextlib.contextmanager
    def paused(self):
        """Within, time does not count: something else than training is done."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused_secs += time.monotonic() - started

    def close(self):
        """Ends the live bar; says how fast it went, and what held it up."""
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
        " To lessen it, give --num_preprocessing_threads as many as the processor has "
        f"cores ({os.cpu_count()}), raise --num_readers where the files lie on a slow "
        "disk, or store the pictures no larger than they are used."
    )
