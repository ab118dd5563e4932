"""The training loop: one step after another, and what is done between steps."""

import collections
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging

from deployment import remote, tasks
from deployment.evaluate import evaluation_summaries
from deployment.models.history import History
from deployment.optimize.loss_scale import OverflowLog
from deployment.train import following_evaluator
from deployment.train.config import TrainingConfig
from deployment.train.progress import Progress
from deployment.train.saving import CheckpointSaver
from deployment.train.step import TrainingGraph
from deployment.train.step_reports import StepReports
from deployment.train.summaries import write_scalars
from deployment.train.validation import Validator
from tf_slim_compat import tf

TrainingResult = collections.namedtuple(
    "TrainingResult", "step loss stopped_because step_secs secs is_complete"
)
TrainingResult.__doc__ = """How a training run ended, or how far it is.

`step` is the last step and `loss` its loss, None if no step was taken;
`stopped_because` is the reason, None while training continues; `step_secs` is the
median duration of a step, None before there are two; `secs` is the time since the first
step began; `is_complete` is whether its last step was reached, or its time is up.
"""


class _Interrupted(Exception):
    """A signal arrived during an evaluation or an export."""


class TrainingLoop:
    """A `train_step_fn` for `slim.learning.train`.

    Runs a step, then saves a checkpoint, validates and reports progress where due;
    histograms are computed by the step itself, from its own batch. Nothing runs
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
        self._reports = StepReports(config, graph.loss_names, history)
        self._validator = validator
        self._record_fn = record_fn
        self._metric_name = tasks.get_task(config.spec.task).batch_metric
        self._workers = config.workers
        self._broadcast_op = graph.broadcast_op
        self._accumulate_op = graph.accumulate_op
        self._health_names = graph.health_names
        self._fetches = {
            "total_loss": graph.train_op,
            "loss": graph.loss,
            "step": graph.step_after,
            "learning_rate": graph.learning_rate,
            "batch_metric": graph.batch_metric,
            "waited_secs": graph.waited_secs,
            "health": graph.health,
        }
        if graph.overflowed is not None:
            self._fetches["overflowed"] = graph.overflowed
        self._summary_op = graph.summary_op if config.is_chief else None
        self._progress = None
        self._loss = None
        self._step = None
        self._facts = {}
        self._health = ()
        self._num_skipped = 0
        self._overflows = OverflowLog()
        self._step_secs = collections.deque(maxlen=100)
        self._stop_because = self._wish_to_stop = None
        self._was_signaled = False
        self._is_interruptible = False
        self._began = None
        self.saver = CheckpointSaver(config.train_dir, config.max_checkpoints_to_keep)

    def request_stop(self, reason: str) -> None:
        """Ends training after the current step, with a checkpoint.

        For signal handlers in the training thread: raises an exception that interrupts
        an evaluation or an export.
        """
        if self._workers is not None:
            self._wish_to_stop = reason  # All workers end after the same step.
            return
        self._stop_because = reason
        self._was_signaled = True
        if self._is_interruptible:
            raise _Interrupted

    def __call__(
        self,
        session: tf.Session,
        train_op: tf.Tensor,
        global_step: tf.Tensor,
        train_step_kwargs: Mapping[str, Any],
    ) -> tuple[float, bool]:
        """Takes a step; returns its loss and whether training is over."""
        writer = train_step_kwargs.get("summary_writer")
        if self._progress is None:
            self._start(session, global_step, writer)
        if not self._is_over():
            self._take_step(session, writer)
            self._work_between_steps(session, writer)
        if self._is_over() and self._workers is not None:
            self._workers.leave()
        return self._loss, self._is_over()

    def close_display(self) -> None:
        """Ends the live bar, so that what is printed next has its own line."""
        if self._progress is not None:
            self._progress.close()

    def close(self) -> TrainingResult:
        """Logs how training ended and returns the result."""
        self.close_display()
        if self._progress is not None:
            self._progress.log_mean_speed()
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
        is_complete = self._find_end() is not None and not self._was_signaled
        results = (self._step, self._loss, self._stop_because, typical, secs)
        return TrainingResult(*results, is_complete)

    def _start(self, session, global_step, writer):
        """Starts the clocks, and checks whether there is anything to do."""
        config = self._config
        if self._workers is not None:
            with self._communicating(session):
                session.run(self._broadcast_op)
        self._step = int(session.run(global_step))
        self._progress = Progress(
            self._step,
            config.number_of_steps,
            config.images_per_step,
            config.log_every_n_steps,
            self._metric_name,
            precision=config.precision,
            clock=config.clock,
        )
        if config.clock is not None:
            config.clock.start()
        now = self._began = time.monotonic()
        self._save_due = now + config.save_interval_secs
        if config.is_last_step(self._step) and not self._is_over():
            self._stop_because = (
                f"already at step {self._step}; nothing to do for "
                f"--max_number_of_steps={config.last_step}"
            )
        self._stop_at_end()
        if self._validator is not None:
            self._validator.start(self._step)
            self._facts = self._reports.find(self._step)
        # The run may have ended between saving and evaluating, or evaluating and
        # exporting.
        self._validate_if_due(session, writer)
        self._export_if_due()
        self._request_stop_early()

    def _is_over(self):
        return self._stop_because is not None

    def _take_step(self, session, writer):
        fetches = dict(self._fetches)
        started = time.monotonic()
        has_summaries = self._summary_op is not None and self._reports.are_due(started)
        if has_summaries:
            fetches["summaries"] = self._summary_op
        with self._communicating(session):
            losses = [
                session.run([self._accumulate_op, self._fetches["loss"]])
                for _ in range(self._config.gradient_accumulation_steps - 1)
            ]
            values = session.run(fetches)
        is_first = self._progress.speed is None  # It builds caches and traces.
        step_secs = time.monotonic() - started
        losses.append([values["total_loss"], values["loss"]])
        self._step = int(values["step"])
        self._loss, loss = np.mean(losses, axis=0).tolist()
        self._health = values["health"]
        self._check_numbers(self._health)
        self._overflows.add(self._step, values.get("overflowed", False))
        self._facts = {
            "loss": loss,
            "total_loss": self._loss,
            self._metric_name: float(values["batch_metric"]),
            "learning_rate": float(values["learning_rate"]),
        }
        self._progress.report(
            self._step,
            self._facts,
            step_secs=step_secs,
            waited_secs=float(values["waited_secs"]),
        )
        if has_summaries:
            self._reports.add_histograms(
                writer, self._step, values["summaries"], step_secs, self._step_secs
            )
        elif not is_first:
            self._step_secs.append(step_secs)
        self._stop_at_end()

    def _communicating(self, session):
        if self._workers is None:
            return contextlib.nullcontext()
        return self._workers.communicating(session)

    def _stop_at_end(self):
        if not self._is_over():
            self._stop_because = self._find_end()

    def _find_end(self):
        """Returns why the run, or its part, ends after this step; None if it does not.

        It is an end however training was stopped.
        """
        config, clock = self._config, self._config.clock
        if config.is_last_step(self._step):
            return f"step {self._step} of {config.last_step} is reached"
        if clock is not None and clock.left_secs <= 0:
            return f"the --time_budget of {config.time_budget} is used"
        until = config.phase.end_progress
        if until is not None and clock.get_progress() >= until:
            return f"the time for images of {config.phase.image_size} pixels is used"
        return None

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
        if not self._config.is_chief:
            if self._validate_if_due(session, writer):
                self._request_stop_early()
            return
        if self._config.clock is not None:
            self._config.clock.record()
        facts = (self._step, self._facts, self._progress.speed)
        if self._progress.is_line_due(self._step):
            self._reports.record(*facts)
            self._reports.write(writer, *facts, self._health)
        elif self._is_validation_due():
            self._reports.record(*facts)  # Should the evaluation have to be repeated.
        if is_validated := self._validate_if_due(session, writer):
            self._request_stop_early()
        if is_validated or self._save_if_due(session):
            with self._progress.paused():
                remote.publish()

    def _save_if_due(self, session):
        is_due = time.monotonic() >= self._save_due
        if is_due:
            with self._progress.paused():
                self._save(session)
        return is_due

    def _save(self, session):
        self._reports.sync()
        path = os.path.join(self._config.train_dir, "model.ckpt")
        prefix = self.saver.save(session, path, global_step=self._step)
        self._save_due = time.monotonic() + self._config.save_interval_secs
        self._record()
        self._heed_evaluator()
        return prefix

    def _heed_evaluator(self):
        """Stops if the evaluator of the run asks for it."""
        if self._config.is_chief and not self._config.validates:
            reason = following_evaluator.read_stop_request(self._config.train_dir)
            if reason is not None:
                self.request_stop(reason)

    def _record(self):
        if self._record_fn is not None:
            self._record_fn(self.get_result())

    def _is_validation_due(self):
        if self._validator is None or self._was_signaled:
            return False
        return self._validator.is_due(self._step, is_last=self._is_over())

    def _validate_if_due(self, session, writer):
        """Saves a checkpoint and evaluates it, if due; returns whether it was."""
        if not self._agree(self._is_validation_due()):
            return False
        started = time.monotonic()
        with self._progress.paused():
            prefix = self._save(session)
            with self._interruptible(
                f"The evaluation of step {self._step} was interrupted."
            ):
                metrics = self._validator.evaluate(self._step, prefix, self._facts)
                if writer is not None:
                    values = evaluation_summaries.rename(metrics)
                    scalars = {f"eval/{name}": value for name, value in values.items()}
                    write_scalars(writer, scalars, self._step)
                    writer.flush()
        self._export_if_due()
        if self._config.clock is not None:
            self._config.clock.set_ending(time.monotonic() - started)
        return True

    def _agree(self, is_due):
        """Agrees with the other workers on whether to validate now, or to stop."""
        if self._workers is None:
            return is_due
        answers = self._workers.gather([self._wish_to_stop is not None, is_due])
        asked = np.flatnonzero(answers[:, 0])
        if asked.size and not self._is_over():
            self._stop_because = (
                self._wish_to_stop or f"worker {asked[0]} was asked to stop"
            )
            self._was_signaled = True
        return bool(answers[0, 1]) and not asked.size

    def _export_if_due(self):
        """Exports the best checkpoint, unless it is exported."""
        validator = self._validator
        if self._was_signaled or not (validator and validator.is_export_due()):
            return
        # The run card describes the checkpoint that is exported.
        self._record()
        message = (
            "The export of the best checkpoint was interrupted; resuming the run "
            "repeats it."
        )
        with self._progress.paused(), self._interruptible(message):
            validator.export_best()

    @contextlib.contextmanager
    def _interruptible(self, message):
        """Within, a signal abandons what is being done, with a message."""
        self._is_interruptible = self._workers is None
        try:
            yield
        except _Interrupted:
            logging.warning("%s", message)
        finally:
            self._is_interruptible = False

    def _request_stop_early(self):
        if self._validator is not None and not self._is_over():
            reason = self._validator.get_reason_to_stop()
            if self._workers is not None:
                reason = self._workers.share(reason)
            self._stop_because = reason
