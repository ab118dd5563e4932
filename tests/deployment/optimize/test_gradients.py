"""Clipping, measuring and accumulating gradients."""

import numpy as np
import pytest

from deployment.optimize import gradients
from tf_slim_compat import tf


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


def pairs_of(*values):
    """Returns (gradient, variable) pairs; the last one has no gradient."""
    pairs = [
        (tf.constant(value), tf.get_variable(f"v{i}", np.shape(value)))
        for i, value in enumerate(values)
    ]
    return [*pairs, (None, tf.get_variable("none", [2]))]


def sparse_pair(indices, values, rows=4):
    table = tf.get_variable("table", [rows, len(values[0])])
    shape = tf.constant([rows, len(values[0])])
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(indices), shape)
    return slices, table


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ([3.0, -4.0], [[12.0]])),
        # The global norm is 13.
        ({"norm": 6.5}, ([1.5, -2.0], [[6.0]])),
        ({"norm": 100.0}, ([3.0, -4.0], [[12.0]])),
        ({"value": 3.5}, ([3.0, -3.5], [[3.5]])),
        # By value first: 3, -4, 5, with norm sqrt(50).
        ({"value": 5.0, "norm": 50**0.5 / 2}, ([1.5, -2.0], [[2.5]])),
    ],
)
def test_clip(session, limits, expected):
    pairs = pairs_of([3.0, -4.0], [[12.0]])
    clipped = gradients.clip(pairs, **limits)
    assert [v for _, v in clipped] == [v for _, v in pairs]
    assert clipped[-1][0] is None
    found = session.run([gradient for gradient, _ in clipped[:-1]])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_clip_keeps_sparse_gradients_sparse(session):
    pair = sparse_pair([1, 3], [[3.0, 0.0], [0.0, 4.0]])
    ((clipped, _),) = gradients.clip([pair], norm=2.5, value=100.0)
    assert isinstance(clipped, tf.IndexedSlices)
    np.testing.assert_allclose(session.run(clipped.values), [[1.5, 0.0], [0.0, 2.0]])


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
@pytest.mark.parametrize("name", ["norm", "value"])
def test_limits_must_be_positive(name, limit):
    with pytest.raises(ValueError, match=f"clip_gradient_{name} must be positive, but"):
        gradients.clip([], **{name: limit})


def test_measure(session):
    half = tf.constant([300.0, 300.0], tf.float16), tf.get_variable("half", [2])
    pairs = [
        *pairs_of([3.0, -4.0], [[1.0, np.inf]], [np.nan, 0.0]),
        sparse_pair([1, 3], [[3.0, 0.0], [0.0, 1.0]]),
        half,
    ]
    measured = gradients.measure(pairs)
    assert measured.dtype == tf.float32 and measured.shape.as_list() == [6]
    found = session.run(measured)
    np.testing.assert_array_equal(found, [25, np.inf, np.nan, 0, 10, 180000])
    assert gradients.measure([]).shape.as_list() == [0]


def build_linear(optimizer):
    """Returns the inputs, the targets and the gradients of a linear model."""
    inputs = tf.placeholder(tf.float32, [None, 3])
    targets = tf.placeholder(tf.float32, [None, 1])
    weights = tf.get_variable("weights", initializer=[[0.1], [0.2], [0.3]])
    bias = tf.get_variable("bias", initializer=[0.0])
    loss = tf.reduce_mean(tf.square(inputs @ weights + bias - targets))
    return inputs, targets, optimizer.compute_gradients(loss)


def run_linear(data, batches_per_step):
    with tf.Graph().as_default(), tf.Session() as session:
        optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
        inputs, targets, pairs = build_linear(optimizer)
        accumulator = gradients.Accumulator(pairs, batches_per_step)
        update = optimizer.apply_gradients(accumulator.mean_gradients)
        with tf.control_dependencies([update]):
            train_op = accumulator.build_reset_op()
        session.run(tf.global_variables_initializer())
        session.run(tf.local_variables_initializer())
        for images, labels in data:
            parts = zip(
                np.split(images, batches_per_step),
                np.split(labels, batches_per_step),
                strict=True,
            )
            for number, (some_images, some_labels) in enumerate(parts):
                is_last = number == batches_per_step - 1
                session.run(
                    train_op if is_last else accumulator.accumulate_op,
                    {inputs: some_images, targets: some_labels},
                )
        return session.run(tf.trainable_variables())


def test_four_batches_of_4_equal_one_of_16():
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(16, 3)), rng.normal(size=(16, 1))) for _ in range(5)]
    whole, parts = run_linear(data, 1), run_linear(data, 4)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert not np.allclose(whole[0][:, 0], [0.1, 0.2, 0.3], atol=0.05)


def test_sums_are_local_variables(session):
    pairs = [*pairs_of([1.0, 2.0]), sparse_pair([1, 1], [[3.0, 0.0], [0.0, 1.0]])]
    variables = tf.global_variables(), tf.trainable_variables()
    accumulator = gradients.Accumulator(pairs, 3)
    assert (tf.global_variables(), tf.trainable_variables()) == variables
    names = [variable.op.name for variable in tf.local_variables()]
    assert names == ["v0/gradient_sum", "table/gradient_sum"]
    assert accumulator.mean_gradients[1] == pairs[1]
    # Initialization does not depend on the model's variables.
    session.run(tf.local_variables_initializer())
    for _ in range(2):
        session.run(accumulator.accumulate_op)
    (dense, _), _, (from_sparse, _) = accumulator.mean_gradients
    np.testing.assert_allclose(session.run(dense), [1.0, 2.0], rtol=1e-6)
    expected = [[0, 0], [3, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(session.run(from_sparse), expected, rtol=1e-6)
    session.run(accumulator.build_reset_op())
    np.testing.assert_allclose(session.run(dense), [1 / 3, 2 / 3], rtol=1e-6)


def test_steps_must_be_positive():
    with pytest.raises(ValueError, match="must be 1 or more, but is 0"):
        gradients.Accumulator([], 0)
