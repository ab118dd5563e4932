"""Optimizers by name, with the settings that the flags offer."""

import dataclasses
import difflib

from deployment.optimize import decoupled_optimizers, grouped_optimizers
from tf_slim_compat import tf

parse_learning_rate_factors = grouped_optimizers.parse_learning_rate_factors


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of all optimizers; each uses its own.

    Attributes:
      name: one of `OPTIMIZERS`.
      opt_epsilon: the term that keeps a division finite. None takes the
        optimizer's own: 1.0 for rmsprop and adadelta, 1e-8 for adam and adamw,
        whose updates 1.0 would shrink a thousandfold, 1e-6 for lamb, 0 for lars.
      momentum: of momentum and lars.
      adam_beta1: the decay of the first moments of adam, adamw and lamb.
      adam_beta2: the decay of the second moments of adam, adamw and lamb.
      weight_decay: the decay that adamw, lamb and lars apply themselves (see
        `is_decoupled`); the others leave it to the L2 loss of the network.
      decay_all_variables: whether biases and the parameters of normalisation,
        which are the variables of rank 1 or less, are decayed too.
      lars_trust_coefficient: the relative change of a layer that a learning rate
        of 1 allows in one step.
      learning_rate_factors: (scope, factor) pairs. The learning rate of the
        variables in a scope is multiplied by its factor; 0 leaves them as they
        are. A scope is a prefix of names, or a regular expression matched from
        their beginning, and the first that matches a variable counts.
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
    weight_decay: float = 0.0
    decay_all_variables: bool = False
    lars_trust_coefficient: float = 0.001
    learning_rate_factors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(
                f"weight_decay must be 0 or more, but is {self.weight_decay}."
            )
        if self.lars_trust_coefficient <= 0:
            raise ValueError(
                "lars_trust_coefficient must be positive, but is "
                f"{self.lars_trust_coefficient}."
            )

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


def _adamw(rate, config):
    return decoupled_optimizers.AdamWOptimizer(
        rate,
        weight_decay=config.weight_decay,
        beta1=config.adam_beta1,
        beta2=config.adam_beta2,
        epsilon=config.epsilon(1e-8),
        decays_all=config.decay_all_variables,
    )


def _ftrl(rate, config):
    return tf.train.FtrlOptimizer(
        rate,
        learning_rate_power=config.ftrl_learning_rate_power,
        initial_accumulator_value=config.ftrl_initial_accumulator_value,
        l1_regularization_strength=config.ftrl_l1,
        l2_regularization_strength=config.ftrl_l2,
    )


def _lamb(rate, config):
    return decoupled_optimizers.LAMBOptimizer(
        rate,
        weight_decay=config.weight_decay,
        beta1=config.adam_beta1,
        beta2=config.adam_beta2,
        epsilon=config.epsilon(1e-6),
        decays_all=config.decay_all_variables,
    )


def _lars(rate, config):
    return decoupled_optimizers.LARSOptimizer(
        rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        trust_coefficient=config.lars_trust_coefficient,
        epsilon=config.epsilon(0.0),
        decays_all=config.decay_all_variables,
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
    "adamw": _adamw,
    "ftrl": _ftrl,
    "lamb": _lamb,
    "lars": _lars,
    "momentum": _momentum,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}
DECOUPLED = ("adamw", "lamb", "lars")


def is_decoupled(name):
    """Whether the optimizer decays weights itself, so that no L2 loss should."""
    return name in DECOUPLED


def check_factors(config, variables):
    """The learning-rate factor of each variable that is trained, by its name.

    Args:
      config: an `OptimizerConfig`.
      variables: the variables that are trained.

    Raises:
      ValueError: if a scope of `config.learning_rate_factors` has no effect; the
        message names the nearest scopes.
    """
    return grouped_optimizers.check_factors(config.learning_rate_factors, variables)


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
    build = OPTIMIZERS[config.name]
    if not config.learning_rate_factors:
        return build(learning_rate, config)
    return grouped_optimizers.GroupedOptimizer(
        lambda factor: build(learning_rate * factor, config),
        config.learning_rate_factors,
    )
