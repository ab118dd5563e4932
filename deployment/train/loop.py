"""The training loop: one step after another, and what is done between steps."""

import collections
import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from deployment import files, tasks
from deployment.models.history import History
from deployment.train.config import TrainingConfig
from deployment.train.progress import Progress
from deployment.train.saving import CheckpointSaver
from deployment.train.step import TrainingGraph
from deployment.train.validation import Validator
from tf_slim_compat import tf

# Largest fraction of the time for summaries (histograms of every variable and
# activation), however often they are requested.
_MAX_SUMMARY_SHARE = 0.05

TrainingResult = collections.namedtuple(
    "TrainingResult", ["step", "loss", "stopped_because", "step_secs", "secs"]
)
TrainingResult.__doc__ = """How a training run ended, or how far it is.

`step` is the last step and `loss` its loss, None if no step was taken;
`stopped_because` is the reason, None while training continues; `step_secs` is the
median duration of a step, None before there are two; `secs` is the time since the first
step began.
"""


class _ValidationInterrupted(Exception):
    """A signal arrived during an evaluation."""


class TrainingLoop:
    """A `train_step_fn` for `slim.learning.train`.

    Runs a step, then saves a checkpoint, validates and reports progress where due;
    summaries are computed by the step itself, from its own batch. Nothing runs
    concurrently with a step, so a checkpoint never mixes two steps, and no batch is
    used for anything but training.

    Args:
      config: the configuration of the run.
      graph: its graph.
      history: records the progress lines; None for none.
      validator: evaluates checkpoints; None for none.
      record_fn: called with a `TrainingResult` after every checkpoint, or None.
    """

    def __init__(
        self,
        config: TrainingConfig,
        graph: TrainingGraph,
        history: History | None = None,
        validator: Validator | None = None,
        record_fn: Callable[[TrainingResult], None] | None = None,
    ):
        self._config = config
        self._history = history
        self._validator = validator
        self._record_fn = record_fn
        self._metric_name = tasks.get_task(config.spec.task).batch_metric
        self._accumulate_op = graph.accumulate_op
        self._health_names = graph.health_names
        self._fetches = {
            "loss": graph.train_op,
            "step": graph.step_after,
            "learning_rate": graph.learning_rate,
            "batch_metric": graph.batch_metric,
            "waited_secs": graph.waited_secs,
            "health": graph.health,
        }
        self._summary_op = graph.summary_op if config.is_chief else None
        self._progress = None
        self._loss = None
        self._step = None
        self._facts = {}
        self._num_skipped = 0
        self._step_secs = collections.deque(maxlen=100)
        self._stop_because = None
        self._was_signaled = False
        self._is_validating = False
        self._began = None
        self.saver = CheckpointSaver(config.train_dir, config.max_checkpoints_to_keep)

    def request_stop(self, reason: str) -> None:
        """Ends training after the current step, with a checkpoint.

        For signal handlers in the training thread: raises an exception that interrupts
        an evaluation.
        """
        self._stop_because = reason
        self._was_signaled = True
        if self._is_validating:
            raise _ValidationInterrupted

    def __call__(
        self,
        session: tf.Session,
        train_op: tf.Tensor,
        global_step: tf.Tensor,
        train_step_kwargs: Mapping[str, Any],
    ) -> tuple[float, bool]:
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

    def close(self) -> TrainingResult:
        """Ends the progress display and returns the result."""
        if self._progress is not None:
            self._progress.close()
        logging.info(
            "Training ended: %s. The newest checkpoint is %s.",
            self._stop_because,
            tf.train.latest_checkpoint(self._config.train_dir),
        )
        return self.get_result()

    def get_result(self) -> TrainingResult:
        """Returns how far training is."""
        secs = 0.0 if self._began is None else time.monotonic() - self._began
        typical = float(np.median(self._step_secs)) if self._step_secs else None
        return TrainingResult(self._step, self._loss, self._stop_because, typical, secs)

    def _start(self, session, global_step):
        """Starts the clocks, and checks whether there is anything to do."""
        config = self._config
        self._step = int(session.run(global_step))
        self._progress = Progress(
            self._step,
            config.number_of_steps,
            config.images_per_step,
            config.log_every_n_steps,
            self._metric_name,
        )
        now = self._began = time.monotonic()
        self._save_due = now + config.save_interval_secs
        # The first step is slow anyway, so it computes the first summaries.
        self._summaries_due = now if config.save_summaries_secs > 0 else math.inf
        limit = config.number_of_steps
        if limit is not None and self._step >= limit and not self._is_over():
            self._stop_because = (
                f"already at step {self._step}; nothing to do for "
                f"--max_number_of_steps={limit}"
            )
        if self._validator is not None and config.is_chief:
            self._validator.start(self._step)
            # The run may have been killed between saving and evaluating.
            self._validate_if_due(session, None)
            self._request_stop_early()

    def _is_over(self):
        return self._stop_because is not None

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
        metric, rate = float(values["batch_metric"]), float(values["learning_rate"])
        self._facts = {
            "loss": self._loss,
            self._metric_name: metric,
            "learning_rate": rate,
        }
        self._progress.report(
            self._step,
            self._loss,
            metric,
            rate,
            step_secs=step_secs,
            waited_secs=float(values["waited_secs"]),
        )
        if has_summaries:
            self._write_summaries(writer, values["summaries"], step_secs)
        else:
            self._step_secs.append(step_secs)
        limit = self._config.number_of_steps
        if limit is not None and self._step >= limit and not self._is_over():
            self._stop_because = f"step {self._step} of {limit} is reached"

    def _check_numbers(self, health):
        """Stops at, or counts, a step whose loss or gradients are not finite."""
        if np.isfinite(health).all():
            return
        config = self._config
        first = int(np.flatnonzero(~np.isfinite(health))[0])
        what = f"At step {self._step} {self._health_names[first]} became "
        what += f"{'NaN' if np.isnan(health[first]) else 'infinite'}"
        if config.on_bad_numbers == "skip":
            self._num_skipped += 1
            logging.warning("%s: its update is skipped.", what)
            if self._num_skipped <= config.max_skipped_steps:
                return
            what += (
                f", and more than --max_skipped_steps={config.max_skipped_steps} "
                "updates were skipped"
            )
        latest = tf.train.latest_checkpoint(config.train_dir)
        raise ValueError(
            f"{what}: lower --learning_rate, set --clip_gradient_norm or check the "
            f"labels. The last checkpoint is intact: {latest or 'there is none yet'}."
        )

    def _work_between_steps(self, session, writer):
        """Records, saves and validates, where due."""
        if self._history is not None and self._progress.is_line_due(self._step):
            self._history.append_training(self._describe_step())
        if not self._validate_if_due(session, writer):
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

    def _validate_if_due(self, session, writer):
        """Saves a checkpoint and evaluates it, if due; returns whether it was."""
        if self._validator is None or self._was_signaled:
            return False
        if not self._validator.is_due(self._step, is_last=self._is_over()):
            return False
        with self._progress.paused():
            prefix = self._save(session)
            self._is_validating = True
            try:
                metrics = self._validator.evaluate(self._step, prefix, self._facts)
            except _ValidationInterrupted:
                logging.warning("The evaluation of step %d was cut short.", self._step)
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


def write_scalars(
    writer: tf.summary.FileWriter, scalars: Mapping[str, float | None], step: int
) -> None:
    """Writes scalars by tag to an event file; None is left out."""
    values = [
        tf.Summary.Value(tag=tag, simple_value=value)
        for tag, value in scalars.items()
        if value is not None
    ]
    writer.add_summary(tf.Summary(value=values), step)


@contextlib.contextmanager
def stop_on_signals(loop: TrainingLoop) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM end training after the step, with a checkpoint.

    A second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may handle signals.
        return

    def handle(signum, frame):
        del frame
        restore()
        loop.request_stop(f"{signal.Signals(signum).name} was received")

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
