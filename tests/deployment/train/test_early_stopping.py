"""When training stops early."""

import math

import pytest

from deployment.tasks.base import Metric
from deployment.train import early_stopping

ACCURACY, LOSS = Metric("accuracy", True), Metric("loss", False)


def stop(values, patience, metric=ACCURACY, min_change=0.0):
    rows = [
        {"step": 10 * (i + 1), metric.name: value} for i, value in enumerate(values)
    ]
    return early_stopping.reason_to_stop(rows, metric, patience, min_change)


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.4], False),
        ([0.5, 0.4, 0.5], True),
        ([0.5, 0.4, 0.51], False),
        ([0.5, 0.4, 0.51, 0.3, 0.51], True),
        ([math.nan, None], True),
        ([math.nan, 0.1], False),
        ([0.5, None, math.inf], True),
    ],
)
def test_training_stops_after_two_evaluations_without_improvement(values, stops):
    assert bool(stop(values, patience=2)) == stops
    losses = [-v if v is not None else None for v in values]
    assert bool(stop(losses, patience=2, metric=LOSS)) == stops
    assert stop(values, patience=0) is None and stop(values, patience=None) is None


def test_an_improvement_must_be_large_enough():
    values = [0.6, 0.65, 0.69, 0.699]
    assert stop(values, 3) is None
    assert stop(values, 3, min_change=0.1)
    assert stop([0.6, 0.65, 0.69, 0.7], 3, min_change=0.1) is None


def test_the_reason_says_what_was_best_and_how_long_ago():
    assert stop([0.5, 0.61, 0.6, 0.61, 0.2], 3) == (
        "accuracy has not improved in the last 3 evaluations: it was best, 0.6100, "
        "at step 20"
    )
    assert stop([2.0, 1.95], 1, LOSS, 0.1) == (
        "loss has not improved by 0.1 or more in the last 1 evaluations: it was best, "
        "2.0000, at step 10"
    )
    assert stop([None, None], 2, LOSS) == (
        "loss was not a finite number in 2 evaluations"
    )


def test_a_metric_that_is_not_measured_is_an_error():
    with pytest.raises(ValueError, match="at step 5 has no top_5: choose another"):
        early_stopping.reason_to_stop(
            [{"step": 5, "accuracy": 1}], Metric("top_5", True), 1
        )
