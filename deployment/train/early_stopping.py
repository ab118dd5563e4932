"""Early stopping: ends training when a metric no longer improves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deployment.tasks.base import Metric


def reason_to_stop(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    patience: int | None,
    min_change: float = 0.0,
) -> str | None:
    """Returns why training should stop after its evaluations so far, or None.

    It is a function of the evaluations alone, so a resumed run stops where it would
    have stopped (Prechelt 1998, "Early stopping - but when?").

    Args:
      rows: evaluations in order, with `step` and the metric, as
        `history.History.rows` returns them; None and NaN are no improvement.
      metric: the metric to watch.
      patience: evaluations without improvement after which to stop; None or 0 never
        stops.
      min_change: smallest improvement that counts, in the metric's unit.

    Raises:
      ValueError: if the metric was not measured.
    """
    sign = 1 if metric.higher_is_better else -1
    if not patience:
        return None
    best, waited = None, 0
    for row in rows:
        value = _get_value(row, metric.name)
        waited += 1
        if math.isfinite(value) and (
            best is None or _is_enough(sign * (value - best[metric.name]), min_change)
        ):
            best, waited = row, 0
    if waited < patience:
        return None
    if best is None:
        return f"{metric.name} was not a finite number in {waited} evaluations"
    by = f" by {min_change:g} or more" if min_change else ""
    return (
        f"{metric.name} has not improved{by} in the last {waited} evaluations: it was "
        f"best, {best[metric.name]:.4f}, at step {best['step']}"
    )


def _get_value(row, name):
    if name not in row:
        raise ValueError(
            f"The evaluation at step {row.get('step')} has no {name}: choose another "
            "metric."
        )
    return math.nan if row[name] is None else row[name]


def _is_enough(change, min_change):
    # 0.7 - 0.6 is slightly less than 0.1.
    return change > 0 and change >= min_change * (1 - 1e-6)
