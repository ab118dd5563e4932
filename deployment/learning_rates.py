"""The learning rate as a function of the global step.

Epochs become steps here and nowhere else.
"""

import dataclasses

from tf_slim_compat import tf

DECAY_TYPES = ("fixed", "exponential", "polynomial")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the learning rate changes during training.

    Attributes:
      decay_type: one of `DECAY_TYPES`: 'fixed' stays at `initial`; 'exponential'
        multiplies by `decay_factor` after every `epochs_per_decay`, in steps of
        a staircase; 'polynomial' falls in a straight line to `end` within
        `epochs_per_decay`.
      initial: the learning rate at the start, after any warm-up.
      end: where the polynomial decay ends.
      decay_factor: the factor of the exponential decay.
      epochs_per_decay: see `decay_type`.
      warmup_epochs: over how many epochs the rate rises from 0 in a straight
        line (Goyal et al. 2017, arXiv:1706.02677, section 2.2).
    """

    decay_type: str = "exponential"
    initial: float = 0.01
    end: float = 0.0001
    decay_factor: float = 0.94
    epochs_per_decay: float = 2.0
    warmup_epochs: float = 0.0

    def __post_init__(self):
        if self.decay_type not in DECAY_TYPES:
            raise ValueError(
                f"learning_rate_decay_type must be one of {', '.join(DECAY_TYPES)}, "
                f"but is {self.decay_type!r}."
            )
        if self.epochs_per_decay <= 0:
            raise ValueError(
                "num_epochs_per_decay must be positive, but is "
                f"{self.epochs_per_decay}; to keep the rate constant use "
                "learning_rate_decay_type=fixed."
            )
        if self.initial < 0 or self.end < 0:
            raise ValueError(
                "Learning rates must not be negative, but learning_rate is "
                f"{self.initial} and end_learning_rate is {self.end}."
            )


def epochs_to_steps(epochs, num_samples, batch_size, replicas_to_aggregate=1):
    """How many global steps `epochs` passes over `num_samples` images take.

    One clone's batch counts; replicas that are aggregated into one step
    (synchronous training) share an epoch. At least 1 for any positive number of
    epochs.
    """
    if epochs <= 0:
        return 0
    return max(1, int(num_samples * epochs / batch_size / replicas_to_aggregate))


def build_learning_rate(
    schedule, global_step, num_samples, batch_size, replicas_to_aggregate=1
):
    """Adds the learning rate to the graph.

    Args:
      schedule: a `Schedule`.
      global_step: the global step, an int64 scalar variable or tensor.
      num_samples: images in one epoch.
      batch_size: images in one clone's batch.
      replicas_to_aggregate: workers whose gradients make one step.

    Returns:
      A float32 scalar tensor.
    """

    def to_steps(epochs):
        return epochs_to_steps(epochs, num_samples, batch_size, replicas_to_aggregate)

    step = tf.cast(global_step, tf.float32)
    decay_steps = to_steps(schedule.epochs_per_decay)
    if schedule.decay_type == "fixed":
        rate = tf.constant(schedule.initial, name="fixed_learning_rate")
    elif schedule.decay_type == "exponential":
        rate = tf.train.exponential_decay(
            schedule.initial,
            global_step,
            decay_steps,
            schedule.decay_factor,
            staircase=True,
            name="exponential_decay_learning_rate",
        )
    else:
        rate = tf.train.polynomial_decay(
            schedule.initial,
            global_step,
            decay_steps,
            schedule.end,
            power=1.0,
            name="polynomial_decay_learning_rate",
        )
    warmup_steps = to_steps(schedule.warmup_epochs)
    if warmup_steps:
        rate = tf.minimum(schedule.initial * step / warmup_steps, rate)
    return rate
