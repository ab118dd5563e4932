"""Ranges of settings."""

import types

import pytest

from deployment import ranges
from deployment.config_flags import SettingError


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
        ranges.check(types.SimpleNamespace(rate=value), rate=allowed)
    for value in outside:
        with pytest.raises(SettingError, match=f"rate must be {allowed.text}, but is"):
            ranges.check(types.SimpleNamespace(rate=value), rate=allowed)
