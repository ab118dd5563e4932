"""Ranges of settings, checked when a configuration is made.

    check(self, batch_size=AT_LEAST_ONE, momentum=BELOW_ONE)

This module does not import TensorFlow.
"""

import dataclasses
import math
from typing import Any

from deployment.config_flags import SettingError


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` up to, but not including, `high`.

    Attributes:
      text: how the range reads after "must be".
      low: the lower end.
      high: the upper end, which is outside.
      open_low: whether the lower end is outside, too.
    """

    text: str
    low: float
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        is_above = value > self.low if self.open_low else value >= self.low
        return is_above and value < self.high


AT_LEAST_ZERO = Range("0 or more", 0)
AT_LEAST_ONE = Range("1 or more", 1)
POSITIVE = Range("positive", 0, open_low=True)
BELOW_ONE = Range("at least 0 and below 1", 0, 1)


def check(config: Any, **ranges: Range) -> None:
    """Checks fields of a configuration; None is in every range.

    Args:
      config: the configuration.
      **ranges: the range of each field, by its name.

    Raises:
      SettingError: if a value is out of its range, NaN or infinite.
    """
    for name, allowed in ranges.items():
        value = getattr(config, name)
        if value is not None and value not in allowed:
            raise SettingError(
                f"{{{{{name}}}}} must be {allowed.text}, but is {value}."
            )
