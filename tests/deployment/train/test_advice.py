"""Settings that are hardly meant are warned about, with numbers and a remedy."""

import dataclasses
import logging
import re

import pytest
from toy_training import make_config

from deployment.durations import Duration
from deployment.model_deploy import DeploymentConfig
from deployment.optimize.learning_rates import Schedule
from deployment.train import advice

# There are 48 images in batches of 8: an epoch has 6 steps.
PIECEWISE = {
    "decay_type": "piecewise",
    "boundaries": (Duration(10, "epochs"), Duration(20, "epochs")),
}


@pytest.mark.parametrize(
    ("steps", "schedule", "said"),
    [
        # 75 decays by 0.94 every two epochs.
        (
            5000,
            Schedule(),
            r"falls to 1 % of its initial value at step 900 of 5,000 \(epoch 150 of "
            r"833\); the other 82 % .*--num_epochs_per_decay to 11\.1\.$",
        ),
        (5000, Schedule(steps_per_decay=10), "750 of .*--num_steps_per_decay to 67"),
        (100, Schedule("polynomial"), "at step 12 of 100 .*_per_decay to 16.7"),
        (
            1000,
            Schedule(**PIECEWISE),
            r"at step 120 of 1,000 .* or --learning_rate_boundaries to later ones\.$",
        ),
        (100, Schedule("fixed", warmup_steps=200), "takes 200 steps, .* at step 100"),
        (100, Schedule("fixed", warmup_epochs=50), "takes 300 steps, .* at step 100"),
    ],
)
def test_a_rate_that_ends_learning_early_is_warned_about(
    tmp_path, steps, schedule, said
):
    (line,) = advice.list_warnings(make_config(tmp_path, steps, schedule=schedule))
    assert re.search(said, line), line


@pytest.mark.parametrize(
    ("steps", "schedule"),
    [
        (1000, Schedule()),
        (None, Schedule()),
        (5000, Schedule(decay_factor=1.0)),
        (5000, Schedule("fixed")),
        (5000, Schedule("cosine")),
        (1000, Schedule("polynomial", end=0.001)),
        (20, Schedule("polynomial")),
        (200, Schedule(**PIECEWISE)),
        (1000, Schedule(**PIECEWISE, values=(0.1, 0.001, 0.01))),
        (100, Schedule("fixed", warmup_steps=100)),
    ],
)
def test_usual_schedules_are_not(tmp_path, steps, schedule):
    config = make_config(tmp_path, steps, schedule=schedule)
    assert not list(advice.list_warnings(config))


def test_a_step_of_more_images_than_there_are_is_warned_about(tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="absl")
    advice.log_warnings(make_config(tmp_path, batch_size=48))
    assert not caplog.messages
    config = make_config(tmp_path, batch_size=60, gradient_accumulation_steps=2)
    advice.log_warnings(config)
    (message,) = caplog.messages
    assert message == (
        "A step takes 120 images, but there are only 48 to train on: each is in every "
        "step 2.5 times. Set --batch_size to 24 or less."
    )


def test_only_the_chief_worker_warns(tmp_path, caplog):
    worker = DeploymentConfig(replica_id=1, num_replicas=2, num_ps_tasks=1)
    config = make_config(tmp_path, batch_size=480)
    advice.log_warnings(dataclasses.replace(config, deployment=worker))
    assert not caplog.messages
