"""A process that validates the checkpoints of a run while others train it.

It shares the training folder with the chief. It writes what validation during training
would write: the evaluations in `metrics.jsonl` and `metrics.csv`, and the best
checkpoints. If the metric stops improving, it leaves a request that the chief finds
when it saves the next checkpoint.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment import files
from deployment.config_flags import SettingError
from deployment.models import checkpoint
from deployment.models.history import History
from deployment.models.run_card import RunCard
from deployment.train.config import TrainingConfig
from deployment.train.validation import Validator

STOP_FILE = "stop_request.json"
_POLL_SECS = 1.0
_PATIENCE_SECS = 600.0


def read_stop_request(train_dir: str) -> str | None:
    """Returns why the evaluator asks the chief to end training; None if it does not."""
    request = files.read_json(os.path.join(train_dir, STOP_FILE))
    return request["reason"] if isinstance(request, dict) else None


def clear_stop_request(train_dir: str) -> None:
    """Removes the request of an earlier session."""
    path = os.path.join(train_dir, STOP_FILE)
    if os.path.exists(path):
        files.remove(path)


def follow(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
    *,
    build_evaluator: Callable[[], Any],
    on_new_best: Callable[..., str | None] | None = None,
    **kwargs: Any,
) -> None:
    """Evaluates the newest checkpoint of a run whenever there is one, until it ends.

    Args:
      config: the configuration of the run, with a `validation`.
      network_fn: not used here.
      build_batches: not used here.
      build_evaluator: see `validation.Validator`.
      on_new_best: see `validation.Validator`.
      **kwargs: further arguments of `training.train`, not used here.

    Raises:
      ValueError: if the evaluator is not to validate, or the run does not begin, or has
        no new checkpoint, for ten minutes more than the time between checkpoints.
    """
    del network_fn, build_batches, kwargs
    if config.validation is None or config.validates:
        raise SettingError(
            "TF_CONFIG makes this process an evaluator: give all processes "
            "{{validate_on}}=evaluator and the split, --eval_split_name."
        )
    ended_before = _find_end(config.train_dir)
    validator = None
    patience_secs = config.save_interval_secs + _PATIENCE_SECS
    deadline = time.monotonic() + patience_secs
    logging.info("Waiting for checkpoints in %s.", config.train_dir)
    while True:
        end = _find_end(config.train_dir)
        newest = _find_newest(config.train_dir)
        if newest is not None:
            if validator is None:
                history = History(config.train_dir)
                validator = Validator(config, history, build_evaluator, on_new_best)
                validator.start(newest.step)
            if validator.is_due(newest.step, is_last=True):
                _evaluate(config, validator, newest)
                deadline = time.monotonic() + patience_secs
                continue
        if end is not None and end != ended_before:
            break
        if time.monotonic() > deadline:
            if end is not None:
                break  # It was over before, and has not been resumed.
            raise ValueError(
                f"There was no new checkpoint in {config.train_dir!r} for "
                f"{patience_secs:.0f} s: start the workers, or save checkpoints more "
                "often (--save_interval_secs)."
            )
        time.sleep(_POLL_SECS)
    if validator is not None:
        validator.close()
    logging.info("The run has ended (%s), and so does its evaluator.", end[1])


def _evaluate(config: TrainingConfig, validator: Validator, newest: Any) -> None:
    """Evaluates and exports a checkpoint, unless it is removed meanwhile."""
    try:
        validator.evaluate(newest.step, newest.path, {})
        if validator.is_export_due():
            validator.export_best()
    except (ValueError, OSError):
        if checkpoint.exists(newest.path):
            raise
        logging.info("Step %d was replaced by newer checkpoints.", newest.step)
    if reason := validator.get_reason_to_stop():
        request = files.to_json({"reason": reason, "step": newest.step})
        files.write_text(os.path.join(config.train_dir, STOP_FILE), request + "\n")


def _find_newest(train_dir: str) -> checkpoint.Checkpoint | None:
    """Returns the newest checkpoint; None while there is none that is whole."""
    with contextlib.suppress(ValueError, OSError):
        return checkpoint.find_newest(train_dir)
    return None


def _find_end(train_dir: str) -> tuple[str | None, str] | None:
    """Returns when the last session began and why it ended; None while it runs."""
    with contextlib.suppress(ValueError, OSError):
        card = RunCard.load(train_dir)
        if card is not None and card.sessions and card.results.get("stopped_because"):
            started = card.sessions[-1].get("started")
            return started, card.results["stopped_because"]
    return None
