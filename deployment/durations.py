"""Durations as flags give them: in steps, epochs or seconds."""

import dataclasses
import re

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
    """A length of training.

    Attributes:
      value: how many of `unit`; 0 or more.
      unit: one of `UNITS`.
    """

    value: float
    unit: str = "steps"

    def __post_init__(self):
        if self.unit not in UNITS:
            raise ValueError(
                f"A duration is counted in {', '.join(UNITS)}, not in {self.unit!r}."
            )
        if not 0 <= self.value < float("inf"):
            raise ValueError(f"A duration must be 0 or more, but is {self.value}.")
        if self.unit == "steps" and self.value != int(self.value):
            raise ValueError(
                f"A duration in steps must be a whole number, but is {self.value}."
            )

    def __str__(self):
        return f"{self.value:.12g} {self.unit}"

    @property
    def is_time(self):
        """Whether it is counted in seconds."""
        return self.unit == "secs"

    def to_steps(self, steps_per_epoch):
        """How many whole global steps it takes, at least 1 unless it is 0.

        Args:
          steps_per_epoch: steps in one epoch, a positive float; parts of a step
            count.

        Raises:
          ValueError: if it is counted in seconds.
        """
        if self.is_time:
            raise ValueError(
                f"A duration of {self} is no fixed number of steps: give it in steps "
                "or epochs."
            )
        if self.value == 0:
            return 0
        steps = self.value * (steps_per_epoch if self.unit == "epochs" else 1)
        # 3 epochs of 100 / 3 steps are 100 steps, whichever way floats round.
        return max(1, int(steps + 1e-6))


def parse_duration(text, flag_name):
    """The `Duration` that a flag gives.

    Args:
      text: a number of steps such as '500', or a number with its unit:
        '500steps', '2epochs', '1.5 epochs', '600secs', '10mins', '2hours'.
      flag_name: the flag's name, for errors.

    Raises:
      ValueError: if it is not such a text.
    """
    match = _PATTERN.fullmatch(str(text))
    unit, factor = _UNIT_OF_WORD.get(match[2].lower() if match else None, (None, 1))
    if unit is None or (unit == "steps" and not float(match[1]).is_integer()):
        raise ValueError(
            f"{flag_name} must be a whole number of steps, or a number with its unit "
            f"(500steps, 1.5epochs, 600secs, 10mins, 2hours), but is {text!r}."
        )
    value = float(match[1]) * factor
    return Duration(int(value) if value.is_integer() else value, unit)


def parse_durations(text, flag_name):
    """The durations of a comma-separated flag, as a tuple; empty for None or ''.

    Raises:
      ValueError: see `parse_duration`.
    """
    parts = text.split(",") if text else ()
    return tuple(parse_duration(part, flag_name) for part in parts)
