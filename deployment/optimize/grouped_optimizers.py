"""Layer-wise learning-rate factors: an optimizer for each group of variables."""

import re

from deployment.models import checkpoints
from tf_slim_compat import tf

_FLAG = "--learning_rate_factors"


def parse_learning_rate_factors(text):
    """The factors of a flag, a tuple of (scope, factor).

    Args:
      text: comma-separated scopes with their factors, such as
        'InceptionV3/Logits:10,InceptionV3/Conv2d:0.1'; None or '' for none.

    Raises:
      ValueError: if a part is not of that form, or a scope comes twice.
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
            raise ValueError(
                f"{_FLAG} must be scopes with factors of 0 or more, such as "
                f"InceptionV3/Logits:10,InceptionV3/Conv2d:0.1, but has {part!r}."
            )
        try:
            re.compile(scope)
        except re.error as error:
            raise ValueError(
                f"{_FLAG} has the scope {scope!r}, which is no valid pattern: {error}."
            ) from error
        if scope in factors:
            raise ValueError(f"{_FLAG} has the scope {scope!r} twice: keep one.")
        factors[scope] = factor
    return tuple(factors.items())


def get_factor(name, factors):
    """The learning-rate factor of the variable `name`.

    Args:
      name: a variable's name, without ':0'.
      factors: (scope, factor) pairs. A scope is a prefix of names, or a regular
        expression matched from their beginning. The first that matches counts.

    Returns:
      A float; 1.0 if no scope matches.
    """
    for scope, factor in factors:
        if re.match(scope, name):
            return factor
    return 1.0


def check_factors(factors, variables):
    """The factor of each variable, once every scope is known to have an effect.

    Args:
      factors: (scope, factor) pairs.
      variables: the variables that are trained.

    Returns:
      A dict from variable names to factors, in the order of `variables`.

    Raises:
      ValueError: if a scope matches no variable (the message names the nearest),
        or only such that an earlier scope matches; or if all factors are 0.
    """
    left = list(variables)
    for position, (scope, _) in enumerate(factors):
        matched = checkpoints.get_variables_in_scopes(variables, [scope], _FLAG)
        names = {variable.op.name for variable in matched}
        if not any(variable.op.name in names for variable in left):
            earlier = ", ".join(repr(s) for s, _ in factors[:position])
            raise ValueError(
                f"{_FLAG} has the scope {scope!r} after {earlier}, which match all of "
                "its variables already, and the first match counts: put it before."
            )
        left = [variable for variable in left if variable.op.name not in names]
    found = {v.op.name: get_factor(v.op.name, factors) for v in variables}
    if found and not any(found.values()):
        raise ValueError(f"{_FLAG} is 0 for every variable, so nothing is trained.")
    return found


class GroupedOptimizer(tf.train.Optimizer):
    """Gives the variables of each factor to an optimizer of their own.

    Variables of the factor 1 get the plain optimizer, so nothing of it has another
    name in a checkpoint. Slots of the others are named like the plain optimizer's
    too; what they keep beside slots, such as Adam's `beta1_power`, is under
    `learning_rate_factor_10/`. Variables of the factor 0 have no optimizer and no
    gradient.

    Args:
      build_optimizer: makes the `tf.train.Optimizer` of a factor, a float.
      factors: (scope, factor) pairs, see `get_factor`.
      name: the optimizer's name.
    """

    def __init__(self, build_optimizer, factors, name="GroupedOptimizer"):
        super().__init__(use_locking=False, name=name)
        self._build_optimizer = build_optimizer
        self._factors = tuple(factors)
        self._optimizers = {}

    def compute_gradients(self, loss, var_list=None, **kwargs):
        """See `tf.train.Optimizer`; variables of the factor 0 are left out."""
        if var_list is None:
            var_list = tf.trainable_variables()
        trained = [v for v in var_list if self._factor(v)]
        if not trained:
            raise ValueError(f"{_FLAG} is 0 for every variable, so nothing is trained.")
        return super().compute_gradients(loss, trained, **kwargs)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """See `tf.train.Optimizer`; `global_step` counts once."""
        groups = {}
        for gradient, variable in grads_and_vars:
            if gradient is not None and self._factor(variable):
                pairs = groups.setdefault(self._factor(variable), [])
                pairs.append((gradient, variable))
        if not groups:
            raise ValueError(
                "There is no gradient for any variable whose learning-rate factor is "
                "not 0."
            )
        updates = []
        for factor, pairs in groups.items():
            optimizer = self._optimizer(factor)
            if factor == 1:
                updates.append(optimizer.apply_gradients(pairs))
                continue
            # From the root, whatever scope the caller is in.
            with tf.name_scope(f"learning_rate_factor_{factor:g}/".replace("+", "")):
                updates.append(optimizer.apply_gradients(pairs))
        name = name or self.get_name()
        if global_step is None:
            return tf.group(*updates, name=name)
        with tf.control_dependencies(updates):
            return global_step.assign_add(1, read_value=False, name=name)

    def get_slot(self, var, name):
        """The slot `name` of a variable, or None."""
        optimizer = self._optimizers.get(self._factor(var))
        return optimizer.get_slot(var, name) if optimizer else None

    def get_slot_names(self):
        """The names of the slots that any of the optimizers has, sorted."""
        optimizers = self._optimizers.values()
        return sorted({name for o in optimizers for name in o.get_slot_names()})

    def variables(self):
        """The variables of all the optimizers, sorted by name."""
        found = [v for o in self._optimizers.values() for v in o.variables()]
        return sorted(found, key=lambda variable: variable.name)

    def _factor(self, variable):
        return get_factor(variable.op.name, self._factors)

    def _optimizer(self, factor):
        if factor not in self._optimizers:
            self._optimizers[factor] = self._build_optimizer(factor)
        return self._optimizers[factor]
