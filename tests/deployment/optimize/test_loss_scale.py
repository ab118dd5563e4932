"""Dynamic loss scaling: what overflows is skipped, and the scale adapts."""

import logging

import numpy as np
import pytest
from toy_training import network, read, read_all, train

from deployment import model_deploy, precision
from deployment.optimize import loss_scale
from deployment.optimize.optimizers import OptimizerConfig
from tf_slim_compat import tf

SCALE, GOOD_STEPS = "loss_scale/current_loss_scale", "loss_scale/good_steps"
SGD = OptimizerConfig("sgd")


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    """Lets the CPU train as if in float16: it has no rewriter for it."""
    monkeypatch.setattr(precision, "check", lambda *_: None)


def overflowing_at(*steps, factor=1e4):
    """Returns a network whose gradients go through float16 in some steps, enlarged."""

    def network_fn(images):
        now = tf.train.get_global_step().read_value() + 1
        is_hit = tf.reduce_any(tf.equal(now, np.array(steps, np.int64)))

        @tf.custom_gradient
        def in_float16(logits):
            def grad(upstream):
                half = tf.cast(tf.cast(factor * upstream, tf.float16), tf.float32)
                return tf.where(is_hit, half / factor, upstream)

            return tf.identity(logits), grad

        logits, end_points = network(images)
        return in_float16(logits), end_points

    return network_fn


def train_in_float16(folder, steps, *overflows, **options):
    options = {"precision": "float16", "optimizer": SGD, "seed": 1, **options}
    if overflows:
        options["network_fn"] = overflowing_at(*overflows)
    return train(folder, steps, **options)


def is_weight(name):
    return name.startswith("Net/") and "oving" not in name  # No averages.


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_without_overflow_the_weights_are_bit_identical(tmp_path, optimizer):
    runs = {}
    for name in ("float16", "float32"):
        options = {"precision": name, "optimizer": OptimizerConfig(optimizer)}
        train_in_float16(tmp_path / name, 4, **options)
        runs[name] = read_all(tmp_path / name)
    assert runs["float16"].pop(SCALE) == 2**15
    assert runs["float16"].pop(GOOD_STEPS) == 4
    assert runs["float16"].keys() == runs["float32"].keys()
    for name, value in runs["float32"].items():
        np.testing.assert_array_equal(runs["float16"][name], value, name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"on_bad_numbers": "skip", "max_skipped_steps": 0},
        # Clipping and averages, which would hide an overflow or take it over.
        {"clip_gradient_value": 0.1, "moving_average_decay": 0.9},
        {"clip_gradient_norm": 0.1, "gradient_accumulation_steps": 2},
    ],
)
def test_an_overflow_skips_the_step_and_halves_the_scale(tmp_path, options):
    train_in_float16(tmp_path, 2, **options)
    before = read_all(tmp_path)
    assert before[GOOD_STEPS] == 2
    result = train_in_float16(tmp_path, 3, 3, **options)
    after = read_all(tmp_path)
    assert result.step == 3 and np.isfinite(result.loss)
    assert after[SCALE] == 2**14 and after[GOOD_STEPS] == 0
    assert all(np.array_equal(after[n], before[n]) for n in before if is_weight(n))
    assert all(np.isfinite(value).all() for value in after.values())
    # The lower scale fits, and training goes on.
    train_in_float16(tmp_path, 5, 6, **options)
    weights = "Net/Logits/weights"
    assert read(tmp_path, GOOD_STEPS) == 2
    assert not np.array_equal(read(tmp_path, weights), before[weights])


def test_a_resumed_run_is_the_same_run(tmp_path):
    train_in_float16(tmp_path / "once", 6, 2, 4)
    for steps in (2, 3, 6):
        train_in_float16(tmp_path / "parts", steps, 2, 4)
    once, parts = read_all(tmp_path / "once"), read_all(tmp_path / "parts")
    assert once[SCALE] == 2**13 and once[GOOD_STEPS] == 2
    assert all(np.array_equal(once[name], parts[name]) for name in once)


def test_clones_share_the_scale(graph):
    deployment = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    weight = tf.get_variable("weight", initializer=3.0)
    clones = model_deploy.create_clones(
        deployment, lambda: tf.losses.add_loss(weight**2 * 2)
    )
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    optimizer = loss_scale.LossScaleOptimizer(optimizer)
    loss, [(gradient, _)] = model_deploy.optimize_clones(clones, optimizer)
    assert [v.op.name for v in tf.global_variables()] == ["weight", SCALE, GOOD_STEPS]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([loss, gradient]) == [18.0, 12.0]


@pytest.mark.parametrize(
    ("scale", "health", "overflowed", "scale_after", "good_steps"),
    [
        (8.0, [1, 1, 1], False, 16.0, 0),  # 2,000 good steps.
        (8.0, [1, 1, np.inf], True, 4.0, 0),
        (8.0, [1, np.nan, 1], True, 4.0, 0),
        # A loss that is not finite, or gradients at the lowest scale, are no overflow.
        (8.0, [np.inf, 1, np.inf], False, 4.0, 0),
        (1.0, [1, np.inf, 1], False, 1.0, 0),
        (2.0**127, [1, 1, 1], False, 2.0**127, 0),  # Twice that is infinite.
    ],
)
def test_the_scale_adapts(graph, scale, health, overflowed, scale_after, good_steps):
    optimizer = loss_scale.LossScaleOptimizer(tf.train.GradientDescentOptimizer(1.0))
    values = tf.placeholder(tf.float32, [3])
    fetches = optimizer.build_scale_update(values, 2)
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    assert variables.keys() == {SCALE, GOOD_STEPS} and not tf.trainable_variables()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        variables[SCALE].load(scale, session)
        variables[GOOD_STEPS].load(1999, session)
        assert session.run(fetches, {values: health})[0] == overflowed
        assert session.run(variables[SCALE]) == scale_after
        assert session.run(variables[GOOD_STEPS]) == good_steps


def test_what_no_scale_helps_against_is_reported(tmp_path):
    def nan_loss(images):
        logits, end_points = network(images)
        return logits * np.float32("nan"), end_points

    with pytest.raises(ValueError, match="At step 1 the loss .* became NaN"):
        train_in_float16(tmp_path / "loss", 3, network_fn=nan_loss)
    # 15 halvings from 2**15 to 1, then a fault.
    always = overflowing_at(*range(1, 30), factor=1e9)
    with pytest.raises(ValueError, match="At step 16 the gradient of .* became NaN"):
        train_in_float16(tmp_path / "gradient", 30, network_fn=always)


def test_many_overflows_are_warned_of(caplog):
    caplog.set_level(logging.WARNING, logger="absl")
    log = loss_scale.OverflowLog()
    for step in range(1, 301):
        log.add(step, overflowed=step in (2, 3) or step >= 206)
        if step == 214:
            assert not caplog.records
    assert (
        caplog.records[0]
        .getMessage()
        .startswith(
            "At step 215: 10 of the last 100 updates were skipped, because gradients"
        )
    )
    assert len(caplog.records) == 9
