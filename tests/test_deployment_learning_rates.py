"""Learning rates by step, against values worked out by hand."""

import pytest

from deployment import learning_rates
from tf_slim_compat import tf


def rates(schedule, steps, **kwargs):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = learning_rates.build_learning_rate(schedule, step, **kwargs)
        return [float(session.run(rate, {step: value})) for value in steps]


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (learning_rates.Schedule("fixed", 0.1), [0, 50, 1000], [0.1, 0.1, 0.1]),
        (
            # 100 images, batches of 10, two epochs: a stair of 20 steps.
            learning_rates.Schedule("exponential", 0.1, decay_factor=0.5),
            [0, 19, 20, 40],
            [0.1, 0.1, 0.05, 0.025],
        ),
        (
            learning_rates.Schedule("polynomial", 0.1, end=0.02),
            [0, 10, 20, 30],
            [0.1, 0.06, 0.02, 0.02],
        ),
        (
            learning_rates.Schedule("fixed", 0.1, warmup_epochs=2),
            [0, 5, 20, 30],
            [0.0, 0.025, 0.1, 0.1],
        ),
    ],
)
def test_rate_by_step(schedule, steps, expected):
    found = rates(schedule, steps, num_samples=100, batch_size=10)
    assert found == pytest.approx(expected)


def test_aggregated_replicas_share_an_epoch():
    schedule = learning_rates.Schedule("exponential", 1.0, decay_factor=0.5)
    found = rates(
        schedule, [9, 10], num_samples=100, batch_size=10, replicas_to_aggregate=2
    )
    assert found == [1.0, 0.5]


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (0.001, 1), (1, 12), (2.5, 31)])
def test_epochs_to_steps(epochs, steps):
    assert learning_rates.epochs_to_steps(epochs, 100, 8) == steps


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decay_type": "cosin"}, "must be one of fixed, exponential, polynomial"),
        ({"epochs_per_decay": 0}, "num_epochs_per_decay must be positive"),
        ({"initial": -1.0}, "must not be negative"),
    ],
)
def test_impossible_schedules_are_errors(options, said):
    with pytest.raises(ValueError, match=said):
        learning_rates.Schedule(**options)
