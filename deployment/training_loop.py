"""One training step after another, and what is done between them."""

import contextlib
import math
import os
import signal
import threading
import time

from absl import logging

from deployment.progress import Progress
from tf_slim_compat import tf

# Summaries (histograms of every variable and activation) may take this share of
# the time, however often they are asked for.
_MAX_SUMMARY_SHARE = 0.05


class TrainingLoop:
    """A `train_step_fn` for `slim.learning.train`.

    It runs a step and then, where they are due, saves a checkpoint and reports
    progress; summaries are computed by the step itself, on its own batch. So
    nothing runs beside a step, a checkpoint never mixes two of them, and no
    batch is spent on anything but training.

    Args:
      config: a `training.TrainingConfig`.
      graph: a `training_graph.TrainingGraph`.
    """

    def __init__(self, config, graph):
        self._config = config
        self._fetches = {
            "loss": graph.train_op,
            "step": graph.step_after,
            "learning_rate": graph.learning_rate,
        }
        self._summary_op = graph.summary_op if config.is_chief else None
        self._images_per_step = (
            config.batch_size
            * config.deployment.num_clones
            * (config.replicas_to_aggregate if config.sync_replicas else 1)
        )
        self._progress = None
        self._loss = None
        self._typical_step_secs = None
        self._stop_requested = None
        self.saver = tf.train.Saver(max_to_keep=5)

    def request_stop(self, reason):
        """Ends training after the current step, with a checkpoint."""
        self._stop_requested = reason

    def __call__(self, session, train_op, global_step, train_step_kwargs):
        """Takes a step; returns its loss and whether training is over."""
        if self._progress is None and self._start(session, global_step):
            return self._loss, True
        fetches = dict(self._fetches)
        started = time.monotonic()
        has_summaries = self._summary_op is not None and started >= self._summaries_due
        if has_summaries:
            fetches["summaries"] = self._summary_op
        values = session.run(fetches)
        step_secs = time.monotonic() - started
        step, self._loss = int(values["step"]), float(values["loss"])
        self._check_loss(step)
        self._progress.report(step, self._loss, values["learning_rate"], step_secs)
        if has_summaries:
            writer = train_step_kwargs["summary_writer"]
            self._write_summaries(writer, values["summaries"], step, step_secs)
        else:
            self._typical_step_secs = step_secs
        if self._config.is_chief and time.monotonic() >= self._save_due:
            self._save(session, step)
        return self._loss, self._is_over(step)

    def close(self):
        """Ends the progress display; returns the last loss, or None."""
        if self._progress is not None:
            self._progress.close()
        logging.info(
            "Training ended; the newest checkpoint is %s.",
            tf.train.latest_checkpoint(self._config.train_dir),
        )
        return self._loss

    def _start(self, session, global_step):
        """Sets the clocks; returns whether there is nothing left to do."""
        config = self._config
        step = int(session.run(global_step))
        limit = config.number_of_steps
        if limit is not None and step >= limit:
            logging.info(
                "Nothing to train: step %d is reached already, and "
                "--max_number_of_steps is %d.",
                step,
                limit,
            )
            return True
        self._progress = Progress(
            step, limit, self._images_per_step, config.log_every_n_steps
        )
        now = time.monotonic()
        self._save_due = now + config.save_interval_secs
        # The first step, which is slow in any case, has the first summaries.
        self._summaries_due = now if config.save_summaries_secs > 0 else math.inf
        return False

    def _is_over(self, step):
        if self._stop_requested is not None:
            logging.info("%s: stopping after step %d.", self._stop_requested, step)
            return True
        limit = self._config.number_of_steps
        return limit is not None and step >= limit

    def _check_loss(self, step):
        if not math.isfinite(self._loss):
            latest = tf.train.latest_checkpoint(self._config.train_dir)
            raise ValueError(
                f"The loss became {self._loss} at step {step}: lower --learning_rate "
                "or check the labels. The last checkpoint is untouched: "
                f"{latest or 'there is none yet'}."
            )

    def _save(self, session, step):
        path = os.path.join(self._config.train_dir, "model.ckpt")
        self.saver.save(session, path, global_step=step)
        self._save_due = time.monotonic() + self._config.save_interval_secs

    def _write_summaries(self, writer, summaries, step, step_secs):
        writer.add_summary(summaries, step)
        rate = self._progress.images_per_second()
        if rate:
            steps_per_sec = rate / self._images_per_step
            for tag, value in (
                ("global_step/sec", steps_per_sec),
                ("images/sec", rate),
            ):
                summary = tf.Summary.Value(tag=tag, simple_value=value)
                writer.add_summary(tf.Summary(value=[summary]), step)
        cost = step_secs - (self._typical_step_secs or step_secs)
        self._summaries_due = time.monotonic() + max(
            self._config.save_summaries_secs, cost / _MAX_SUMMARY_SHARE
        )


@contextlib.contextmanager
def stop_on_signals(loop):
    """Within, Ctrl-C and SIGTERM end training after the step, with a checkpoint.

    The second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may handle signals.
        return

    def handle(signum, frame):
        del frame
        loop.request_stop(signal.Signals(signum).name)
        restore()

    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore():
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    for signum in previous:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        restore()
