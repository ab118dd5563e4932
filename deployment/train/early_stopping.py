"""When to stop: a metric has not improved for so many evaluations."""

import math

from deployment.models import history


def reason_to_stop(rows, metric, patience, min_change=0.0):
    """Why training should stop, by its evaluations so far; None if it should not.

    It is a function of the evaluations alone, so a resumed run stops where it would
    have stopped (Prechelt 1998, "Early stopping - but when?").

    Args:
      rows: evaluations in their order, dicts with `step` and `metric`, as
        `history.History.rows` gives them; a value that is None or not finite is no
        improvement.
      metric: 'accuracy', 'loss' or 'top_K'.
      patience: how many evaluations without improvement to stop after; None or 0
        for no end.
      min_change: what counts as an improvement, in the metric's unit; 0: any.

    Returns:
      One sentence without its full stop, or None.

    Raises:
      ValueError: if there is no such metric, or it was not measured.
    """
    sign = -1 if history.is_lower_better(metric) else 1
    if not patience:
        return None
    best, waited = None, 0
    for row in rows:
        value = _get_value(row, metric)
        waited += 1
        if math.isfinite(value) and (
            best is None or _is_enough(sign * (value - best[metric]), min_change)
        ):
            best, waited = row, 0
    if waited < patience:
        return None
    if best is None:
        return f"{metric} was not a finite number in {waited} evaluations"
    by = f" by {min_change:g} or more" if min_change else ""
    return (
        f"{metric} has not improved{by} in the last {waited} evaluations: it was best, "
        f"{best[metric]:.4f}, at step {best['step']}"
    )


def _get_value(row, metric):
    if metric not in row:
        raise ValueError(
            f"The evaluation at step {row.get('step')} has no {metric}: give another "
            "metric (top_K needs more than K classes)."
        )
    return math.nan if row[metric] is None else row[metric]


def _is_enough(change, min_change):
    # 0.7 - 0.6 is a little less than 0.1.
    return change > 0 and change >= min_change * (1 - 1e-6)
