"""Optimizers by name, and their settings."""

import pytest

from deployment.optimize import optimizers
from tf_slim_compat import tf


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_each_optimizer_lowers_a_loss(name):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.get_variable("x", initializer=[1.0, -2.0])
        loss = tf.reduce_sum(tf.square(x))
        config = optimizers.OptimizerConfig(name=name)
        update = optimizers.build_optimizer(config, 0.05).minimize(loss)
        session.run(tf.global_variables_initializer())
        first = session.run(loss)
        for _ in range(20):
            session.run(update)
        assert session.run(loss) < first


@pytest.mark.parametrize(
    ("name", "given", "epsilon"),
    [
        ("rmsprop", None, 1.0),
        ("adadelta", None, 1.0),
        ("adam", None, 1e-8),
        ("adamw", None, 1e-8),
        ("lamb", None, 1e-6),
        ("lars", None, 0.0),
        ("adam", 0.1, 0.1),
        ("lamb", 0.1, 0.1),
        ("rmsprop", 1e-3, 1e-3),
    ],
)
def test_the_default_epsilon_depends_on_the_optimizer(name, given, epsilon):
    config = optimizers.OptimizerConfig(name=name, opt_epsilon=given)
    assert optimizers.build_optimizer(config, 0.1)._epsilon == epsilon


def test_an_unknown_name_is_an_error_with_the_nearest():
    config = optimizers.OptimizerConfig(name="momentun")
    with pytest.raises(
        ValueError, match=r"Unknown optimizer 'momentun'\. Nearest: momentum\."
    ):
        optimizers.build_optimizer(config, 0.1)


def test_decoupled_optimizers():
    names = {name for name in optimizers.OPTIMIZERS if optimizers.is_decoupled(name)}
    assert names == {"adamw", "lamb", "lars"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight_decay": -0.1}, "weight_decay must be 0 or more, but is -0.1"),
        ({"weight_decay": float("nan")}, "weight_decay must be 0 or more, but is nan"),
        ({"lars_trust_coefficient": 0}, "lars_trust_coefficient must be positive"),
    ],
)
def test_invalid_settings_are_errors(options, said):
    with pytest.raises(ValueError, match=said):
        optimizers.OptimizerConfig(**options)
