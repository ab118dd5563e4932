"""Ranges of settings, checked when a configuration is made.

    check(self, batch_size=AT_LEAST_ONE, momentum=BELOW_ONE)

This module does not import TensorFlow.
"""

import dataclasses
import math
import sys
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
FINITE = Range("a finite number", -sys.float_info.max)
_INT64 = Range("a 64-bit integer", -(2**63), 2**63)
POSITIVE = Range("positive", 0, open_low=True)
BELOW_ONE = Range("at least 0 and below 1", 0, 1)
UP_TO_ONE = Range("above 0 and at most 1", 0, math.nextafter(1, 2), open_low=True)


def check(config: Any, **ranges: Range) -> None:
    """Checks the fields of a configuration; None is in every range.

    Args:
      config: the configuration, a dataclass.
      **ranges: the range of fields, by name. All other numbers must be finite, and all
        whole numbers must have 64 bits.

    Raises:
      SettingError: if a value is out of its range, NaN or infinite.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        allowed = ranges.pop(field.name, FINITE)
        if not isinstance(value, int | float):
            continue
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            allowed = _INT64
        if value not in allowed:
            raise SettingError(
                f"{{{{{field.name}}}}} must be {allowed.text}, but is {value}."
            )
    if ranges:
        raise TypeError(f"{type(config).__name__} has no fields {', '.join(ranges)}.")
