"""Moving averages of batch normalization: updates, warm-up and freezing."""

import numpy as np
import pytest

from tf_slim_compat import batch_norm_decay_warmup, frozen_batch_norm, slim, tf

pytestmark = pytest.mark.usefixtures("graph")

UPDATES = tf.GraphKeys.UPDATE_OPS
START = {"moving_mean": 1.0, "moving_variance": 2.0}


def sample(shape, dtype=np.float32):
    return np.random.default_rng(0).normal(1.0, 2.0, shape).astype(dtype)


def start():
    return {name: tf.constant_initializer(value) for name, value in START.items()}


def count_ops(graph, op_type):
    return sum(op.type == op_type for op in graph.get_operations())


def variable(name):
    return slim.get_variables_by_name(name)[0]


# Warm-up of the decay


@pytest.mark.parametrize("decay", [0.999, 0.5])
def test_warmup_decay(run, decay):
    x = tf.placeholder(tf.float32, [8, 3])
    step = tf.train.get_or_create_global_step()
    with batch_norm_decay_warmup(step):
        slim.batch_norm(x, decay=decay)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    next_step = tf.assign_add(step, 1)
    expected = np.zeros(3)
    for number in range(20):
        batch = np.full([8, 3], number + 1.0)
        run(updates, {x: batch})
        run(next_step)
        share = min(decay, (1 + number) / (10 + number))
        expected = share * expected + (1 - share) * (number + 1)
        np.testing.assert_allclose(run(variable("moving_mean")), expected, rtol=1e-5)


def test_warmup_does_not_change_the_decay_of_long_runs(run):
    x = sample((8, 3))
    with batch_norm_decay_warmup(10_000_000):
        slim.batch_norm(tf.constant(x), decay=0.9997)
    run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    np.testing.assert_allclose(
        run(variable("moving_mean")), 0.0003 * x.mean(0), rtol=1e-4
    )


def test_warmup_adds_one_tensor_per_decay(graph):
    x = tf.placeholder(tf.float32, [2, 5, 5, 3])
    step = tf.train.get_or_create_global_step()
    with batch_norm_decay_warmup(step):
        for decay in (0.9, 0.99, 0.9):
            slim.batch_norm(x, decay=decay)
    slim.batch_norm(x, decay=0.999)
    assert count_ops(graph, "Maximum") == 2
    assert len(tf.global_variables()) == 4 * 3 + 1
    caps = [op.name for op in graph.get_operations() if op.type == "Maximum"]
    assert all(name.startswith("batch_norm_decay_warmup/") for name in caps)


def test_warmups_nest_and_end(run):
    x = sample((8, 3))
    with batch_norm_decay_warmup(0):
        with batch_norm_decay_warmup(80):
            slim.batch_norm(tf.constant(x), decay=0.999, scope="inner")
        slim.batch_norm(tf.constant(x), decay=0.999, scope="outer")
    slim.batch_norm(tf.constant(x), decay=0.999, scope="without")
    run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    for scope, rate in [("inner", 0.1), ("outer", 0.9), ("without", 0.001)]:
        moved = run(slim.get_variables(f"{scope}/moving_mean")[0])
        np.testing.assert_allclose(moved, rate * x.mean(0), rtol=1e-4)


def test_warmup_works_in_branches_and_on_other_devices(graph, run):
    x = tf.constant(sample((8, 3)))
    step = tf.train.get_or_create_global_step()

    def branch(scope):
        def build():
            return slim.batch_norm(x, updates_collections=None, scope=scope)

        return build

    with batch_norm_decay_warmup(step):
        chosen = tf.cond(tf.equal(step, 0), branch("a"), branch("b"))
        with tf.device("/device:CPU:0"), tf.control_dependencies([chosen]):
            slim.batch_norm(x, scope="c")
    run(chosen)
    moved = run([slim.get_variables(f"{scope}/moving_mean")[0] for scope in "ab"])
    assert np.all(moved[0] != 0) and np.all(moved[1] == 0)
    (cap,) = (op for op in graph.get_operations() if op.type == "Maximum")
    assert not cap.device and not cap.control_inputs


def test_updates_are_placed_with_their_variables(graph):
    x = tf.zeros([8, 3])
    on_cpu = slim.arg_scope([slim.model_variable], device="/device:CPU:0")
    with on_cpu, tf.device("/device:GPU:0"):
        slim.batch_norm(x)
    for op in tf.get_collection(tf.GraphKeys.UPDATE_OPS):
        assert op.device == "/device:CPU:0"


# Frozen layers


@pytest.mark.parametrize("is_training", [True, False, None])
@pytest.mark.parametrize("updates_collections", [UPDATES, "other", None])
def test_frozen_layers_are_not_updated(run, is_training, updates_collections):
    x = tf.constant(sample((8, 3)))
    training = tf.placeholder_with_default(True, [])
    names = []

    def is_frozen(name):
        names.append(name)
        return name.startswith("frozen/")

    outputs = {}
    with frozen_batch_norm(is_frozen):
        for scope in ("frozen", "free"):
            outputs[scope] = slim.batch_norm(
                x,
                param_initializers=start(),
                is_training=training if is_training is None else is_training,
                updates_collections=updates_collections,
                scope=scope,
            )
    assert names == ["frozen/moving_mean", "free/moving_mean"]
    updates = tf.get_collection(updates_collections) if updates_collections else []
    assert not [op for op in updates if op.name.startswith("frozen")]
    normalized = run([outputs, updates])[0]
    assert run(slim.get_variables("frozen/moving")) == pytest.approx(
        np.repeat([[1.0], [2.0]], 3, axis=1)
    )
    moved = np.any(run(slim.get_variables("free/moving_mean")[0]) != 1)
    assert moved == (is_training is not False)
    expected = (sample((8, 3)) - 1) / np.sqrt(2.001)
    np.testing.assert_allclose(normalized["frozen"], expected, rtol=1e-5, atol=1e-5)
    trainable = ["frozen/beta", "free/beta"]
    assert [v.op.name for v in tf.trainable_variables()] == trainable
    assert len(slim.get_model_variables()) == 6


def test_frozen_contexts_nest_and_end():
    x = tf.zeros([8, 3])
    with frozen_batch_norm(lambda name: True):
        with frozen_batch_norm(lambda name: False):
            slim.batch_norm(x, scope="inner")
        slim.batch_norm(x, scope="outer")
    slim.batch_norm(x, scope="without")
    scopes = {op.name.split("/")[0] for op in tf.get_collection(UPDATES)}
    assert scopes == {"inner", "without"}


def test_a_frozen_layer_still_learns_its_offset(run):
    x = tf.constant(sample((8, 3)))
    with frozen_batch_norm(lambda name: True):
        outputs = slim.batch_norm(x)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(outputs))
    run(step)
    np.testing.assert_allclose(run(variable("beta")), np.full(3, -0.8), rtol=1e-5)


# Batches with values that are not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("updates_collections", [UPDATES, None])
@pytest.mark.parametrize("fused", [None, False])
def test_bad_batches_are_not_averaged(run, bad, updates_collections, fused):
    x = tf.placeholder(tf.float32, [8, 3])
    outputs = slim.batch_norm(
        x,
        decay=0.5,
        param_initializers=start(),
        updates_collections=updates_collections,
        fused=fused,
    )
    fetches = [outputs, tf.get_collection(UPDATES)]
    batch = sample((8, 3))
    spoiled = batch.copy()
    spoiled[5, 1] = bad
    run(fetches, {x: spoiled})
    mean, variance = run([variable(name) for name in START])
    finite = [True, False, True]
    expected = np.where(finite, (1 + batch.mean(0)) / 2, 1)
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    assert variance[1] == 2 and np.all(np.isfinite(variance))
    assert np.all(variance[finite] != 2)
    run(fetches, {x: batch})
    assert np.all(run(variable("moving_variance")) != 2)


@pytest.mark.parametrize("fused", [None, False])
def test_bad_batches_do_not_change_the_debiased_mean(run, fused):
    x = tf.placeholder(tf.float32, [8, 3])
    slim.batch_norm(x, zero_debias_moving_mean=True, fused=fused)
    updates = tf.get_collection(UPDATES)
    batch = sample((8, 3))
    run(updates, {x: batch})
    run(updates, {x: np.full([8, 3], np.nan)})
    np.testing.assert_allclose(run(variable("moving_mean")), batch.mean(0), rtol=1e-4)
    run(updates, {x: batch})
    np.testing.assert_allclose(run(variable("moving_mean")), batch.mean(0), rtol=1e-4)
