"""Linear, logistic and softmax regression against closed-form NumPy results."""

import numpy as np
import pytest

from nets import nets_factory
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")

BATCH, SIDE, CHANNELS = 6, 3, 2
FEATURES = SIDE * SIDE * CHANNELS
LEARNING_RATE = 0.1


@pytest.fixture
def images():
    shape = (BATCH, SIDE, SIDE, CHANNELS)
    return np.random.RandomState(1).uniform(-1, 1, shape).astype(np.float32)


def build(name, images, num_classes, **kwargs):
    """Returns outputs and end points of a network in training mode."""
    network_fn = nets_factory.get_network_fn(name, num_classes, 0.0, True)
    return network_fn(tf.constant(images), **kwargs)


def get_weights():
    """Returns the variables (weights, biases)."""
    weights, biases = tf.trainable_variables()
    return weights, biases


def run_with_random_weights(fetches):
    """Returns the weights, the biases and the values of `fetches`."""
    rng = np.random.RandomState(2)
    variables = get_weights()
    values = [rng.normal(size=v.shape.as_list()) for v in variables]
    with tf.Session() as session:
        for variable, value in zip(variables, values, strict=True):
            variable.load(value, session)
        return *values, session.run(fetches)


def run_one_step(loss):
    """Returns weights and biases after one step of gradient descent."""
    step = tf.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        return session.run(get_weights())


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "name, num_classes, columns",
    [
        ("linear_regression", 1, 1),
        ("linear_regression", 3, 3),
        ("logistic_regression", 2, 1),
        ("softmax_regression", 4, 4),
    ],
)
def test_variables(name, num_classes, columns, images):
    build(name, images, num_classes)
    scope = nets_factory.get_network(name).scope
    assert {v.op.name: v.shape.as_list() for v in tf.global_variables()} == {
        f"{scope}/logits/weights": [FEATURES, columns],
        f"{scope}/logits/biases": [columns],
    }


def test_linear_regression_values(images):
    values, end_points = build("linear_regression", images, 3)
    assert values is end_points["Logits"]
    assert "Predictions" not in end_points
    weights, biases, values = run_with_random_weights(values)
    expected = images.reshape(BATCH, FEATURES) @ weights + biases
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_linear_regression_step(images):
    targets = np.linspace(-1, 2, BATCH, dtype=np.float32)[:, None]
    values, _ = build("linear_regression", images, 1)
    weights, biases = run_one_step(tf.losses.mean_squared_error(targets, values))
    # From zero weights, the gradient of the mean of (x . w + b - y)^2.
    x = images.reshape(BATCH, FEATURES)
    np.testing.assert_allclose(
        weights, LEARNING_RATE * 2 / BATCH * x.T @ targets, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(biases, LEARNING_RATE * 2 * targets.mean(0), rtol=1e-4)


def test_linear_regression_converges_to_least_squares():
    rng = np.random.RandomState(3)
    x = rng.uniform(-1, 1, (50, 2)).astype(np.float32)
    targets = (x @ [[2.0], [-1.0]] + 0.5 + rng.normal(0, 0.1, (50, 1))).astype("f4")
    values, _ = build("linear_regression", x.reshape(50, 1, 2, 1), 1)
    step = tf.train.GradientDescentOptimizer(0.5).minimize(
        tf.losses.mean_squared_error(targets, values)
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(200):
            session.run(step)
        weights, biases = session.run(get_weights())
    with_bias = np.hstack([x, np.ones((50, 1))])
    expected, *_ = np.linalg.lstsq(with_bias, targets, rcond=None)
    np.testing.assert_allclose(np.append(weights, biases), expected[:, 0], rtol=1e-3)


def test_logistic_regression_values(images):
    logits, end_points = build("logistic_regression", images, 2)
    assert logits is end_points["Logits"]
    assert logits.shape.as_list() == [BATCH, 2]
    fetches = [logits, end_points["Predictions"]]
    weights, bias, (logits, probabilities) = run_with_random_weights(fetches)
    z = (images.reshape(BATCH, FEATURES) @ weights + bias)[:, 0]
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1], z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        probabilities, np.stack([1 - sigmoid(z), sigmoid(z)], 1), rtol=1e-4, atol=1e-6
    )


def test_logistic_regression_step(images):
    labels = np.array([0, 1, 1, 0, 1, 1])
    logits, _ = build("logistic_regression", images, 2)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    weights, bias = run_one_step(loss)
    # From zero weights, the gradient of the mean log loss is mean((0.5 - y) x).
    residuals = (labels - 0.5)[:, None]
    x = images.reshape(BATCH, FEATURES)
    np.testing.assert_allclose(
        weights, LEARNING_RATE / BATCH * x.T @ residuals, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(bias, LEARNING_RATE * residuals.mean(0), rtol=1e-4)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_logistic_regression_requires_two_classes(num_classes, images):
    with pytest.raises(
        ValueError, match=f"exactly 2 classes, not {num_classes}; use softmax_regress"
    ):
        build("logistic_regression", images, num_classes)


def test_softmax_regression_values(images):
    logits, end_points = build("softmax_regression", images, 4)
    fetches = [logits, end_points["Predictions"]]
    weights, biases, (logits, probabilities) = run_with_random_weights(fetches)
    expected = images.reshape(BATCH, FEATURES) @ weights + biases
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(expected), rtol=1e-4, atol=1e-6)


def test_softmax_regression_step(images):
    labels = np.array([0, 1, 2, 3, 1, 1])
    logits, _ = build("softmax_regression", images, 4)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    weights, biases = run_one_step(loss)
    # From zero weights, the gradient of the cross entropy is mean(x (1/4 - one_hot)).
    residuals = np.eye(4)[labels] - 0.25
    x = images.reshape(BATCH, FEATURES)
    np.testing.assert_allclose(
        weights, LEARNING_RATE / BATCH * x.T @ residuals, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        biases, LEARNING_RATE * residuals.mean(0), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    "name", ["linear_regression", "logistic_regression", "softmax_regression"]
)
def test_no_classes_gives_pixels(name, images):
    net, end_points = build(name, images, 0)
    assert not {"Logits", "Predictions"} & end_points.keys()
    with tf.Session() as session:
        np.testing.assert_array_equal(session.run(net), images.reshape(BATCH, FEATURES))


@pytest.mark.parametrize(
    "name, num_classes",
    [
        ("linear_regression", 1),
        ("logistic_regression", 2),
        ("softmax_regression", 4),
    ],
)
def test_weight_decay(name, num_classes, images):
    build_fn = nets_factory.get_network_fn(name, num_classes, weight_decay=0.5)
    build_fn(tf.constant(images))
    (loss,) = tf.losses.get_regularization_losses()
    weights, _, loss = run_with_random_weights(loss)
    assert loss == pytest.approx(0.5 * np.sum(weights**2) / 2, rel=1e-5)
