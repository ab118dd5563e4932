"""AdamW, LAMB and LARS against the formulas of their papers in NumPy."""

import inspect

import numpy as np
import pytest

from deployment.optimize import decoupled_optimizers, optimizers
from tf_slim_compat import tf

STEPS = 6
RATE, DECAY, EPSILON = 0.1, 0.3, 1e-5
SHAPES = {"layer/weights": (3, 2), "layer/gamma": (2,), "zero/weights": (2, 2)}


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("AdamWOptimizer", {"beta1": 0.9, "beta2": 0.999}),
        ("LARSOptimizer", {"momentum": 0.9, "trust_coefficient": 0.001}),
    ],
)
def test_defaults_are_those_of_the_papers(name, defaults):
    parameters = inspect.signature(getattr(decoupled_optimizers, name)).parameters
    assert {key: parameters[key].default for key in defaults} == defaults


def start_values():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    values["zero/weights"][:] = 0
    return values


def gradients_of(step):
    rng = np.random.default_rng(step + 1)
    gradients = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    if step == 3:
        gradients["layer/weights"][:] = 0
    return gradients


class Moments:
    """The bias-corrected moments of Adam."""

    def __init__(self):
        self.m = self.v = self.step = 0.0

    def __call__(self, gradient):
        self.step += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.99 * self.v + 0.01 * gradient**2
        return self.m / (1 - 0.9**self.step), self.v / (1 - 0.99**self.step)


def adamw(w, gradient, state, rate, decay, adapts):
    m, v = state.setdefault("moments", Moments())(gradient)
    # TensorFlow adds epsilon before the bias correction of v.
    epsilon = EPSILON / np.sqrt(1 - 0.99 ** state["moments"].step)
    return w - rate * (m / (np.sqrt(v) + epsilon) + decay * w)


def lamb(w, gradient, state, rate, decay, adapts):
    m, v = state.setdefault("moments", Moments())(gradient)
    update = m / (np.sqrt(v) + EPSILON) + decay * w
    norms = np.linalg.norm(w), np.linalg.norm(update)
    ratio = norms[0] / norms[1] if adapts and all(norms) else 1
    return w - rate * ratio * update


def lars(w, gradient, state, rate, decay, adapts):
    norms = np.linalg.norm(w), np.linalg.norm(gradient)
    if adapts and all(norms):
        rate = rate * 0.02 * norms[0] / (norms[1] + decay * norms[0] + EPSILON)
    step = rate * (gradient + decay * w)
    state["velocity"] = 0.8 * state.get("velocity", 0) + step
    return w - state["velocity"]


RULES = {"adamw": adamw, "lamb": lamb, "lars": lars}


def config(name, **options):
    return optimizers.OptimizerConfig(
        name=name,
        adam_beta1=0.9,
        adam_beta2=0.99,
        opt_epsilon=EPSILON,
        momentum=0.8,
        lars_trust_coefficient=0.02,
        weight_decay=DECAY,
        **options,
    )


def expected_path(name, decays_all):
    values, states = start_values(), {name: {} for name in SHAPES}
    for step in range(STEPS):
        rate = RATE / (step + 1)
        for key, gradient in gradients_of(step).items():
            decays = decays_all or len(SHAPES[key]) > 1
            decay = DECAY if decays else 0
            values[key] = RULES[name](
                values[key], gradient, states[key], rate, decay, decays
            )
        yield dict(values)


class Run:
    """Trains variables with fed gradients, in its own graph."""

    def __init__(self, optimizer_config):
        with tf.Graph().as_default() as self.graph:
            self.variables = {
                name: tf.get_variable(name, initializer=value.astype(np.float32))
                for name, value in start_values().items()
            }
            self.feeds = {
                name: tf.placeholder(tf.float32, shape)
                for name, shape in SHAPES.items()
            }
            self.rate = tf.placeholder(tf.float32, [])
            self.optimizer = optimizers.build_optimizer(optimizer_config, self.rate)
            self.update = self.optimizer.apply_gradients(
                [(self.feeds[name], self.variables[name]) for name in SHAPES]
            )
            self.saver = tf.train.Saver()
            self.session = tf.Session()
            self.session.run(tf.global_variables_initializer())

    def step(self, number):
        feed = {self.feeds[k]: g for k, g in gradients_of(number).items()}
        feed[self.rate] = RATE / (number + 1)
        self.session.run(self.update, feed)
        return self.session.run(self.variables)


@pytest.mark.parametrize("decays_all", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_steps_equal_the_formulas_of_the_paper(name, decays_all):
    run = Run(config(name, decay_all_variables=decays_all))
    for step, expected in enumerate(expected_path(name, decays_all)):
        found = run.step(step)
        for key in SHAPES:
            np.testing.assert_allclose(
                found[key], expected[key], rtol=2e-5, atol=1e-6, err_msg=f"{key} {step}"
            )


@pytest.mark.parametrize("name", RULES)
def test_a_restored_run_continues_bit_identically(name, tmp_path):
    first, second = Run(config(name)), Run(config(name))
    for step in range(3):
        first.step(step)
    path = first.saver.save(first.session, str(tmp_path / "model.ckpt"))
    second.saver.restore(second.session, path)
    for step in range(3, STEPS):
        expected, found = first.step(step), second.step(step)
    for key in SHAPES:
        np.testing.assert_array_equal(found[key], expected[key])


@pytest.mark.parametrize(
    ("name", "slots", "names"),
    [
        ("adamw", ["m", "v"], ["w/AdamW", "w/AdamW_1"]),
        ("lamb", ["m", "v"], ["w/LAMB", "w/LAMB_1"]),
        ("lars", ["momentum"], ["w/LARS"]),
    ],
)
def test_names_of_slots(name, slots, names):
    with tf.Graph().as_default():
        weights = tf.get_variable("w", [2, 2])
        optimizer = optimizers.build_optimizer(config(name), 0.1)
        optimizer.minimize(tf.nn.l2_loss(weights))
        assert optimizer.get_slot_names() == slots
        found = [optimizer.get_slot(weights, slot).op.name for slot in slots]
        assert found == names
        powers = ["beta1_power", "beta2_power"] if len(slots) == 2 else []
        assert [v.op.name for v in optimizer.variables()] == powers + names


@pytest.mark.parametrize("name", RULES)
def test_sparse_gradients_are_an_error(name):
    with tf.Graph().as_default():
        table = tf.get_variable("embedding/table", [5, 2])
        loss = tf.nn.l2_loss(tf.gather(table, [1, 3, 3]))
        optimizer = optimizers.build_optimizer(config(name), 0.1)
        with pytest.raises(
            ValueError, match="the gradient of embedding/table is sparse"
        ):
            optimizer.minimize(loss)


@pytest.mark.parametrize("name", RULES)
def test_reference_variables_are_an_error(name):
    with tf.Graph().as_default():
        weights = tf.get_variable("w", [2, 2], use_resource=False)
        optimizer = optimizers.build_optimizer(config(name), 0.1)
        with pytest.raises(
            ValueError, match="updates resource variables only, but w is"
        ):
            optimizer.minimize(tf.nn.l2_loss(weights))


@pytest.mark.parametrize("name", RULES)
def test_the_update_waits_for_every_read_of_the_weights(name):
    """A decay before the gradient would change the weights that it depends on."""
    with tf.Graph().as_default(), tf.Session() as session:
        weights = tf.get_variable("w", initializer=np.eye(40, dtype=np.float32))
        product = weights
        for _ in range(20):
            product = tf.matmul(product, weights)
        optimizer = optimizers.build_optimizer(config(name), 0.1)
        (gradient, _), *_ = pairs = optimizer.compute_gradients(tf.reduce_sum(product))
        update = optimizer.apply_gradients(pairs)
        session.run(tf.global_variables_initializer())
        found, _ = session.run([gradient, update])
        np.testing.assert_array_equal(found, np.full((40, 40), 21.0))


def test_the_decay_of_zero_gradients_is_exact():
    with tf.Graph().as_default(), tf.Session() as session:
        weights = tf.get_variable("w", initializer=[[1.0, -2.0]])
        optimizer = decoupled_optimizers.AdamWOptimizer(0.5, weight_decay=0.5)
        update = optimizer.apply_gradients([(tf.zeros([1, 2]), weights)])
        session.run(tf.global_variables_initializer())
        session.run(update)
        np.testing.assert_array_equal(session.run(weights), [[0.75, -1.5]])
