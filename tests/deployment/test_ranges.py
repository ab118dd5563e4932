"""Ranges of settings."""

import dataclasses
from typing import Any

import pytest

from deployment import ranges
from deployment.config_flags import SettingError


@dataclasses.dataclass(frozen=True)
class Config:
    rate: Any
    other: Any = 0


@pytest.mark.parametrize(
    "allowed, inside, outside",
    [
        (ranges.AT_LEAST_ZERO, [0, 2.5, None], [-1, float("nan"), float("inf")]),
        (ranges.AT_LEAST_ONE, [1, 7], [0, 0.9]),
        (ranges.POSITIVE, [1e-9], [0, -1]),
        (ranges.BELOW_ONE, [0, 0.999], [1, -0.1, float("nan")]),
    ],
)
def test_values_out_of_range_are_errors(allowed, inside, outside):
    for value in inside:
        ranges.check(Config(value), rate=allowed)
    for value in outside:
        with pytest.raises(SettingError, match=f"rate must be {allowed.text}, but is"):
            ranges.check(Config(value), rate=allowed)


def test_every_number_must_be_finite():
    ranges.check(Config(-(2**63), other=1e300))
    ranges.check(Config("text", other=(3, float("nan"))))
    for value, rule in (
        (float("nan"), "a finite number"),
        (-float("inf"), "a finite number"),
        (2**63, "a 64-bit integer"),
        (-(10**30), "a 64-bit integer"),
    ):
        with pytest.raises(SettingError, match=f"other must be {rule}, but is"):
            ranges.check(Config(1, other=value), rate=ranges.AT_LEAST_ONE)
    with pytest.raises(SettingError, match="rate must be a 64-bit integer"):
        ranges.check(Config(2**64), rate=ranges.AT_LEAST_ONE)
    with pytest.raises(TypeError, match="has no fields speed"):
        ranges.check(Config(1), speed=ranges.POSITIVE)
