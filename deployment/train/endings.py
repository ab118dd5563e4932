"""How sessions of a run end: a reason in the run card, or none if they were killed."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment.models import run_card
from deployment.models.run_card import RunCard
from deployment.train.config import TrainingConfig
from tf_slim_compat import tf


def recording_errors(train: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a training function: an error becomes the reason in the run card."""

    @functools.wraps(train)
    def wrapped(config, *args, **kwargs):
        before = _load_card(config)
        try:
            return train(config, *args, **kwargs)
        except BaseException as error:
            with contextlib.suppress(OSError, tf.errors.OpError):
                _record(config, before, error)
            raise

    return wrapped


def warn_if_killed(config: TrainingConfig) -> None:
    """Logs a warning if the last session in `train_dir` left no reason for its end."""
    card = _load_card(config)
    if card is None or not card.sessions or _find_reason(card):
        return
    last = card.sessions[-1]
    step = last.get("to_step")
    reached = "before its first checkpoint" if step is None else f"after step {step:,}"
    logging.warning(
        "The last session in %r, started %s, ended %s without leaving a reason. Mostly "
        "it was killed as the system ran out of memory (see dmesg or journalctl -k), "
        "otherwise by kill -9 or a power cut.",
        config.train_dir, last.get("started", "at an unknown time"), reached,
    )  # fmt: skip


def _record(
    config: TrainingConfig, before: RunCard | None, error: BaseException
) -> None:
    """Writes an error into the run card, if the session had begun."""
    card = _load_card(config)
    if card is None or _find_reason(card) or _identify(card) == _identify(before):
        return
    text = str(error).strip().split("\n")[0]
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    run_card.with_results(card, stopped_because=reason).save(config.train_dir)


def _find_reason(card: RunCard) -> str | None:
    return card.results.get("stopped_because")


def _identify(card: RunCard | None) -> tuple | None:
    """Returns what tells the last session from others; None if there is none."""
    if card is None or not card.sessions:
        return None
    return card.sessions[-1].get("started"), card.sessions[-1]["from_step"]


def _load_card(config: TrainingConfig) -> RunCard | None:
    """Returns the run card on the chief; None if there is none that can be read."""
    if not config.is_chief or not config.train_dir:
        return None
    with contextlib.suppress(ValueError, OSError, tf.errors.OpError):
        return RunCard.load(config.train_dir)
    return None
