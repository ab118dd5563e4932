"""Durations in steps, epochs or seconds, as they are written in flags."""

import dataclasses
import re

from deployment.config_flags import SettingError

UNITS = ("steps", "epochs", "secs")
_WORDS = {
    "step": ("steps", 1),
    "epoch": ("epochs", 1),
    "sec": ("secs", 1),
    "min": ("secs", 60),
    "hour": ("secs", 3600),
}
_UNIT_OF_WORD = {"": ("steps", 1), **_WORDS, **{f"{w}s": u for w, u in _WORDS.items()}}
_PATTERN = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Duration:
    """A duration of training.

    Attributes:
      value: number of units; 0 or more, and whole for steps.
      unit: one of `UNITS`.

    Raises:
      ValueError: if the unit is unknown or the value is out of range.
    """

    value: float
    unit: str = "steps"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(
                f"The unit of a duration must be one of {', '.join(UNITS)}, but is "
                f"{self.unit!r}."
            )
        if not 0 <= self.value < float("inf"):
            raise ValueError(f"A duration must be 0 or more, but is {self.value}.")
        if self.unit == "steps" and self.value != int(self.value):
            raise ValueError(
                f"A duration in steps must be a whole number, but is {self.value}."
            )

    def __str__(self) -> str:
        return f"{self.value:.12g} {self.unit}"

    @property
    def is_time(self) -> bool:
        """Whether the unit is seconds."""
        return self.unit == "secs"

    def to_steps(self, steps_per_epoch: float) -> int:
        """Converts the duration into whole global steps, at least 1 unless it is 0.

        Args:
          steps_per_epoch: steps per epoch, positive; need not be whole.

        Raises:
          ValueError: if the unit is seconds.
        """
        if self.is_time:
            raise ValueError(
                f"A duration of {self} cannot be converted into steps: give it in "
                "steps or epochs."
            )
        if self.value == 0:
            return 0
        steps = self.value * (steps_per_epoch if self.unit == "epochs" else 1)
        # 3 epochs of 100 / 3 steps must be 100 steps in spite of rounding errors.
        return max(1, int(steps + 1e-6))


def parse_duration(text: str | int, flag_name: str) -> Duration:
    """Parses a duration.

    Args:
      text: a number of steps such as '500', or a number with its unit: '500steps',
        '2epochs', '1.5 epochs', '600secs', '10mins', '2hours'.
      flag_name: name of the flag, for error messages.

    Raises:
      ValueError: if the text is not a duration.
    """
    match = _PATTERN.fullmatch(str(text))
    unit, factor = _UNIT_OF_WORD.get(match[2].lower() if match else None, (None, 1))
    if unit is None or (unit == "steps" and not float(match[1]).is_integer()):
        raise ValueError(
            f"{flag_name} must be a whole number of steps, or a number with a unit "
            f"(500steps, 1.5epochs, 600secs, 10mins, 2hours), but is {text!r}."
        )
    value = float(match[1]) * factor
    return Duration(int(value) if value.is_integer() else value, unit)


def parse_durations(text: str | None, flag_name: str) -> tuple[Duration, ...]:
    """Parses comma-separated durations; None and '' give an empty tuple.

    Raises:
      ValueError: see `parse_duration`.
    """
    parts = text.split(",") if text else ()
    return tuple(parse_duration(part, flag_name) for part in parts)


def choose_steps(
    steps: int | None, epochs: float | None, steps_per_epoch: float
) -> int | None:
    """Returns the number of steps of a run that is given in steps or in epochs.

    Args:
      steps: value of --max_number_of_steps, or None.
      epochs: value of --max_number_of_epochs, or None.
      steps_per_epoch: steps per epoch, positive; need not be whole.

    Returns:
      The number of steps; None if neither is given.

    Raises:
      ValueError: if both are given, or `epochs` is not positive.
    """
    if epochs is None:
        return steps
    if steps is not None:
        raise SettingError(
            f"{{{{number_of_steps}}}}={steps} and {{{{max_number_of_epochs}}}}="
            f"{epochs:g} contradict each other: give one of the two."
        )
    if epochs <= 0:
        raise SettingError(
            f"{{{{max_number_of_epochs}}}} must be positive, but is {epochs:g}; leave "
            "it out to train until stopped."
        )
    return Duration(epochs, "epochs").to_steps(steps_per_epoch)
