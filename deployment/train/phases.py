"""Runs in several parts: the head before the other layers, or small images first.

New layers begin with random weights, whose large gradients would damage the others. So
these are frozen, with their batch normalization, until the head has learned something.
Progressive image sizes make the first steps cheaper; the moving averages of batch
normalization follow to the last size as they follow the weights. All parts have one
folder, history, schedule and count of steps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment.config_flags import SettingError
from deployment.models import checkpoint
from deployment.train import time_budget, training
from deployment.train.config import TrainingConfig
from deployment.train.loop import TrainingResult
from deployment.train.phase import Phase


def train(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
    **kwargs: Any,
) -> TrainingResult:
    """Trains a network in the parts of `split`; resumes in any of them.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: see `training.train`; with progressive sizes it is called with
        `image_height` and `image_width`, too.
      **kwargs: further arguments of `training.train`.

    Raises:
      ValueError: if a part would have no steps; see also `training.train`.
      OSError: see `training.train`.
    """
    parts = split(time_budget.with_clock(config))
    newest = checkpoint.find_newest(config.train_dir) if config.train_dir else None
    if newest is not None:
        # The last part says that there is nothing to do, if the run is complete.
        parts = [p for p in parts[:-1] if not _is_over(p, newest.step)] + parts[-1:]
    for part in parts:
        size = part.phase.image_size
        if len(parts) > 1:
            logging.info("Next: %s.", _describe(part))
        result = training.train(
            part,
            network_fn,
            build_batches
            if size is None
            else functools.partial(build_batches, image_height=size, image_width=size),
            **kwargs,
        )
        if not result.is_complete:
            break
    return result


def split(config: TrainingConfig) -> list[TrainingConfig]:
    """Returns the configurations of the parts of a run, in order.

    Raises:
      ValueError: if a part would have no steps, or several processes train together.
    """
    if config.head_first is not None:
        return _split_layers(config)
    if config.progressive_sizes:
        return _split_sizes(config)
    return [config]


def _is_over(part, step):
    if part.phase.end is not None:
        return step >= part.phase.end
    return part.clock.get_progress() >= part.phase.end_progress


def _describe(part):
    end = "" if part.phase.end is None else f" until step {part.phase.end}"
    if part.phase.image_size is not None:
        return f"images of {part.phase.image_size} pixels{end}"
    return f"{part.trainable_scopes or 'all layers'}{end}"


def _split_layers(config):
    steps = config.head_first.to_steps(config.steps_per_epoch)
    if config.number_of_steps is not None and steps >= config.number_of_steps:
        raise SettingError(
            f"{{{{head_first}}}} takes {steps} steps, but the run ends at step "
            f"{config.number_of_steps}, which leaves none for the other layers: "
            "shorten it or train longer."
        )
    if not config.is_alone:
        raise SettingError(
            "{{head_first}} trains in one process, but several train together "
            "(TF_CONFIG, {{master}}): leave it out."
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
    return [head, rest]


def _split_sizes(config):
    sizes = (*config.progressive_sizes, config.spec.image_size)
    steps, count = config.number_of_steps, len(sizes)
    if config.clock is None and (steps is None or steps < count):
        raise SettingError(
            f"{{{{progressive_sizes}}}} trains {count} equal parts of the run, but it "
            f"has {'no last step' if steps is None else f'{steps} steps'}: set "
            "{{number_of_steps}} or {{time_budget}}."
        )
    ends = [number / count for number in range(1, count)]
    if config.clock is None:
        phases = [Phase(end=round(steps * end)) for end in ends]
    else:
        phases = [Phase(end_progress=end) for end in ends]
    return [
        dataclasses.replace(
            config, progressive_sizes=(), phase=phase._replace(image_size=size)
        )
        for phase, size in zip([*phases, Phase()], sizes, strict=True)
    ]
