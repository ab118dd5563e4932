"""Fine-tuning in two phases of one run: first the head, then all layers.

New layers begin with random weights, whose large gradients would damage the others. So
these are frozen, with their batch normalization, until the head has learned something.
Both phases have one folder, history, schedule and count of steps; only the state of the
optimizer for the other layers begins with the second.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment.config_flags import SettingError
from deployment.models import checkpoint
from deployment.train import training
from deployment.train.config import Phase, TrainingConfig
from deployment.train.loop import TrainingResult


def train(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
    **kwargs: Any,
) -> TrainingResult:
    """Trains a network, with `config.head_first` in two phases; resumes in either.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: see `training.train`.
      **kwargs: further arguments of `training.train`.

    Raises:
      ValueError: if there are no steps for the second phase; see also `training.train`.
      OSError: see `training.train`.
    """
    if config.head_first is None:
        return training.train(config, network_fn, build_batches, **kwargs)
    head, rest = split(config)
    newest = checkpoint.find_newest(config.train_dir) if config.train_dir else None
    if newest is None or newest.step < head.phase.end:
        logging.info(
            "Training %s until step %d, then all layers.",
            head.trainable_scopes, head.phase.end,
        )  # fmt: skip
        result = training.train(head, network_fn, build_batches, **kwargs)
        if not result.is_complete:
            return result
        logging.info("Training all layers from step %d on.", rest.phase.begin)
    return training.train(rest, network_fn, build_batches, **kwargs)


def split(config: TrainingConfig) -> tuple[TrainingConfig, TrainingConfig]:
    """Returns the configurations of the two phases.

    Raises:
      ValueError: if the first takes all steps, or several processes train together.
    """
    steps = config.head_first.to_steps(config.steps_per_epoch)
    if config.number_of_steps is not None and steps >= config.number_of_steps:
        raise SettingError(
            f"{{{{head_first}}}} takes {steps} steps, but the run ends at step "
            f"{config.number_of_steps}, which leaves none for the other layers: "
            "shorten it or train longer."
        )
    if config.master or config.sync_replicas:
        raise SettingError(
            "{{head_first}} trains in one process, but several train together "
            "({{master}}, {{sync_replicas}}): leave it out."
        )
    head = dataclasses.replace(
        config,
        trainable_scopes=config.checkpoint_exclude_scopes,
        head_first=None,
        phase=Phase(end=steps),
    )
    rest = dataclasses.replace(
        config,
        checkpoint_path=None,  # It begins with the checkpoint of the head's last step.
        head_first=None,
        phase=Phase(begin=steps),
    )
    return head, rest
