"""Optimizers by name, with the settings that the flags offer."""

import dataclasses
import difflib

from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of all optimizers; each uses its own.

    Attributes:
      name: one of `OPTIMIZERS`.
      opt_epsilon: the term that keeps a division finite. None takes the
        optimizer's own: 1.0 for rmsprop and adadelta, 1e-8 for adam, whose
        updates 1.0 would shrink a thousandfold.
    """

    name: str = "rmsprop"
    adadelta_rho: float = 0.95
    adagrad_initial_accumulator_value: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    opt_epsilon: float | None = None
    ftrl_learning_rate_power: float = -0.5
    ftrl_initial_accumulator_value: float = 0.1
    ftrl_l1: float = 0.0
    ftrl_l2: float = 0.0
    momentum: float = 0.9
    rmsprop_momentum: float = 0.9
    rmsprop_decay: float = 0.9

    def epsilon(self, default):
        return default if self.opt_epsilon is None else self.opt_epsilon


def _adadelta(rate, config):
    return tf.train.AdadeltaOptimizer(
        rate, rho=config.adadelta_rho, epsilon=config.epsilon(1.0)
    )


def _adagrad(rate, config):
    return tf.train.AdagradOptimizer(
        rate, initial_accumulator_value=config.adagrad_initial_accumulator_value
    )


def _adam(rate, config):
    return tf.train.AdamOptimizer(
        rate,
        beta1=config.adam_beta1,
        beta2=config.adam_beta2,
        epsilon=config.epsilon(1e-8),
    )


def _ftrl(rate, config):
    return tf.train.FtrlOptimizer(
        rate,
        learning_rate_power=config.ftrl_learning_rate_power,
        initial_accumulator_value=config.ftrl_initial_accumulator_value,
        l1_regularization_strength=config.ftrl_l1,
        l2_regularization_strength=config.ftrl_l2,
    )


def _momentum(rate, config):
    return tf.train.MomentumOptimizer(rate, momentum=config.momentum, name="Momentum")


def _rmsprop(rate, config):
    return tf.train.RMSPropOptimizer(
        rate,
        decay=config.rmsprop_decay,
        momentum=config.rmsprop_momentum,
        epsilon=config.epsilon(1.0),
    )


def _sgd(rate, config):
    return tf.train.GradientDescentOptimizer(rate)


OPTIMIZERS = {
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "adam": _adam,
    "ftrl": _ftrl,
    "momentum": _momentum,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


def build_optimizer(config, learning_rate):
    """The `tf.train.Optimizer` of an `OptimizerConfig`.

    Args:
      config: an `OptimizerConfig`.
      learning_rate: a float or a float32 scalar tensor.

    Raises:
      ValueError: if there is no optimizer of that name.
    """
    if config.name not in OPTIMIZERS:
        nearest = difflib.get_close_matches(config.name, OPTIMIZERS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(
            f"There is no optimizer {config.name!r}.{hint} Known: "
            f"{', '.join(sorted(OPTIMIZERS))}."
        )
    return OPTIMIZERS[config.name](learning_rate, config)
