"""Learning rates by step, against values computed by hand."""

import math

import pytest

from deployment.durations import Duration
from deployment.optimize import learning_rates
from deployment.train import advice
from tf_slim_compat import tf


@pytest.mark.parametrize(
    "schedule",
    [
        learning_rates.Schedule("polynomial", 0.1, warmup_steps=4),
        learning_rates.Schedule("exponential", 0.1),
        learning_rates.Schedule(
            "piecewise", boundaries=(Duration(5),), values=(1.0, 0.001)
        ),
    ],
)
def test_a_scaled_schedule_has_all_rates_in_proportion(schedule):
    steps, scale = [0, 2, 7, 30], {"num_samples": 100, "batch_size": 10}
    expected = [4 * rate for rate in rates(schedule, steps, **scale)]
    assert rates(schedule.scaled(4), steps, **scale) == pytest.approx(expected)


def rates(schedule, steps, **kwargs):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = learning_rates.build_learning_rate(schedule, step, **kwargs)
        return [float(session.run(rate, {step: value})) for value in steps]


@pytest.mark.parametrize(
    "schedule",
    [
        learning_rates.Schedule(),
        learning_rates.Schedule(decay_factor=0.1, steps_per_decay=7),
        learning_rates.Schedule("polynomial", 0.1),
        learning_rates.Schedule(
            "piecewise",
            boundaries=(Duration(5), Duration(9), Duration(20)),
            values=(1.0, 0.001, 0.1, 0.01),
        ),
    ],
)
def test_the_step_at_which_the_rate_is_low(schedule):
    scale = {"num_samples": 100, "batch_size": 10}
    step = advice.find_step_of_rate(schedule, 0.01, **scale)
    peak, before, low, end = rates(schedule, [0, step - 1, step, 10_000], **scale)
    assert low <= 0.01 * peak * (1 + 1e-6) < before
    assert end <= low


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (learning_rates.Schedule("fixed", 0.1), [0, 50, 1000], [0.1, 0.1, 0.1]),
        (
            # 100 images, batches of 10, two epochs: 20 steps per decay.
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
        (
            # The staircase counts from step 0; the warm-up limits it.
            learning_rates.Schedule(
                "exponential",
                0.8,
                decay_factor=0.5,
                steps_per_decay=5,
                epochs_per_decay=1000,
                warmup_steps=8,
            ),
            [0, 2, 4, 5, 7, 8, 10, 15],
            [0.0, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2, 0.1],
        ),
        (
            learning_rates.Schedule("polynomial", 0.1, end=0.02, steps_per_decay=40),
            [0, 20, 40],
            [0.1, 0.06, 0.02],
        ),
        (
            # Each rate applies from its boundary.
            learning_rates.Schedule(
                "piecewise", 1.0, boundaries=(Duration(5), Duration(2, "epochs"))
            ),
            [0, 4, 5, 19, 20, 1000],
            [1.0, 1.0, 0.1, 0.1, 0.01, 0.01],
        ),
        (
            learning_rates.Schedule(
                "piecewise",
                9.0,
                boundaries=(Duration(0.5, "epochs"), Duration(8)),
                values=(0.4, 0.2, 0.3),
                warmup_steps=2,
            ),
            [0, 1, 2, 4, 5, 7, 8],
            [0.0, 0.2, 0.4, 0.4, 0.2, 0.2, 0.3],
        ),
        (
            learning_rates.Schedule(
                "piecewise", 1.0, decay_factor=0.5, boundaries=(Duration(3),)
            ),
            [2, 3],
            [1.0, 0.5],
        ),
    ],
)
def test_rate_by_step(schedule, steps, expected):
    found = rates(schedule, steps, num_samples=100, batch_size=10)
    assert found == pytest.approx(expected)


def cosine_at(step, initial, end, first, last):
    progress = min(1, (step - first) / (last - first))
    return end + (initial - end) * (1 + math.cos(math.pi * progress)) / 2


@pytest.mark.parametrize("end", [None, 0.02])
@pytest.mark.parametrize(
    "warmup",
    [{}, {"warmup_steps": 20}, {"warmup_epochs": 2}, {"warmup_fraction": 0.2}],
)
def test_cosine_decays_from_the_warmup_to_the_end_of_the_run(end, warmup):
    schedule = learning_rates.Schedule("cosine", 0.1, end=end, **warmup)
    steps = [0, 10, 20, 21, 60, 99, 100, 150]
    found = rates(schedule, steps, num_samples=100, batch_size=10, number_of_steps=100)
    first = 20 if warmup else 0
    expected = [
        0.1 * step / 20 if step < first else cosine_at(step, 0.1, end or 0, first, 100)
        for step in steps
    ]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert found[-1] == pytest.approx(end or 0, abs=1e-8)


def test_a_run_that_ends_at_a_time_follows_its_progress():
    schedule = learning_rates.Schedule("cosine", 0.1, warmup_fraction=0.2)
    progress = tf.placeholder(tf.float32, [])
    rate = learning_rates.build_learning_rate(
        schedule, tf.constant(7), num_samples=100, batch_size=10, progress=progress
    )
    with tf.Session() as session:
        found = [session.run(rate, {progress: p}) for p in (0, 0.1, 0.2, 0.6, 1, 1.1)]
    assert found == pytest.approx([0, 0.05, 0.1, 0.05, 0, 0], rel=1e-5, abs=1e-8)


def test_default_values_depend_on_the_decay_type():
    for decay_type, end, factor in [
        ("exponential", 1e-4, 0.94),
        ("polynomial", 1e-4, 0.94),
        ("cosine", 0.0, 0.94),
    ]:
        schedule = learning_rates.Schedule(decay_type)
        assert (schedule.end_rate, schedule.factor) == (end, factor)
    schedule = learning_rates.Schedule("piecewise", boundaries=(Duration(1),))
    assert schedule.factor == 0.1


@pytest.mark.parametrize(
    ("schedule", "number_of_steps", "said"),
    [
        (
            learning_rates.Schedule("cosine"),
            None,
            "no last step: set number_of_steps",
        ),
        (
            learning_rates.Schedule("cosine", warmup_epochs=3),
            20,
            "warm-up takes 30 steps, but the run ends at step 20",
        ),
        (
            learning_rates.Schedule(
                "piecewise", boundaries=(Duration(1, "epochs"), Duration(5))
            ),
            None,
            "above 0 and increase, but are 1 epochs, 5 steps, which are steps 10, 5",
        ),
        (
            learning_rates.Schedule("piecewise", boundaries=(Duration(0),)),
            None,
            "must be above 0 and increase, but are 0 steps",
        ),
    ],
)
def test_schedules_that_do_not_fit_the_run_are_errors(schedule, number_of_steps, said):
    with pytest.raises(ValueError, match=said):
        rates(
            schedule,
            [],
            num_samples=100,
            batch_size=10,
            number_of_steps=number_of_steps,
        )


def test_aggregated_replicas_share_an_epoch():
    schedule = learning_rates.Schedule("exponential", 1.0, decay_factor=0.5)
    found = rates(
        schedule, [9, 10], num_samples=100, batch_size=10, replicas_to_aggregate=2
    )
    assert found == [1.0, 0.5]
    schedule = learning_rates.Schedule(
        "piecewise", 1.0, decay_factor=0.5, boundaries=(Duration(2, "epochs"),)
    )
    found = rates(
        schedule, [9, 10], num_samples=100, batch_size=10, replicas_to_aggregate=2
    )
    assert found == [1.0, 0.5]


def test_the_smallest_values_are_valid():
    learning_rates.Schedule(initial=0.0, end=0.0, steps_per_decay=1, warmup_steps=0)


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (0.001, 1), (1, 12), (2.5, 31)])
def test_epochs_to_steps(epochs, steps):
    assert learning_rates.epochs_to_steps(epochs, 100, 8) == steps


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"decay_type": "cosin"},
            "decay_type must be one of fixed, exponential, polynomial",
        ),
        ({"epochs_per_decay": 0}, "epochs_per_decay must be positive"),
        ({"initial": -1.0}, "must not be negative"),
        ({"end": -1.0}, "must not be negative"),
        ({"steps_per_decay": 0}, "steps_per_decay must be 1 or more"),
        (
            {"warmup_steps": 5, "warmup_epochs": 1},
            "warmup_steps=5 and warmup_epochs=1 contradict",
        ),
        ({"warmup_fraction": 1.0}, "as a fraction of the run below 1"),
        ({"warmup_steps": -5}, "must be 0 or more, .* but is warmup_steps=-5"),
        (
            {"decay_type": "cosine", "end": 0.1},
            "end to be at most initial, 0.01, but it is 0.1",
        ),
        ({"decay_type": "piecewise"}, "there are none: set boundaries"),
        ({"boundaries": (Duration(1),)}, "need decay_type=piecewise"),
        (
            {"decay_type": "piecewise", "boundaries": (Duration(60, "secs"),)},
            "in steps or epochs, but are 60 secs",
        ),
        (
            {
                "decay_type": "piecewise",
                "boundaries": (Duration(5),),
                "values": (0.1,),
            },
            "there are 1 values and 1 boundaries",
        ),
        (
            {
                "decay_type": "piecewise",
                "boundaries": (Duration(5),),
                "values": (0.1, -0.1),
            },
            "values are 0.1, -0.1",
        ),
    ],
)
def test_invalid_schedules_are_errors(options, said):
    with pytest.raises(ValueError, match=said):
        learning_rates.Schedule(**options)
