"""The learning rate as a function of the global step."""

import dataclasses
import math

from deployment.durations import Duration
from tf_slim_compat import tf

DECAY_TYPES = ("fixed", "exponential", "polynomial", "cosine", "piecewise")
_DEFAULT_END = {"cosine": 0.0}
_DEFAULT_DECAY_FACTOR = {"piecewise": 0.1}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the learning rate changes during training.

    Attributes:
      decay_type: one of `DECAY_TYPES`: 'fixed' stays at `initial`; 'exponential'
        multiplies by `decay_factor` after every `epochs_per_decay`, in steps of
        a staircase; 'polynomial' falls in a straight line to `end` within
        `epochs_per_decay`; 'cosine' falls along half a cosine to `end` at the
        last step of the run, from the end of the warm-up (Loshchilov & Hutter
        2016, arXiv:1608.03983, without restarts); 'piecewise' changes at
        `boundaries`.
      initial: the learning rate at the start, after any warm-up.
      end: where the polynomial and the cosine decay end. None is 0.0001 for
        polynomial and 0 for cosine: a floor of 0.0001 is a tenth of the rates
        that adamw is used with, and above some.
      decay_factor: the factor of the exponential and the piecewise decay. None is
        0.94 for exponential and 0.1 for piecewise.
      epochs_per_decay: see `decay_type`.
      warmup_epochs: over how many epochs the rate rises from 0 in a straight
        line (Goyal et al. 2017, arXiv:1706.02677, section 2.2). The decay counts
        from step 0 all the same, except for cosine; the lower of the two holds.
      warmup_steps: the same in steps.
      steps_per_decay: takes the place of `epochs_per_decay` where it is set.
      boundaries: when the piecewise decay changes the rate: a tuple of
        `durations.Duration` from step 0, in steps or epochs, rising.
      values: the rates of the piecewise decay, one more than `boundaries`, in
        place of `initial` and `decay_factor`; empty for none.
    """

    decay_type: str = "exponential"
    initial: float = 0.01
    end: float | None = None
    decay_factor: float | None = None
    epochs_per_decay: float = 2.0
    warmup_epochs: float = 0.0
    warmup_steps: int = 0
    steps_per_decay: int | None = None
    boundaries: tuple[Duration, ...] = ()
    values: tuple[float, ...] = ()

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
        if self.steps_per_decay is not None and self.steps_per_decay < 1:
            raise ValueError(
                f"num_steps_per_decay must be 1 or more, but is {self.steps_per_decay}."
            )
        self._check_rates()
        self._check_warmup()
        if self.decay_type == "piecewise":
            self._check_boundaries()
        elif self.boundaries or self.values:
            raise ValueError(
                "learning_rate_boundaries and learning_rate_values are for "
                "learning_rate_decay_type=piecewise, but it is "
                f"{self.decay_type!r}."
            )

    @property
    def end_rate(self):
        """`end`, or the decay type's own if that is None."""
        return _DEFAULT_END.get(self.decay_type, 1e-4) if self.end is None else self.end

    @property
    def factor(self):
        """`decay_factor`, or the decay type's own if that is None."""
        if self.decay_factor is None:
            return _DEFAULT_DECAY_FACTOR.get(self.decay_type, 0.94)
        return self.decay_factor

    def _check_rates(self):
        if self.initial < 0 or self.end_rate < 0:
            raise ValueError(
                "Learning rates must not be negative, but learning_rate is "
                f"{self.initial} and end_learning_rate is {self.end_rate}."
            )
        if any(value < 0 for value in self.values):
            raise ValueError(
                "Learning rates must not be negative, but learning_rate_values are "
                f"{', '.join(map(str, self.values))}."
            )
        if self.decay_type == "cosine" and self.end_rate > self.initial:
            raise ValueError(
                f"The cosine decay falls from learning_rate, {self.initial}, to "
                f"end_learning_rate, which must not be higher but is {self.end_rate}."
            )

    def _check_warmup(self):
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError(
                "The warm-up is given in steps or in epochs, but warmup_steps is "
                f"{self.warmup_steps} and warmup_epochs is {self.warmup_epochs}: set "
                "one of the two."
            )
        if self.warmup_steps < 0 or self.warmup_epochs < 0:
            raise ValueError(
                "The warm-up must not be negative, but warmup_steps is "
                f"{self.warmup_steps} and warmup_epochs is {self.warmup_epochs}."
            )

    def _check_boundaries(self):
        if not self.boundaries:
            raise ValueError(
                "The piecewise decay changes the rate at boundaries, but there are "
                "none: set learning_rate_boundaries, for example to "
                "30epochs,60epochs."
            )
        if any(boundary.is_time for boundary in self.boundaries):
            raise ValueError(
                "learning_rate_boundaries must be in steps or epochs, but are "
                f"{', '.join(map(str, self.boundaries))}."
            )
        if self.values and len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                "learning_rate_values must be one more than learning_rate_boundaries, "
                f"but there are {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries."
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
    schedule,
    global_step,
    num_samples,
    batch_size,
    replicas_to_aggregate=1,
    number_of_steps=None,
):
    """Adds the learning rate to the graph.

    Args:
      schedule: a `Schedule`.
      global_step: the global step, an int64 scalar variable or tensor.
      num_samples: images in one epoch.
      batch_size: images in one clone's batch.
      replicas_to_aggregate: workers whose gradients make one step.
      number_of_steps: the step at which the run ends, which the cosine decay
        needs; None for no end.

    Returns:
      A float32 scalar tensor.

    Raises:
      ValueError: if the decay is cosine and there is no end, or the warm-up
        reaches it; or if the boundaries of a piecewise decay do not rise.
    """

    def to_steps(epochs):
        return epochs_to_steps(epochs, num_samples, batch_size, replicas_to_aggregate)

    step = tf.cast(global_step, tf.float32)
    warmup_steps = schedule.warmup_steps or to_steps(schedule.warmup_epochs)
    decay_steps = schedule.steps_per_decay or to_steps(schedule.epochs_per_decay)
    peak = schedule.initial
    if schedule.decay_type == "fixed":
        rate = tf.constant(schedule.initial, name="fixed_learning_rate")
    elif schedule.decay_type in ("exponential", "polynomial"):
        rate = _build_decay(schedule, global_step, decay_steps)
    elif schedule.decay_type == "cosine":
        rate = _build_cosine(schedule, step, warmup_steps, number_of_steps)
    else:
        steps_per_epoch = num_samples / batch_size / replicas_to_aggregate
        values = _piecewise_values(schedule)
        peak = values[0]
        rate = _build_piecewise(schedule, values, global_step, steps_per_epoch)
    if warmup_steps:
        rate = tf.minimum(peak * step / warmup_steps, rate)
    return rate


def _build_decay(schedule, global_step, decay_steps):
    if schedule.decay_type == "exponential":
        return tf.train.exponential_decay(
            schedule.initial,
            global_step,
            decay_steps,
            schedule.factor,
            staircase=True,
            name="exponential_decay_learning_rate",
        )
    return tf.train.polynomial_decay(
        schedule.initial,
        global_step,
        decay_steps,
        schedule.end_rate,
        power=1.0,
        name="polynomial_decay_learning_rate",
    )


def _build_cosine(schedule, step, warmup_steps, number_of_steps):
    if number_of_steps is None:
        raise ValueError(
            "The cosine decay ends with the run, but the run has no last step: set "
            "max_number_of_steps, or another learning_rate_decay_type."
        )
    if warmup_steps >= number_of_steps:
        raise ValueError(
            f"The warm-up takes {warmup_steps} steps, but the run ends at step "
            f"{number_of_steps}, so nothing is left for the cosine decay: warm up "
            "less, or train for longer."
        )
    with tf.name_scope("cosine_decay_learning_rate"):
        progress = (step - warmup_steps) / (number_of_steps - warmup_steps)
        share = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        return schedule.end_rate + (schedule.initial - schedule.end_rate) * share


def _piecewise_values(schedule):
    if schedule.values:
        return schedule.values
    return [
        schedule.initial * schedule.factor**count
        for count in range(len(schedule.boundaries) + 1)
    ]


def _build_piecewise(schedule, values, global_step, steps_per_epoch):
    steps = [boundary.to_steps(steps_per_epoch) for boundary in schedule.boundaries]
    if any(later <= sooner for sooner, later in zip([0, *steps], steps, strict=False)):
        raise ValueError(
            "learning_rate_boundaries must rise from above 0, but are "
            f"{', '.join(map(str, schedule.boundaries))}, which is at steps "
            f"{', '.join(map(str, steps))}."
        )
    with tf.name_scope("piecewise_learning_rate"):
        passed = tf.cast(tf.cast(global_step, tf.int64) >= steps, tf.int32)
        return tf.gather(tf.constant(values, tf.float32), tf.reduce_sum(passed))
