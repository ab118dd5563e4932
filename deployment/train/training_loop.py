"""One training step after another, and what is done between them."""

import collections
import contextlib
import math
import os
import signal
import threading
import time

import numpy as np
from absl import logging

from deployment import files
from deployment.train.progress import Progress
from deployment.train.saving import CheckpointSaver
from tf_slim_compat import tf

# Summaries (histograms of every variable and activation) may take this share of
# the time, however often they are asked for.
_MAX_SUMMARY_SHARE = 0.05

TrainingResult = collections.namedtuple(
    "TrainingResult", ["step", "loss", "stopped_because", "step_secs", "secs"]
)
TrainingResult.__doc__ = """How a training run ended.

`step` is the last step and `loss` its loss, None if no step was taken;
`stopped_because` is a sentence, None while it goes on; `step_secs` is the median
time of a step, None before there are two; `secs` is the time since the first step
began.
"""


class _ValidationCut(Exception):
    """A signal came while a checkpoint was evaluated."""


class TrainingLoop:
    """A `train_step_fn` for `slim.learning.train`.

    It runs a step and then, where they are due, saves a checkpoint, validates and
    reports progress; summaries are computed by the step itself, on its own batch.
    So nothing runs beside a step, a checkpoint never mixes two of them, and no
    batch is spent on anything but training.

    Args:
      config: a `training.TrainingConfig`.
      graph: a `training_graph.TrainingGraph`.
      history: a `history.History` that takes the lines of progress, or None.
      validator: a `validation.Validator`, or None.
      record_fn: called with a `TrainingResult` after every checkpoint, or None.
    """

    def __init__(self, config, graph, history=None, validator=None, record_fn=None):
        self._config = config
        self._history = history
        self._validator = validator
        self._record_fn = record_fn
        self._accumulate_op = graph.accumulate_op
        self._health_names = graph.health_names
        self._fetches = {
            "loss": graph.train_op,
            "step": graph.step_after,
            "learning_rate": graph.learning_rate,
            "accuracy": graph.accuracy,
            "waited_secs": graph.waited_secs,
            "health": graph.health,
        }
        self._summary_op = graph.summary_op if config.is_chief else None
        self._progress = None
        self._loss = None
        self._step = None
        self._num_skipped = 0
        self._step_secs = collections.deque(maxlen=100)
        self._stop_because = None
        self._was_signalled = False
        self._is_validating = False
        self._began = None
        self.saver = CheckpointSaver(config.train_dir, config.max_checkpoints_to_keep)

    def request_stop(self, reason):
        """Ends training after the current step, with a checkpoint.

        To be called from a signal handler in the thread that trains: an evaluation
        is cut off by an exception from here.
        """
        self._stop_because = reason
        self._was_signalled = True
        if self._is_validating:
            raise _ValidationCut

    def __call__(self, session, train_op, global_step, train_step_kwargs):
        """Takes a step; returns its loss and whether training is over."""
        if self._progress is None:
            self._start(session, global_step)
        if self._is_over():
            return self._loss, True
        writer = train_step_kwargs.get("summary_writer")
        self._take_step(session, writer)
        if self._config.is_chief:
            self._work_between_steps(session, writer)
        return self._loss, self._is_over()

    def close(self):
        """Ends the progress display; returns a `TrainingResult`."""
        if self._progress is not None:
            self._progress.close()
        logging.info(
            "Training ended: %s. The newest checkpoint is %s.",
            self._stop_because,
            tf.train.latest_checkpoint(self._config.train_dir),
        )
        return self.get_result()

    def get_result(self):
        """How far training is, a `TrainingResult`."""
        secs = 0.0 if self._began is None else time.monotonic() - self._began
        typical = float(np.median(self._step_secs)) if self._step_secs else None
        return TrainingResult(self._step, self._loss, self._stop_because, typical, secs)

    def _start(self, session, global_step):
        """Sets the clocks; finds whether there is anything to do."""
        config = self._config
        self._step = int(session.run(global_step))
        self._progress = Progress(
            self._step,
            config.number_of_steps,
            config.images_per_step,
            config.log_every_n_steps,
        )
        now = self._began = time.monotonic()
        self._save_due = now + config.save_interval_secs
        # The first step, which is slow in any case, has the first summaries.
        self._summaries_due = now if config.save_summaries_secs > 0 else math.inf
        self._check_limit("is reached already: there is nothing to train")
        if self._validator is not None and config.is_chief:
            self._validator.start(self._step)
            # Due already where the run was killed between saving and evaluating.
            self._validate_if_due(session, None, {})
            self._request_stop_early()

    def _is_over(self):
        return self._stop_because is not None

    def _check_limit(self, what):
        limit = self._config.number_of_steps
        if limit is not None and self._step >= limit and not self._is_over():
            self._stop_because = f"step {self._step} of {limit} {what}"

    def _take_step(self, session, writer):
        fetches = dict(self._fetches)
        started = time.monotonic()
        has_summaries = self._summary_op is not None and started >= self._summaries_due
        if has_summaries:
            fetches["summaries"] = self._summary_op
        losses = [
            session.run(self._accumulate_op)
            for _ in range(self._config.gradient_accumulation_steps - 1)
        ]
        values = session.run(fetches)
        step_secs = time.monotonic() - started
        self._step = int(values["step"])
        self._loss = float(np.mean([*losses, values["loss"]]))
        self._check_numbers(values["health"])
        facts = {
            "loss": self._loss,
            "accuracy": float(values["accuracy"]),
            "learning_rate": float(values["learning_rate"]),
        }
        self._progress.report(
            self._step,
            step_secs=step_secs,
            waited_secs=float(values["waited_secs"]),
            **facts,
        )
        self._facts = facts
        if has_summaries:
            self._write_summaries(writer, values["summaries"], step_secs)
        else:
            self._step_secs.append(step_secs)
        self._check_limit("is reached")

    def _check_numbers(self, health):
        """Stops at, or counts, a step of which a loss or gradient is not finite."""
        if np.isfinite(health).all():
            return
        config = self._config
        first = int(np.flatnonzero(~np.isfinite(health))[0])
        what = f"At step {self._step} {self._health_names[first]} became "
        what += f"{'NaN' if np.isnan(health[first]) else 'infinite'}"
        if config.on_bad_numbers == "skip":
            self._num_skipped += 1
            logging.warning("%s: its update is left out.", what)
            if self._num_skipped <= config.max_skipped_steps:
                return
            what += (
                f", and more than --max_skipped_steps={config.max_skipped_steps} "
                "updates were left out"
            )
        latest = tf.train.latest_checkpoint(config.train_dir)
        raise ValueError(
            f"{what}: lower --learning_rate, give --clip_gradient_norm or check the "
            "labels. The last checkpoint is untouched: "
            f"{latest or 'there is none yet'}."
        )

    def _work_between_steps(self, session, writer):
        """Writes, saves and validates, as far as each is due."""
        if self._history is not None and self._progress.is_line_due(self._step):
            self._history.append_training(self._describe_step())
        if not self._validate_if_due(session, writer, self._facts):
            self._save_if_due(session)
        self._request_stop_early()

    def _describe_step(self):
        return {
            "step": self._step,
            "epoch": round(self._config.steps_to_epochs(self._step), 4),
            **self._facts,
            "images_per_sec": round(self._progress.images_per_second(), 2),
            "data_wait_share": round(self._progress.data_wait_share(), 4),
            "time": files.utc_now(),
        }

    def _save_if_due(self, session):
        if time.monotonic() >= self._save_due:
            with self._progress.paused():
                self._save(session)

    def _save(self, session):
        path = os.path.join(self._config.train_dir, "model.ckpt")
        prefix = self.saver.save(session, path, global_step=self._step)
        self._save_due = time.monotonic() + self._config.save_interval_secs
        if self._record_fn is not None:
            self._record_fn(self.get_result())
        return prefix

    def _validate_if_due(self, session, writer, facts):
        """Saves, and evaluates what was saved; returns whether it did."""
        if self._validator is None or self._was_signalled:
            return False
        if not self._validator.is_due(self._step, is_last=self._is_over()):
            return False
        with self._progress.paused():
            prefix = self._save(session)
            self._is_validating = True
            try:
                metrics = self._validator.evaluate(self._step, prefix, facts)
            except _ValidationCut:
                logging.warning("The evaluation of step %d was cut off.", self._step)
                return True
            finally:
                self._is_validating = False
            if writer is not None:
                scalars = {f"eval/{name}": value for name, value in metrics.items()}
                write_scalars(writer, scalars, self._step)
        return True

    def _request_stop_early(self):
        if self._validator is not None and not self._is_over():
            self._stop_because = self._validator.get_reason_to_stop()

    def _write_summaries(self, writer, summaries, step_secs):
        writer.add_summary(summaries, self._step)
        rate = self._progress.images_per_second()
        if rate:
            write_scalars(
                writer,
                {
                    "global_step/sec": rate / self._config.images_per_step,
                    "images/sec": rate,
                    "data_wait_share": self._progress.data_wait_share(),
                },
                self._step,
            )
        typical = np.median(self._step_secs) if self._step_secs else step_secs
        self._summaries_due = time.monotonic() + max(
            self._config.save_summaries_secs,
            (step_secs - typical) / _MAX_SUMMARY_SHARE,
        )


def write_scalars(writer, scalars, step):
    """Adds scalars by tag to an event file."""
    values = [tf.Summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
    writer.add_summary(tf.Summary(value=values), step)


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
        loop.request_stop(f"{signal.Signals(signum).name} was received")
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
