"""Training: from a network and batches to checkpoints in a folder.

    config = TrainingConfig(train_dir="run", spec=spec, num_samples=4000)
    train(config, network_fn, build_batches)

`slim.learning.train` drives the steps of `step.py`. Everything else, such as saving,
summaries and progress, happens between two steps, in `loop.py`.
"""

import contextlib
import dataclasses
import functools
import os
import secrets
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment import files, remote, text
from deployment.cluster import LostWorkerError
from deployment.event_files import EventWriter
from deployment.models import run_card
from deployment.models.history import History
from deployment.models.run_card import RunCard
from deployment.train import (
    cached_features,
    endings,
    following_evaluator,
    gpu,
    lock,
    memory,
    precision_choice,
    saving,
    shared_run,
    step,
    time_budget,
    warm_start,
)
from deployment.train.config import TrainingConfig, ValidationConfig
from deployment.train.loop import TrainingLoop, TrainingResult
from deployment.train.signals import stop_on_signals
from deployment.train.validation import Validator
from tf_slim_compat import slim, tf

__all__ = ["TrainingConfig", "TrainingResult", "ValidationConfig", "train"]


def train(
    config: TrainingConfig,
    network_fn: Callable[[tf.Tensor], tuple[tf.Tensor, dict[str, tf.Tensor]]],
    build_batches: Callable[..., "tf.data.Dataset"],
    *,
    card: RunCard | None = None,
    ignore_card: bool = False,
    build_evaluator: Callable[[], Any] | None = None,
    on_new_best: Callable[..., str | None] | None = None,
) -> TrainingResult:
    """Trains a network, resuming from `config.train_dir` if it has a checkpoint.

    Args:
      config: the configuration.
      network_fn: adds the network to the graph, for training: float32 images
        [batch, height, width, channels] to `(logits, end_points)`, with logits
        [batch, num_outputs].
      build_batches: called as `build_batches(seed=..., start_image=...)`; adds the
        input to the graph and returns an endless `tf.data.Dataset` of
        `(images, labels)`, labels int64 [batch] or float32 [batch, n], which begins
        with image number `start_image` of the stream with that seed.
      card: describes the run; None writes no run card.
      ignore_card: whether to continue even if the card in `train_dir` contradicts.
      build_evaluator: see `validation.Validator`; needed with `config.validation`.
      on_new_best: see `validation.Validator`.

    Returns:
      How training ended.

    Raises:
      ValueError: if the configuration contradicts itself, a checkpoint does not fit, or
        a loss or gradient becomes NaN or infinite.
      OSError: if a checkpoint cannot be saved.
    """
    with _holding_folder(config) as config:
        return _train(
            config,
            network_fn,
            build_batches,
            card,
            ignore_card,
            build_evaluator,
            on_new_best,
        )


@contextlib.contextmanager
def _holding_folder(config):
    """Within, the configuration that it gives has a folder to train in."""
    if config.workers is not None and not config.is_chief:
        with shared_run.following(config) as config:
            yield config
        return
    _prepare_train_dir(config)
    with lock.hold(config.train_dir) if config.is_chief else contextlib.nullcontext():
        yield config


@endings.recording_errors
def _train(
    config, network_fn, build_batches, card, ignore_card, build_evaluator, on_new_best
):
    if config.is_chief:
        saving.remove_leftovers(config.train_dir)
        following_evaluator.clear_stop_request(config.train_dir)
    endings.warn_if_killed(config)
    start = warm_start.find_start(config)
    gpu.check(config)
    config, card = _continue_card(config, card, start, ignore_card)
    seen = _count_images_seen(config, card, start.step)
    config, seen = shared_run.agree(config, seen)
    config = time_budget.with_clock(config)
    if config.deterministic:
        tf.compat.v2.config.experimental.enable_op_determinism()
    trunk = None
    if config.feature_copies:
        fingerprint = card.data_fingerprint if card else None
        trunk = cached_features.Trunk(
            config, start.checkpoint, network_fn, build_batches, fingerprint
        )
        config, card = _choose_precision(config, card, trunk.build_trial)
        network_fn, build_batches = trunk.replace(config)
    batches_fn = functools.partial(
        build_batches,
        seed=config.seed + config.deployment.replica_id,  # Another order per worker.
        start_image=seen,
    )
    build_graph = functools.partial(
        step.build_training_graph, network_fn=network_fn, build_batches=batches_fn
    )
    if trunk is None:
        config, card = _choose_precision(config, card, build_graph)
    with tf.Graph().as_default():
        tf.set_random_seed(config.seed % 2**31)
        graph = build_graph(config)
        if trunk is None:
            memory.check(config, tf.get_default_graph())
        init_fn = start.build_init_fn(config, graph)
        if trunk is not None and build_evaluator is not None:
            build_evaluator = functools.partial(
                build_evaluator, replace=trunk.replace_in_evaluation
            )
        history = History(config.train_dir) if config.is_chief else None
        validator = _build_validator(config, history, build_evaluator, on_new_best)
        _continue_history(history, config, card, start)
        record_fn = functools.partial(_record_results, config, card, validator, history)
        loop = TrainingLoop(config, graph, history, validator, record_fn)
        if new := start.list_new_variables(config):
            loop.saver.restore_without(new)
        try:
            with stop_on_signals(loop.request_stop):
                _run(config, graph, loop, init_fn)
        finally:
            loop.close_display()
        result = loop.close()
    if validator is not None:
        validator.close()
    record_fn(result)
    return result


def _run(config, graph, loop, init_fn):
    remote.publish()  # A store that cannot be written is an error now, not later.
    try:
        slim.learning.train(
            graph.train_op,
            config.train_dir,
            train_step_fn=_guard(loop, config),
            train_step_kwargs={},
            master=config.workers.target if config.workers else config.master,
            # Each worker of all-reduce initializes its own variables.
            is_chief=config.is_chief or config.workers is not None,
            global_step=graph.global_step,
            init_fn=init_fn,
            saver=loop.saver,
            sync_optimizer=graph.sync_optimizer,
            session_config=_build_session_config(config),
            # The loop saves and writes summaries between steps.
            summary_op=None,
            summary_writer=EventWriter(config.train_dir) if config.is_chief else None,
            save_summaries_secs=0,
            save_interval_secs=0,
        )
    except (tf.errors.UnavailableError, OSError) as error:
        # Without it, checkpoints cannot be saved, either.
        is_lost = isinstance(error.__cause__ or error, tf.errors.UnavailableError)
        if not (config.master and is_lost):
            raise
        raise LostWorkerError(
            "A parameter server does not answer any more, and its variables are lost. "
            "Run the same command on every machine again to resume from the last "
            "checkpoint."
        ) from error
    except tf.errors.OpError as error:
        path = os.path.join(config.train_dir, "graph.pbtxt")
        if path not in error.message:
            raise
        saving.remove_leftovers(config.train_dir)
        reason = error.message.split(";")[-1].strip()
        raise OSError(f"{path!r} cannot be written: {reason}.") from error


def _guard(loop, config):
    """Returns a training loop that decides on what tf_slim would retry silently.

    After an `AbortedError` tf_slim makes a new session, in which a chief restores the
    last checkpoint. That is right only for a chief whose run goes on, and alone.
    """

    def take_step(session, train_op, global_step, kwargs):
        try:
            loss, is_over = loop(session, train_op, global_step, kwargs)
            if is_over and (config.is_chief or config.workers is not None):
                # Here, not by tf_slim, which has no place for errors of its own save.
                path = os.path.join(config.train_dir, "model.ckpt")
                loop.saver.save(session, path, global_step=global_step)
            return loss, is_over
        except tf.errors.AbortedError as error:
            if config.workers is not None:
                with config.workers.communicating():
                    raise
            cause = f"{text.find_cause(error.message):.200}"
            if loop.get_result().stopped_because is not None:
                raise OSError(
                    f"The last checkpoint could not be saved ({cause}): run the same "
                    "command again to resume from the one before it."
                ) from error
            logging.warning(
                "TensorFlow aborted a step or a save (%s): training continues%s.",
                cause,
                " from the last checkpoint" if config.is_chief else "",
            )
            raise

    return take_step


def _build_validator(config, history, build_evaluator, on_new_best):
    """Returns what validates between steps; None if nothing does."""
    if not config.validates:
        return None
    build_evaluator = shared_run.share_evaluations(config, build_evaluator)
    if config.is_chief:
        # It may need rows of checkpoints beyond the one that is resumed.
        return Validator(config, history, build_evaluator, on_new_best)
    return None if config.workers is None else shared_run.Follower(build_evaluator)


def _build_session_config(config):
    session_config = precision_choice.build_session_config(config)
    if config.workers is not None:
        config.workers.configure(session_config)
    return gpu.configure(session_config, config)


def _continue_card(config, card, start, ignore_card):
    """Merges a new run card with the one in `train_dir`, and settles the seed."""
    old = RunCard.load(config.train_dir) if start.checkpoint else None
    seed = config.seed
    if old is not None:
        if seed not in (None, old.seed) and not ignore_card:
            raise ValueError(
                f"--seed={seed} is not the seed {old.seed} of the run in "
                f"{config.train_dir!r}: leave it out, or give another --train_dir."
            )
        seed = old.seed if seed is None else seed
    if seed is None:
        seed = secrets.randbelow(2**31)
    config = dataclasses.replace(config, seed=seed)
    if card is None:
        return config, None
    if config.precision == "auto" and old is not None:
        config = dataclasses.replace(config, precision=old.precision or "float32")
    card = dataclasses.replace(
        card,
        seed=seed,
        precision=config.precision,
        auto_batch=config.auto_batch,
    )
    if old is not None:
        for line in run_card.check_resume(old, card, ignore_card):
            logging.info("Changed since this run began: %s", line)
        card = run_card.continue_card(old, card)
        spec = config.spec.replace(task_state=card.task_state)
        config = dataclasses.replace(config, spec=spec)
    card = run_card.with_session(card, start.step, config.images_per_step)
    card = run_card.with_results(card, stopped_because=None)
    if config.is_chief:
        card.save(config.train_dir)
    return config, card


def _choose_precision(config, card, build_graph):
    """Settles the precision, in the log and on the run card."""
    choice = precision_choice.choose(config, build_graph)
    logging.info("Precision: %s, %s.", choice.precision, choice.reason)
    config = dataclasses.replace(config, precision=choice.precision)
    if card is not None:
        card = dataclasses.replace(card, precision=choice.precision)
        if config.is_chief:
            card.save(config.train_dir)
    return config, card


def _continue_history(history, config, card, start):
    """Warns if measurements are lost, and removes those of steps to come."""
    if history is None:
        return
    if start.checkpoint is not None and card is not None:
        recorded = card.results.get("recorded")
        for line in history.find_losses(recorded if isinstance(recorded, dict) else {}):
            logging.warning("%s", line)
    history.truncate_after(start.step)
    if card is not None:
        last_steps = history.get_last_steps()
        run_card.with_results(card, recorded=last_steps).save(config.train_dir)


def _count_images_seen(config, card, step_number):
    """Returns how many images of the stream were used before a step."""
    if card is None:
        return step_number * config.images_per_step
    return run_card.images_seen(card, step_number)


def _record_results(config, card, validator, history, result):
    """Writes the results so far into the run card."""
    if card is None or not config.is_chief:
        return
    if validator is not None:
        card = dataclasses.replace(card, task_state=dict(validator.task_state))
    loss = result.loss
    if loss is None:  # No step was taken.
        loss = history.find_training_row(result.step).get("total_loss")
    card = run_card.with_session_end(card, result.step, result.secs)
    card = run_card.with_results(
        card,
        step=result.step,
        loss=loss,
        stopped_because=result.stopped_because,
        best=validator.get_best() if validator else None,
        recorded=history.get_last_steps(),
    )
    card.save(config.train_dir)


def _prepare_train_dir(config):
    """Creates the folder and checks that it is writable, before work is done."""
    if not config.train_dir:
        raise ValueError("Training needs a folder for checkpoints: give --train_dir.")
    if set("*?[") & set(config.train_dir):
        raise ValueError(
            f"--train_dir={config.train_dir} has a character that TensorFlow takes for "
            "a pattern (*, ? or [), so it would not find its checkpoints again: rename "
            "the folder."
        )
    probe = os.path.join(config.train_dir, f".probe-{os.getpid()}")
    try:
        files.make_folder(config.train_dir)
        files.append_text(probe, "", is_durable=False)
        files.remove(probe)
    except OSError as error:
        reason = str(error).rpartition(": ")[2]  # Without the name of the probe.
        raise ValueError(
            f"The folder {config.train_dir!r} cannot be written: {reason}"
        ) from error
