"""Checks of the arguments of augmentations."""

import math
from typing import Any


def check(op: str, **arguments: tuple[Any, float, float]) -> None:
    """Checks that arguments are numbers within bounds.

    Args:
      op: name of the augmentation.
      **arguments: name to (value, lowest, highest); the bounds are inclusive.

    Raises:
      ValueError: if one is not.
    """
    for name, (value, low, high) in arguments.items():
        if is_number(value) and low <= value <= high:
            continue
        bounds = f"from {low:g} to {high:g}"
        if math.isinf(high):
            bounds = f"of at least {low:g}"
        raise ValueError(f"{op}({name}={value!r}): {name} must be a number {bounds}.")


def check_count(op: str, **arguments: tuple[Any, int, int]) -> None:
    """Checks that arguments are whole numbers within bounds; see `check`."""
    check(op, **arguments)
    for name, (value, low, high) in arguments.items():
        if not isinstance(value, int):
            raise ValueError(
                f"{op}({name}={value!r}): {name} must be a whole number from {low} to "
                f"{high}."
            )


def check_pair(
    op: str, name: str, value: Any, low: float, high: float = math.inf
) -> tuple[float, float]:
    """Returns a pair of numbers within bounds, the smaller first.

    Raises:
      ValueError: if it is not such a pair.
    """
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    if is_pair and all(map(is_number, value)) and low <= value[0] <= value[1] <= high:
        return tuple(value)
    limit = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
    raise ValueError(
        f"{op}({name}={value!r}): {name} must be two numbers {limit}, such as "
        "(0.8, 1.2), the smaller one first."
    )


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite int or float."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
