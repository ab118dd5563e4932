"""Warnings about settings that are possible, but hardly what the user meant."""

import math
from collections.abc import Iterator

from absl import logging

from deployment.optimize import learning_rates
from deployment.train.config import TrainingConfig

# A rate that falls to this fraction of its peak ...
_LOW_RATE = 0.01
# ... within this fraction of the run leaves the rest of it without effect.
_EARLY = 0.5


def log_warnings(config: TrainingConfig) -> None:
    """Logs a warning for each setting that is hardly meant, on the chief worker."""
    if not config.is_chief:
        return
    for line in list_warnings(config):
        logging.warning("%s", line)


def list_warnings(config: TrainingConfig) -> Iterator[str]:
    """Yields a sentence for each setting that is hardly meant."""
    if config.images_per_step > config.num_samples:
        yield _explain_batch(config)
    elif config.number_of_steps is not None:
        yield from _check_decay(config)
        yield from _check_warmup(config)


def find_step_of_rate(
    schedule: learning_rates.Schedule,
    fraction: float,
    num_samples: int,
    batch_size: int,
    replicas_to_aggregate: int = 1,
) -> int | None:
    """Returns the step from which the rate stays at or below a fraction of its peak.

    Args:
      schedule: a `Schedule`.
      fraction: of the rate before any decay, from 0 to 1.
      num_samples: see `learning_rates.epochs_to_steps`, as the other arguments.
      batch_size: images in one clone's batch.
      replicas_to_aggregate: workers whose gradients make up one step.

    Returns:
      The global step; None if the rate never falls so low, or only with the end of the
      run, as in cosine decay.
    """
    scale = (num_samples, batch_size, replicas_to_aggregate)
    decay_steps = learning_rates.count_decay_steps(schedule, *scale)
    if schedule.decay_type == "exponential":
        if schedule.factor >= 1:
            return None
        decays = math.log(fraction) / math.log(max(schedule.factor, 1e-30))
        return math.ceil(decays - 1e-9) * decay_steps
    if schedule.decay_type == "polynomial":
        drop = schedule.initial - schedule.end_rate
        needed = schedule.initial * (1 - fraction)
        # The default end rate is 1 % of the default initial rate.
        if drop <= 0 or drop < needed * (1 - 1e-6):
            return None
        return math.ceil(decay_steps * min(1.0, needed / drop))
    if schedule.decay_type == "piecewise":
        values = learning_rates.list_piecewise_rates(schedule)
        low = fraction * values[0] * (1 + 1e-6)
        steps_per_epoch = num_samples / batch_size / replicas_to_aggregate
        for boundary, later in zip(
            schedule.boundaries, range(1, len(values)), strict=True
        ):
            if max(values[later:]) <= low:
                return boundary.to_steps(steps_per_epoch)
    return None


def _explain_batch(config: TrainingConfig) -> str:
    repetitions = config.images_per_step / config.num_samples
    largest = max(1, int(config.batch_size / repetitions))
    return (
        f"A step takes {config.images_per_step:,} images, but there are only "
        f"{config.num_samples:,} to train on: each is in every step {repetitions:.1f} "
        f"times. Set --batch_size to {largest} or less."
    )


def _check_decay(config: TrainingConfig) -> Iterator[str]:
    schedule, last = config.schedule, config.number_of_steps
    step = find_step_of_rate(schedule, _LOW_RATE, **config.schedule_scale)
    if step is None or step > _EARLY * last:
        return
    if schedule.decay_type == "piecewise":
        remedy = "--learning_rate_boundaries to later ones"
    elif schedule.steps_per_decay:
        longer = schedule.steps_per_decay * last / step
        remedy = f"--num_steps_per_decay to {longer:.0f}"
    else:
        longer = schedule.epochs_per_decay * last / step
        remedy = f"--num_epochs_per_decay to {longer:.3g}"
    yield (
        f"The learning rate falls to {100 * _LOW_RATE:.0f} % of its initial value at "
        f"step {step:,} of {last:,} (epoch {config.steps_to_epochs(step):.0f} of "
        f"{config.steps_to_epochs(last):.0f}); the other "
        f"{100 * (1 - step / last):.0f} % of the run will hardly change the network. "
        "Set --learning_rate_decay_type=cosine, which ends with the run, or "
        f"{remedy}."
    )


def _check_warmup(config: TrainingConfig) -> Iterator[str]:
    steps = learning_rates.count_warmup_steps(
        config.schedule, **config.schedule_scale, number_of_steps=config.number_of_steps
    )
    if steps > config.number_of_steps:
        yield (
            f"The warm-up of the learning rate takes {steps:,} steps, but the run ends "
            f"at step {config.number_of_steps:,}: it never reaches --learning_rate. "
            "Set --warmup_epochs or --warmup_steps to less."
        )
