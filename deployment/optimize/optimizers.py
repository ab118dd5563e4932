"""Optimizers by name, and their settings."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from deployment import ranges, text
from deployment.config_flags import setting
from deployment.optimize import decoupled_optimizers, grouped_optimizers, layer_decay
from tf_slim_compat import tf

parse_learning_rate_factors = grouped_optimizers.parse_learning_rate_factors


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of all optimizers; each uses its own.

    Most fields are described where they are defined; in addition:

    Attributes:
      opt_epsilon: if None, the optimizer's default: 1.0 for rmsprop and adadelta, as in
        TF-Slim; 1e-8 for adam and adamw, whose updates 1.0 would shrink a
        thousandfold; 1e-6 for lamb, 0 for lars.
      weight_decay: applied by adamw, lamb and lars themselves (see `is_decoupled`); the
        others leave it to the L2 loss of the network.
      learning_rate_factors: (scope, factor) pairs. A scope is a prefix of variable
        names, or a regular expression that matches from their start; the first match
        applies.

    Raises:
      ValueError: if a value is out of range.
    """

    name: str = setting(
        "rmsprop",
        "Optimizer: adadelta, adagrad, adam, adamw, ftrl, lamb, lars, momentum, "
        "rmsprop or sgd.",
        flag="optimizer",
    )
    adadelta_rho: float = setting(0.95, "Decay rate of adadelta.")
    adagrad_initial_accumulator_value: float = setting(
        0.1, "Initial value of adagrad's accumulators."
    )
    adam_beta1: float = setting(
        0.9, "Decay of the first moments of adam, adamw and lamb."
    )
    adam_beta2: float = setting(
        0.999, "Decay of the second moments of adam, adamw and lamb."
    )
    opt_epsilon: float | None = setting(
        None,
        "Term that keeps the optimizer's divisions finite. If unset: 1.0 for rmsprop "
        "and adadelta, 1e-8 for adam and adamw, 1e-6 for lamb, 0 for lars.",
    )
    ftrl_learning_rate_power: float = setting(-0.5, "Learning rate power of ftrl.")
    ftrl_initial_accumulator_value: float = setting(
        0.1, "Initial value of ftrl's accumulators."
    )
    ftrl_l1: float = setting(0.0, "L1 regularization strength of ftrl.")
    ftrl_l2: float = setting(0.0, "L2 regularization strength of ftrl.")
    momentum: float = setting(0.9, "Momentum of the optimizers momentum and lars.")
    rmsprop_momentum: float = setting(0.9, "Momentum of rmsprop.")
    rmsprop_decay: float = setting(0.9, "Decay of rmsprop's mean squared gradients.")
    weight_decay: float = setting(
        0.0,
        "Weight of the L2 loss on the weights. adamw, lamb and lars decay the weights "
        "themselves instead; for adamw, 0.01 to 0.1 is usual.",
    )
    decay_all_variables: bool = setting(
        False,
        "Whether adamw, lamb and lars also decay biases and the parameters of batch "
        "normalization (variables of rank 1 or less).",
    )
    lars_trust_coefficient: float = setting(
        0.001,
        "Relative change of a layer's weights in a step of lars at a learning rate of "
        "1.",
    )
    learning_rate_factors: tuple[tuple[str, float], ...] = setting(
        (),
        "Comma-separated factors of the learning rate by variable scope, such as "
        "InceptionV3/Logits:10,InceptionV3/Conv2d:0.1; 0 freezes a scope.",
        kind=str,
        parse=parse_learning_rate_factors,
    )
    layer_decay: float = setting(
        1.0,
        "Factor of the learning rate from each layer of the network to the one before "
        "it, such as 0.75 for fine-tuning; the last layer has --learning_rate. A layer "
        "is what the network's scope directly contains, such as InceptionV3/Mixed_5b.",
    )

    def __post_init__(self) -> None:
        ranges.check(
            self,
            adadelta_rho=ranges.BELOW_ONE,
            adagrad_initial_accumulator_value=ranges.AT_LEAST_ZERO,
            adam_beta1=ranges.BELOW_ONE,
            adam_beta2=ranges.BELOW_ONE,
            opt_epsilon=ranges.AT_LEAST_ZERO,
            ftrl_initial_accumulator_value=ranges.AT_LEAST_ZERO,
            ftrl_l1=ranges.AT_LEAST_ZERO,
            ftrl_l2=ranges.AT_LEAST_ZERO,
            momentum=ranges.BELOW_ONE,
            rmsprop_momentum=ranges.BELOW_ONE,
            rmsprop_decay=ranges.BELOW_ONE,
            weight_decay=ranges.AT_LEAST_ZERO,
            lars_trust_coefficient=ranges.POSITIVE,
            layer_decay=ranges.UP_TO_ONE,
        )

    def epsilon(self, default: float) -> float:
        """Returns `opt_epsilon`, or `default` if it is None."""
        return default if self.opt_epsilon is None else self.opt_epsilon


_Rate = float | tf.Tensor


def _adadelta(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.AdadeltaOptimizer(
        rate, rho=config.adadelta_rho, epsilon=config.epsilon(1.0)
    )


def _adagrad(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.AdagradOptimizer(
        rate, initial_accumulator_value=config.adagrad_initial_accumulator_value
    )


def _moments(config: OptimizerConfig, epsilon: float) -> dict[str, Any]:
    return {
        "beta1": config.adam_beta1,
        "beta2": config.adam_beta2,
        "epsilon": config.epsilon(epsilon),
    }


def _decay(config: OptimizerConfig) -> dict[str, Any]:
    return {
        "weight_decay": config.weight_decay,
        "decays_all": config.decay_all_variables,
    }


def _adam(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.AdamOptimizer(rate, **_moments(config, 1e-8))


def _adamw(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return decoupled_optimizers.AdamWOptimizer(
        rate, **_moments(config, 1e-8), **_decay(config)
    )


def _ftrl(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.FtrlOptimizer(
        rate,
        learning_rate_power=config.ftrl_learning_rate_power,
        initial_accumulator_value=config.ftrl_initial_accumulator_value,
        l1_regularization_strength=config.ftrl_l1,
        l2_regularization_strength=config.ftrl_l2,
    )


def _lamb(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return decoupled_optimizers.LAMBOptimizer(
        rate, **_moments(config, 1e-6), **_decay(config)
    )


def _lars(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return decoupled_optimizers.LARSOptimizer(
        rate,
        momentum=config.momentum,
        trust_coefficient=config.lars_trust_coefficient,
        epsilon=config.epsilon(0.0),
        **_decay(config),
    )


def _momentum(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.MomentumOptimizer(rate, momentum=config.momentum, name="Momentum")


def _rmsprop(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.RMSPropOptimizer(
        rate,
        decay=config.rmsprop_decay,
        momentum=config.rmsprop_momentum,
        epsilon=config.epsilon(1.0),
    )


def _sgd(rate: _Rate, config: OptimizerConfig) -> tf.train.Optimizer:
    return tf.train.GradientDescentOptimizer(rate)


OPTIMIZERS: dict[str, Callable[[_Rate, OptimizerConfig], tf.train.Optimizer]] = {
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


def is_decoupled(name: str) -> bool:
    """Returns whether an optimizer decays weights itself, instead of an L2 loss."""
    return name in DECOUPLED


def check_factors(
    config: OptimizerConfig, variables: Sequence[tf.Variable]
) -> dict[str, float]:
    """Checks the learning-rate factors, and returns the factor of each variable.

    Args:
      config: an `OptimizerConfig`.
      variables: the trained variables.

    Returns:
      Variable names to factors, in the order of `variables`.

    Raises:
      ValueError: if a scope of `config.learning_rate_factors` has no effect; the
        message gives the nearest scopes.
    """
    return grouped_optimizers.check_factors(config.learning_rate_factors, variables)


def build_optimizer(
    config: OptimizerConfig, learning_rate: float | tf.Tensor
) -> tf.train.Optimizer:
    """Builds the optimizer of a configuration.

    Args:
      config: an `OptimizerConfig`.
      learning_rate: float, or a float32 scalar tensor.

    With `layer_decay`, the layers are those of the trainable variables in the default
    graph.

    Raises:
      ValueError: if there is no optimizer of that name.
    """
    if config.name not in OPTIMIZERS:
        raise ValueError(text.unknown("optimizer", config.name, OPTIMIZERS))
    build = OPTIMIZERS[config.name]
    if not config.learning_rate_factors and config.layer_decay == 1:
        return build(learning_rate, config)
    names = [variable.op.name for variable in tf.trainable_variables()]
    decays = layer_decay.compute_factors(names, config.layer_decay)
    return grouped_optimizers.GroupedOptimizer(
        lambda factor: build(learning_rate * factor, config),
        functools.partial(_find_factor, decays, config.learning_rate_factors),
    )


def _find_factor(decays, factors, name):
    """Returns the learning-rate factor of a variable, by layer and by scope."""
    factor = decays.get(name, 1.0) * grouped_optimizers.get_factor(name, factors)
    # As in the names in checkpoints: equal names, equal optimizers.
    return float(f"{factor:g}")
