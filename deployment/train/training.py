"""Training: from a network and batches to checkpoints in a folder.

    config = TrainingConfig(train_dir="run", num_classes=6, num_samples=4000)
    train(config, network_fn, build_batches)

`slim.learning.train` drives the steps. What happens beside a step (saving,
summaries, progress) happens between two steps, in `training_loop.TrainingLoop`.
"""

import contextlib
import dataclasses
import functools
import os
import secrets
import types

from absl import logging

from deployment import model_deploy
from deployment.models import run_card
from deployment.models.history import History
from deployment.train import training_graph, warm_start
from deployment.train.training_config import TrainingConfig
from deployment.train.training_loop import TrainingLoop, stop_on_signals
from deployment.train.validation import Validator
from tf_slim_compat import slim, tf

__all__ = ["TrainingConfig", "train"]

_STOP_GRACE_SECS = 3


def train(
    config,
    network_fn,
    build_batches,
    *,
    card=None,
    ignore_card=False,
    build_evaluator=None,
    on_new_best=None,
):
    """Trains a network, resuming from `config.train_dir` if it has a checkpoint.

    Args:
      config: a `TrainingConfig`.
      network_fn: adds the network to the graph: float32 images of shape
        [batch, height, width, channels] to `(logits, end_points)`, with logits
        of shape [batch, num_classes]; for training.
      build_batches: called as `build_batches(seed=..., start_image=...)`; adds the
        input to the graph and returns an endless `tf.data.Dataset` of
        `(images, labels)`, labels int64 of shape [batch], that begins with the
        image of that number in the stream that the seed stands for.
      card: the `run_card.RunCard` that describes the run; None writes none.
      ignore_card: whether to go on although the card in `train_dir` contradicts.
      build_evaluator: see `validation.Validator`; needed with `config.validation`.
      on_new_best: see `validation.Validator`.

    Returns:
      A `training_loop.TrainingResult`.

    Raises:
      ValueError: if the configuration contradicts itself, a checkpoint does not
        fit, or a loss or gradient stops being finite.
      OSError: if a checkpoint cannot be saved.
    """
    _prepare_train_dir(config)
    start = warm_start.find_start(config)
    config, card = _continue_card(config, card, start, ignore_card)
    if config.deterministic:
        tf.compat.v2.config.experimental.enable_op_determinism()
    batches_fn = functools.partial(
        build_batches,
        seed=config.seed + config.deployment.replica_id,  # Each worker its own order.
        start_image=_count_images_seen(config, card, start.step),
    )
    with tf.Graph().as_default():
        tf.set_random_seed(config.seed % 2**31)
        graph = training_graph.build_training_graph(config, network_fn, batches_fn)
        init_fn = start.build_init_fn(config, graph)
        history, validator = None, None
        if config.is_chief:
            history = History(config.train_dir)
            history.truncate_after(start.step)
            if config.validation is not None:
                validator = Validator(config, history, build_evaluator, on_new_best)
        record_fn = functools.partial(_record_results, config, card, validator)
        loop = TrainingLoop(config, graph, history, validator, record_fn)
        with stop_on_signals(loop):
            _run(config, graph, loop, init_fn)
        result = loop.close()
    if validator is not None:
        validator.close()
    record_fn(result)
    return result


class _Supervisor(tf.train.Supervisor):
    """Waits seconds for threads that do not end, not two minutes.

    None has anything to finish: what a Supervisor's threads do happens between steps
    here.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, stop_grace_secs=_STOP_GRACE_SECS, **kwargs)


@contextlib.contextmanager
def _supervising():
    """Within, `slim.learning.train`, which cannot be told, takes our Supervisor."""
    original = slim.learning.supervisor
    slim.learning.supervisor = types.SimpleNamespace(Supervisor=_Supervisor)
    try:
        yield
    finally:
        slim.learning.supervisor = original


@_supervising()
def _run(config, graph, loop, init_fn):
    slim.learning.train(
        graph.train_op,
        config.train_dir,
        train_step_fn=loop,
        train_step_kwargs={},
        master=config.master,
        is_chief=config.is_chief,
        global_step=graph.global_step,
        init_fn=init_fn,
        saver=loop.saver,
        sync_optimizer=graph.sync_optimizer,
        # The thread that hands out tokens to replicas waits for gradients
        # that no longer come.
        ignore_live_threads=graph.sync_optimizer is not None,
        session_config=model_deploy.build_session_config(config.deployment),
        # The loop saves and summarises between steps, where a
        # checkpoint cannot mix two of them.
        summary_op=None,
        save_summaries_secs=0,
        save_interval_secs=0,
    )


def _continue_card(config, card, start, ignore_card):
    """Joins a new run card to the one in `train_dir`, and settles the seed."""
    old = run_card.RunCard.load(config.train_dir) if start.checkpoint else None
    seed = config.seed
    if old is not None:
        if seed not in (None, old.seed) and not ignore_card:
            raise ValueError(
                f"--seed={seed} is not the seed {old.seed} that the run in "
                f"{config.train_dir!r} began with: leave it out, or give another "
                "--train_dir."
            )
        seed = old.seed if seed is None else seed
    if seed is None:
        seed = secrets.randbelow(2**31)
    config = dataclasses.replace(config, seed=seed)
    if card is None:
        return config, None
    card = dataclasses.replace(card, seed=seed)
    if old is not None:
        for line in run_card.check_resume(old, card, ignore_card):
            logging.info("Changed since this run began: %s", line)
        card = run_card.continue_card(old, card)
    card = run_card.with_session(card, start.step, config.images_per_step)
    if config.is_chief:
        card.save(config.train_dir)
    return config, card


def _count_images_seen(config, card, step):
    """How many images of the stream were taken before `step`."""
    if card is None:
        return step * config.images_per_step
    return run_card.images_seen(card, step)


def _record_results(config, card, validator, result):
    """Writes into the run card what came of the run so far."""
    if card is None or not config.is_chief:
        return
    card = run_card.with_session_end(card, result.step, result.secs)
    card = run_card.with_results(
        card,
        step=result.step,
        loss=result.loss,
        stopped_because=result.stopped_because,
        best=validator.get_best() if validator else None,
    )
    card.save(config.train_dir)


def _prepare_train_dir(config):
    """Makes the folder and sees that it can be written, before work is done."""
    if not config.train_dir:
        raise ValueError("Training needs a folder for checkpoints: give --train_dir.")
    probe = os.path.join(config.train_dir, f".probe-{os.getpid()}")
    try:
        tf.gfile.MakeDirs(config.train_dir)
        with tf.gfile.Open(probe, "w") as file:
            file.write("")
        tf.gfile.Remove(probe)
    except tf.errors.OpError as error:
        raise ValueError(
            f"The folder {config.train_dir!r} cannot be written: "
            f"{error.message.split(';')[-1].strip()}."
        ) from error
