"""The search of the learning rate."""

import logging

import numpy as np
import pytest
from toy_training import build_batches, make_config, make_spec, network, read_all, train

from deployment.config_flags import SettingError
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import dry_run, modes, phases, rate_search
from deployment.train.rate_search import Curve, find_learning_rate, smooth, suggest
from tf_slim_compat import slim, tf

SGD = OptimizerConfig("sgd")


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def linear(images):
    """Returns outputs whose squared error is quadratic: its best rate is known."""
    weights = slim.model_variable(
        "Net/w", [1], initializer=tf.constant_initializer(3.0)
    )
    return weights * tf.ones_like(images[:, 0, 0]), {}


def build_targets(seed=None, start_image=0):
    images, labels = np.ones([8, 2, 2, 1], np.float32), np.zeros([8, 1], np.float32)
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


def make_regression(tmp_path, **options):
    state = {"mean": [0.0], "scale": [1.0]}
    spec = make_spec(task="regression", task_state=state)
    spec = spec.replace(num_outputs=1)
    return make_config(tmp_path / "run", spec=spec, optimizer=SGD, **options)


def test_a_rate_is_found_and_nothing_of_the_run_changes(tmp_path, info_log):
    train(tmp_path / "run", steps=3, seed=1)
    before = read_all(tmp_path / "run"), sorted((tmp_path / "run").iterdir())
    config = make_config(tmp_path / "run", steps=5000, seed=1)
    found = find_learning_rate(config, network, build_batches)
    assert 1e-4 < found < 0.3
    assert f"--learning_rate={found:.2g}" in info_log.text
    after = read_all(tmp_path / "run"), sorted((tmp_path / "run").iterdir())
    for name, value in before[0].items():
        np.testing.assert_array_equal(value, after[0][name])
    new = {path.name for path in set(after[1]) - set(before[1])}
    assert new == {"learning_rates.png", "learning_rates.csv"}
    rows = (tmp_path / "run" / "learning_rates.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,loss,smoothed_loss" and len(rows) > 50
    assert rows[1].startswith("1e-06,")


@pytest.mark.parametrize("batches", [1, 2])
def test_the_search_ends_where_the_loss_diverges(tmp_path, batches):
    config = make_regression(tmp_path, gradient_accumulation_steps=batches)
    found = find_learning_rate(config, linear, build_targets)
    rows = np.loadtxt(
        tmp_path / "run" / "learning_rates.csv", delimiter=",", skiprows=1
    )
    # The gradient of the squared error is 2 w (or w): from a rate of 1 it diverges.
    assert rows[-1, 0] < 10 and rows[-1, 2] > rows[:, 2].min()
    assert 0.05 < found < 1
    np.testing.assert_allclose(np.diff(np.log(rows[:, 0])), np.log(1e7) / 99, rtol=1e-3)


def test_a_warm_start_is_searched_from_its_weights(tmp_path, info_log):
    train(tmp_path / "first", steps=60, seed=1)
    config = make_config(
        tmp_path / "second", checkpoint_path=str(tmp_path / "first"), seed=1
    )
    find_learning_rate(config, network, build_batches)
    assert "Warm start from" in info_log.text
    rows = (tmp_path / "second" / "learning_rates.csv").read_text().splitlines()
    assert float(rows[1].split(",")[1]) < 0.5  # That of new weights is above 1.


def test_the_suggestion_is_below_the_rates_with_the_lowest_loss():
    rates = np.geomspace(1e-6, 10, 100)
    losses = np.where(rates < 0.01, 2.0, np.where(rates < 0.1, 1.0, 5.0))
    found = suggest(Curve(rates, losses, smooth(losses)))
    assert 0.01 < 3 * found < 0.1
    noise = np.random.RandomState(0).normal(2, 0.3, 100)
    assert suggest(Curve(rates, noise, smooth(noise))) is None
    flat = np.ones(100)
    assert suggest(Curve(rates, flat, smooth(flat))) is None


def test_an_automatic_batch_size_scales_the_rate_itself():
    rates = np.geomspace(1e-6, 10, 100)
    curve = Curve(rates, 1 / rates, 1 / rates)
    *_, last = rate_search.describe(curve, 0.008, scale=4)
    assert last == "  --learning_rate=0.002"
    *_, last = rate_search.describe(curve, None)
    assert "No learning rate lowered the loss" in last


def test_a_loss_that_is_never_finite_is_refused(tmp_path):
    def broken(images):
        logits, end_points = network(images)
        return logits * np.float32("nan"), end_points

    with pytest.raises(ValueError, match="first batch is not finite"):
        find_learning_rate(make_config(tmp_path / "run"), broken, build_batches)


def test_modes_exclude_each_other(tmp_path):
    assert modes.Mode().get_function() is phases.train
    assert modes.Mode(dry_run=True).get_function() is dry_run.dry_run
    search = modes.Mode(find_learning_rate=True)
    assert search.get_function() is find_learning_rate
    with pytest.raises(SettingError, match="give one of them"):
        modes.Mode(dry_run=True, find_learning_rate=True)
    config = make_config(tmp_path / "run", master="grpc://localhost:1")
    with pytest.raises(SettingError, match="searches in one process"):
        find_learning_rate(config, network, build_batches)
