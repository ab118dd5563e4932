"""Learning-rate factors by scope: one optimizer for each group of variables."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from deployment.config_flags import SettingError
from deployment.models import restoring
from tf_slim_compat import tf

_FIELD = "{{learning_rate_factors}}"
_ALL_ZERO = f"{_FIELD} is 0 for every variable: leave some variables to train."
_Factors = Sequence[tuple[str, float]]


def parse_learning_rate_factors(text: str | None) -> tuple[tuple[str, float], ...]:
    """Parses learning-rate factors into (scope, factor) pairs.

    Args:
      text: comma-separated scopes with their factors, such as
        'InceptionV3/Logits:10,InceptionV3/Conv2d:0.1'; None or '' for none.

    Raises:
      ValueError: if a part does not have this form, or a scope is repeated.
    """
    factors = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        scope, colon, number = part.rpartition(":")
        scope = scope.strip().strip("/")
        try:
            factor = float(number)
        except ValueError:
            factor = -1.0
        if not (scope and colon and 0 <= factor < float("inf")):
            raise SettingError(
                f"{_FIELD} must be scopes with factors of 0 or more, such as "
                f"InceptionV3/Logits:10,InceptionV3/Conv2d:0.1, but contains {part!r}."
            )
        try:
            re.compile(scope)
        except re.error as error:
            raise SettingError(
                f"{_FIELD} contains the scope {scope!r}, which is not a valid regular "
                f"expression: {error}."
            ) from error
        if scope in factors:
            raise SettingError(
                f"{_FIELD} contains the scope {scope!r} twice: keep one."
            )
        factors[scope] = factor
    return tuple(factors.items())


def get_factor(name: str, factors: _Factors) -> float:
    """Returns the learning-rate factor of a variable; 1.0 if no scope matches.

    Args:
      name: the variable's name, without ':0'.
      factors: (scope, factor) pairs. A scope is a prefix of names, or a regular
        expression that matches from the start of the name. The first match applies.
    """
    for scope, factor in factors:
        if re.match(scope, name):
            return factor
    return 1.0


def check_factors(
    factors: _Factors, variables: Sequence[tf.Variable]
) -> dict[str, float]:
    """Checks that every scope has an effect, and returns the factor of each variable.

    Args:
      factors: (scope, factor) pairs.
      variables: the trained variables.

    Returns:
      Variable names to factors, in the order of `variables`.

    Raises:
      ValueError: if a scope matches no variable (the message gives the nearest scopes)
        or only variables that earlier scopes match; or if all factors are 0.
    """
    left = list(variables)
    for position, (scope, _) in enumerate(factors):
        try:
            matched = restoring.get_variables_in_scopes(variables, [scope], _FIELD)
        except ValueError as error:
            raise SettingError(str(error)) from None
        names = {variable.op.name for variable in matched}
        if not any(variable.op.name in names for variable in left):
            earlier = ", ".join(repr(s) for s, _ in factors[:position])
            raise SettingError(
                f"{_FIELD} contains the scope {scope!r} after {earlier}, which already "
                "match all of its variables; the first match applies, so move it to "
                "the front."
            )
        left = [variable for variable in left if variable.op.name not in names]
    found = {v.op.name: get_factor(v.op.name, factors) for v in variables}
    if found and not any(found.values()):
        raise SettingError(_ALL_ZERO)
    return found


class GroupedOptimizer(tf.train.Optimizer):
    """Applies a separate optimizer to the variables of each learning-rate factor.

    Variables with factor 1 use the plain optimizer, so its variables have their usual
    names in checkpoints. The slots of the others have their usual names as well, but
    further state, such as `beta1_power` of Adam, is in `learning_rate_factor_10/`.
    Variables with factor 0 have neither an optimizer nor a gradient.

    Args:
      build_optimizer: builds the `tf.train.Optimizer` for a factor.
      find_factor: returns the factor of a variable, given its name without ':0'.
      name: the optimizer's name.
    """

    def __init__(
        self,
        build_optimizer: Callable[[float], tf.train.Optimizer],
        find_factor: Callable[[str], float],
        name: str = "GroupedOptimizer",
    ) -> None:
        super().__init__(use_locking=False, name=name)
        self._build_optimizer = build_optimizer
        self._find_factor = find_factor
        self._optimizers = {}

    def compute_gradients(
        self,
        loss: tf.Tensor,
        var_list: Sequence[tf.Variable] | None = None,
        **kwargs: Any,
    ) -> list[tuple[Any, tf.Variable]]:
        """See `tf.train.Optimizer`. Variables with factor 0 are left out."""
        if var_list is None:
            var_list = tf.trainable_variables()
        trained = [v for v in var_list if self._factor(v)]
        if not trained:
            raise SettingError(_ALL_ZERO)
        return super().compute_gradients(loss, trained, **kwargs)

    def apply_gradients(
        self,
        grads_and_vars: Sequence[tuple[Any, tf.Variable]],
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See `tf.train.Optimizer`. Increments `global_step` once."""
        groups = {}
        for gradient, variable in grads_and_vars:
            if gradient is not None and self._factor(variable):
                pairs = groups.setdefault(self._factor(variable), [])
                pairs.append((gradient, variable))
        if not groups:
            raise SettingError(
                "No variable with a nonzero learning-rate factor has a gradient."
            )
        updates = []
        for factor, pairs in groups.items():
            optimizer = self._optimizer(factor)
            if factor == 1:
                updates.append(optimizer.apply_gradients(pairs))
                continue
            # With the slash the scope is absolute, whatever scope the caller is in.
            with tf.name_scope(f"learning_rate_factor_{factor:g}/".replace("+", "")):
                updates.append(optimizer.apply_gradients(pairs))
        name = name or self.get_name()
        if global_step is None:
            return tf.group(*updates, name=name)
        with tf.control_dependencies(updates):
            return global_step.assign_add(1, read_value=False, name=name)

    def get_slot(self, var: tf.Variable, name: str) -> tf.Variable | None:
        """Returns the slot `name` of a variable, or None."""
        optimizer = self._optimizers.get(self._factor(var))
        return optimizer.get_slot(var, name) if optimizer else None

    def get_slot_names(self) -> list[str]:
        """Returns the slot names of all optimizers, sorted."""
        optimizers = self._optimizers.values()
        return sorted({name for o in optimizers for name in o.get_slot_names()})

    def variables(self) -> list[tf.Variable]:
        """Returns the variables of all optimizers, sorted by name."""
        found = [v for o in self._optimizers.values() for v in o.variables()]
        return sorted(found, key=lambda variable: variable.name)

    def _factor(self, variable: tf.Variable) -> float:
        return self._find_factor(variable.op.name)

    def _optimizer(self, factor: float) -> tf.train.Optimizer:
        if factor not in self._optimizers:
            self._optimizers[factor] = self._build_optimizer(factor)
        return self._optimizers[factor]
