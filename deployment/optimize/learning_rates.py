"""Learning-rate schedules."""

import dataclasses
import math
from collections.abc import Sequence

from deployment import ranges
from deployment.config_flags import SettingError, setting
from deployment.durations import Duration, parse_durations
from tf_slim_compat import tf

DECAY_TYPES = ("fixed", "exponential", "polynomial", "cosine", "piecewise")
_DEFAULT_END = {"cosine": 0.0}
_DEFAULT_DECAY_FACTOR = {"piecewise": 0.1}
# A run that ends at a time is as long as so many steps, for its schedule.
_TICKS = 10_000


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step.

    Decay types: 'fixed' stays at `initial`; 'exponential' multiplies by `decay_factor`
    every `epochs_per_decay` (a staircase); 'polynomial' decreases linearly to `end`
    within `epochs_per_decay`; 'cosine' follows half a cosine from the end of the
    warm-up to `end` at the last step (Loshchilov & Hutter 2016, arXiv:1608.03983,
    without restarts); 'piecewise' changes at `boundaries`.

    Attributes:
      end: if None, 0.0001 for polynomial and 0 for cosine.
      decay_factor: if None, 0.94 for exponential and 0.1 for piecewise.
      warmup_epochs: the rate rises linearly from 0 (Goyal et al. 2017,
        arXiv:1706.02677, section 2.2). Except for cosine, the decay still counts from
        step 0, and the lower of the two rates is used.
      values: one more than `boundaries`; if empty, `initial` times powers of
        `decay_factor`.

    Raises:
      ValueError: if a value is out of range, or values contradict each other.
    """

    decay_type: str = setting(
        "exponential",
        f"How the learning rate decays: {', '.join(DECAY_TYPES)}.",
        flag="learning_rate_decay_type",
    )
    initial: float = setting(
        0.01, "Initial learning rate, after any warm-up.", flag="learning_rate"
    )
    end: float | None = setting(
        None,
        "Learning rate at the end of polynomial and cosine decay. If unset: 0.0001 for "
        "polynomial, 0 for cosine.",
        flag="end_learning_rate",
    )
    decay_factor: float | None = setting(
        None,
        "Factor of each exponential or piecewise decay. If unset: 0.94 for "
        "exponential, 0.1 for piecewise.",
        flag="learning_rate_decay_factor",
    )
    epochs_per_decay: float = setting(
        2.0,
        "Epochs between exponential decays, or until the end of polynomial decay. Each "
        "clone counts its own epochs; synchronous replicas share theirs.",
        flag="num_epochs_per_decay",
    )
    warmup_epochs: float = setting(
        0.0, "Epochs during which the learning rate rises linearly from 0."
    )
    warmup_steps: int = setting(
        0,
        "Steps during which the learning rate rises linearly from 0 (instead of "
        "--warmup_epochs).",
    )
    warmup_fraction: float = setting(
        0.0, "Fraction of the run during which it does (instead of --warmup_epochs)."
    )
    steps_per_decay: int | None = setting(
        None,
        "Steps between decays of the learning rate (instead of "
        "--num_epochs_per_decay).",
        flag="num_steps_per_decay",
    )
    boundaries: tuple[Duration, ...] = setting(
        (),
        "Comma-separated times at which piecewise decay changes the learning rate, "
        "such as 30epochs,60epochs or 5000,8000 (steps).",
        flag="learning_rate_boundaries",
        kind=str,
        parse=lambda text: parse_durations(text, "--learning_rate_boundaries"),
    )
    values: tuple[float, ...] = setting(
        (),
        "Comma-separated learning rates of piecewise decay, one more than boundaries. "
        "If unset: --learning_rate, times --learning_rate_decay_factor at each "
        "boundary.",
        flag="learning_rate_values",
        kind=list,
        parse=lambda values: tuple(map(float, values)),
    )

    def __post_init__(self) -> None:
        if self.decay_type not in DECAY_TYPES:
            raise SettingError(
                f"{{{{decay_type}}}} must be one of {', '.join(DECAY_TYPES)}, "
                f"but is {self.decay_type!r}."
            )
        ranges.check(self, decay_factor=ranges.AT_LEAST_ZERO)
        if self.epochs_per_decay <= 0:
            raise SettingError(
                "{{epochs_per_decay}} must be positive, but is "
                f"{self.epochs_per_decay}; for a constant rate use "
                "{{decay_type}}=fixed."
            )
        if self.steps_per_decay is not None and self.steps_per_decay < 1:
            raise SettingError(
                "{{steps_per_decay}} must be 1 or more, but is "
                f"{self.steps_per_decay}."
            )
        self._check_rates()
        self._check_warmup()
        if self.decay_type == "piecewise":
            self._check_boundaries()
        elif self.boundaries or self.values:
            raise SettingError(
                "{{boundaries}} and {{values}} need {{decay_type}}=piecewise, but it "
                f"is {self.decay_type!r}."
            )

    @property
    def end_rate(self) -> float:
        """`end`, or the default of the decay type if it is None."""
        return _DEFAULT_END.get(self.decay_type, 1e-4) if self.end is None else self.end

    @property
    def factor(self) -> float:
        """`decay_factor`, or the default of the decay type if it is None."""
        if self.decay_factor is None:
            return _DEFAULT_DECAY_FACTOR.get(self.decay_type, 0.94)
        return self.decay_factor

    def scaled(self, factor: float) -> "Schedule":
        """Returns the schedule with all learning rates multiplied by a factor."""
        return dataclasses.replace(
            self,
            initial=self.initial * factor,
            end=self.end_rate * factor,
            values=tuple(value * factor for value in self.values),
        )

    def _check_rates(self) -> None:
        if self.initial < 0 or self.end_rate < 0:
            raise SettingError(
                "Learning rates must not be negative, but {{initial}} is "
                f"{self.initial} and {{{{end}}}} is {self.end_rate}."
            )
        if not all(0 <= value < math.inf for value in self.values):
            raise SettingError(
                "Learning rates must be 0 or more, and finite, but {{values}} are "
                f"{', '.join(map(str, self.values))}."
            )
        if self.decay_type == "cosine" and self.end_rate > self.initial:
            raise SettingError(
                "The cosine decay needs {{end}} to be at most {{initial}}, "
                f"{self.initial}, but it is {self.end_rate}."
            )

    def _check_warmup(self) -> None:
        names = ("warmup_steps", "warmup_epochs", "warmup_fraction")
        given = {name: getattr(self, name) for name in names if getattr(self, name)}
        listed = " and ".join(f"{{{{{name}}}}}={given[name]}" for name in given)
        if len(given) > 1:
            raise SettingError(f"{listed} contradict each other: give one of them.")
        if not all(value >= 0 for value in given.values()) or self.warmup_fraction >= 1:
            raise SettingError(
                "The warm-up must be 0 or more, and as a fraction of the run below 1, "
                f"but is {listed}."
            )

    def _check_boundaries(self) -> None:
        if not self.boundaries:
            raise SettingError(
                "The piecewise decay needs boundaries, but there are none: set "
                "{{boundaries}}, for example to 30epochs,60epochs."
            )
        if any(boundary.is_time for boundary in self.boundaries):
            raise SettingError(
                "{{boundaries}} must be in steps or epochs, but are "
                f"{', '.join(map(str, self.boundaries))}."
            )
        if self.values and len(self.values) != len(self.boundaries) + 1:
            raise SettingError(
                "{{values}} must have one value more than {{boundaries}}, but there "
                f"are {len(self.values)} values and {len(self.boundaries)} boundaries."
            )


def epochs_to_steps(
    epochs: float, num_samples: int, batch_size: int, replicas_to_aggregate: int = 1
) -> int:
    """Converts epochs into global steps; at least 1 for any positive number.

    Args:
      epochs: passes over the images; 0 or less gives 0.
      num_samples: images per epoch.
      batch_size: images in one clone's batch.
      replicas_to_aggregate: workers whose gradients make up one step (synchronous
        training); they share an epoch.
    """
    if epochs <= 0:
        return 0
    return max(1, int(num_samples * epochs / batch_size / replicas_to_aggregate))


def count_warmup_steps(
    schedule: Schedule,
    num_samples: int,
    batch_size: int,
    replicas_to_aggregate: int = 1,
    number_of_steps: int | None = None,
) -> int:
    """Returns the duration of the warm-up in global steps; see `epochs_to_steps`.

    Raises:
      ValueError: if it is a fraction of a run without an end.
    """
    if schedule.warmup_fraction:
        if number_of_steps is None:
            raise SettingError(_explain_endless("{{warmup_fraction}} is of the run"))
        return int(schedule.warmup_fraction * number_of_steps)
    return schedule.warmup_steps or epochs_to_steps(
        schedule.warmup_epochs, num_samples, batch_size, replicas_to_aggregate
    )


def _explain_endless(what: str) -> str:
    return (
        f"{what}, but the run has no last step: set {{{{number_of_steps}}}} or "
        "{{time_budget}}."
    )


def count_decay_steps(
    schedule: Schedule, num_samples: int, batch_size: int, replicas_to_aggregate: int
) -> int:
    """Returns the global steps between decays, or until the end of the decay."""
    return schedule.steps_per_decay or epochs_to_steps(
        schedule.epochs_per_decay, num_samples, batch_size, replicas_to_aggregate
    )


def build_learning_rate(
    schedule: Schedule,
    global_step: tf.Tensor | tf.Variable,
    num_samples: int,
    batch_size: int,
    replicas_to_aggregate: int = 1,
    number_of_steps: int | None = None,
    progress: tf.Tensor | None = None,
) -> tf.Tensor:
    """Adds the learning rate to the graph.

    Args:
      schedule: a `Schedule`.
      global_step: int64 scalar.
      num_samples: images per epoch.
      batch_size: images in one clone's batch.
      replicas_to_aggregate: workers whose gradients make up one step.
      number_of_steps: last step of the run, which the cosine decay needs; None for no
        end.
      progress: float32 scalar, the fraction of the run so far, for cosine decay and
        warm-up of a run that ends at a time; None for one that ends at a step.

    Returns:
      float32 scalar.

    Raises:
      ValueError: if a cosine decay has no last step or a warm-up that reaches it, or
        if the boundaries of a piecewise decay do not increase.
    """
    scale = (num_samples, batch_size, replicas_to_aggregate)
    step = tf.cast(global_step, tf.float32)
    if progress is not None:
        step, number_of_steps = progress * _TICKS, _TICKS
    warmup_steps = count_warmup_steps(schedule, *scale, number_of_steps)
    decay_steps = count_decay_steps(schedule, *scale)
    peak = schedule.initial
    if schedule.decay_type == "fixed":
        rate = tf.constant(schedule.initial, name="fixed_learning_rate")
    elif schedule.decay_type in ("exponential", "polynomial"):
        rate = _build_decay(schedule, global_step, decay_steps)
    elif schedule.decay_type == "cosine":
        rate = _build_cosine(schedule, step, warmup_steps, number_of_steps)
    else:
        steps_per_epoch = num_samples / batch_size / replicas_to_aggregate
        values = list_piecewise_rates(schedule)
        peak = values[0]
        rate = _build_piecewise(schedule, values, global_step, steps_per_epoch)
    if warmup_steps:
        rate = tf.minimum(peak * step / warmup_steps, rate)
    return rate


def _build_decay(
    schedule: Schedule, global_step: tf.Tensor | tf.Variable, decay_steps: int
) -> tf.Tensor:
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


def _build_cosine(
    schedule: Schedule,
    step: tf.Tensor,
    warmup_steps: int,
    number_of_steps: int | None,
) -> tf.Tensor:
    if number_of_steps is None:
        raise SettingError(_explain_endless("The cosine decay ends with the run"))
    if warmup_steps >= number_of_steps:
        raise SettingError(
            f"The warm-up takes {warmup_steps} steps, but the run ends at step "
            f"{number_of_steps}, which leaves none for the cosine decay: shorten the "
            "warm-up or train longer."
        )
    with tf.name_scope("cosine_decay_learning_rate"):
        progress = (step - warmup_steps) / (number_of_steps - warmup_steps)
        fraction = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        return schedule.end_rate + (schedule.initial - schedule.end_rate) * fraction


def list_piecewise_rates(schedule: Schedule) -> Sequence[float]:
    """Returns the learning rates of piecewise decay, in order."""
    if schedule.values:
        return schedule.values
    return [
        schedule.initial * schedule.factor**count
        for count in range(len(schedule.boundaries) + 1)
    ]


def _build_piecewise(
    schedule: Schedule,
    values: Sequence[float],
    global_step: tf.Tensor | tf.Variable,
    steps_per_epoch: float,
) -> tf.Tensor:
    steps = [boundary.to_steps(steps_per_epoch) for boundary in schedule.boundaries]
    if any(
        later <= earlier for earlier, later in zip([0, *steps], steps, strict=False)
    ):
        raise SettingError(
            "{{boundaries}} must be above 0 and increase, but are "
            f"{', '.join(map(str, schedule.boundaries))}, which are steps "
            f"{', '.join(map(str, steps))}."
        )
    with tf.name_scope("piecewise_learning_rate"):
        passed = tf.cast(tf.cast(global_step, tf.int64) >= steps, tf.int32)
        return tf.gather(tf.constant(values, tf.float32), tf.reduce_sum(passed))
