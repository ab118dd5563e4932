"""Optimizers with decoupled weight decay: AdamW, LAMB and LARS.

TensorFlow's optimizers decay weights only through an L2 loss. Adam would divide its
gradient by the root mean square of past gradients, which cancels the decay of the
weights that move most, and LAMB and LARS would count it as part of the gradient in
their layer-wise rates. These optimizers decay weights in the update instead, and the
network is built without an L2 loss.

Variables of rank 1 or less, which are biases and normalization parameters, have neither
decay nor a layer-wise rate unless `decays_all` is set.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from tf_slim_compat import tf


class _Decoupled:
    """Chooses the variables that decay; rejects updates that are not implemented."""

    _decays_all: bool

    def _decays(self, variable: tf.Variable) -> bool:
        return self._decays_all or variable.shape.rank > 1

    def _apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> NoReturn:
        raise ValueError(
            f"{self.get_name()} updates resource variables only, but {var.op.name} is "
            "a reference variable: call tf.enable_resource_variables() before building "
            "the network."
        )

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Any, handle: Any, indices: Any
    ) -> NoReturn:
        del grad, indices
        raise ValueError(
            f"{self.get_name()} takes dense gradients only, but the gradient of "
            f"{handle.op.name} is sparse, as embedding lookups make it: use another "
            "optimizer, or multiply by one-hot vectors instead of a lookup."
        )

    def _apply_sparse_duplicate_indices(self, grad: Any, var: tf.Variable) -> NoReturn:
        return self._resource_apply_sparse_duplicate_indices(grad, var, None)


class AdamWOptimizer(_Decoupled, tf.train.AdamOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

    One step, with Adam's bias-corrected moments m and v:

        w -= learning_rate * (m / (sqrt(v) + epsilon) + weight_decay * w)

    The decay is scaled by the learning rate and its schedule, as in most current
    implementations. Typical values are 0.01 to 0.1, a thousand times those of an L2
    loss. The slots are those of Adam: `m` and `v`.

    Args:
      learning_rate: float, or a float32 scalar tensor.
      weight_decay: decay rate.
      beta1: decay of the mean of the gradients.
      beta2: decay of the mean of the squared gradients.
      epsilon: avoids division by zero; added before the bias correction, as in
        `tf.train.AdamOptimizer`.
      decays_all: whether variables of rank 1 or less decay too.
      name: the optimizer's name, which is part of its variables' names.
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor,
        weight_decay: float = 0.0,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        decays_all: bool = False,
        name: str = "AdamW",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)
        self._weight_decay = weight_decay
        self._decays_all = decays_all

    def _resource_apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> tf.Operation:
        if not self._weight_decay or not self._decays(var):
            return super()._resource_apply_dense(grad, var)
        # After the gradient, whose computation reads the variable.
        with tf.control_dependencies([grad]):
            fraction = tf.cast(self._lr_t * self._weight_decay, var.dtype.base_dtype)
            decay = var.assign_sub(fraction * var.read_value(), read_value=False)
        with tf.control_dependencies([decay]):
            return super()._resource_apply_dense(grad, var)


class LAMBOptimizer(AdamWOptimizer):
    """Adam with layer-wise rates for large batches (You et al. 2020, arXiv:1904.00962).

    One step, with Adam's bias-corrected moments m and v:

        u = m / (sqrt(v) + epsilon) + weight_decay * w
        w -= learning_rate * norm(w) / norm(u) * u

    The ratio of the norms is 1 where either norm is 0, and for variables that do not
    decay. The slots are `m` and `v`.

    Args:
      learning_rate: float, or a float32 scalar tensor.
      weight_decay: decay rate, typically 0.01.
      epsilon: avoids division by zero; added after the bias correction.
      name: the optimizer's name, which is part of its variables' names.
      **kwargs: further arguments of `AdamWOptimizer`. With `decays_all`, variables of
        rank 1 or less have a layer-wise rate as well.
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor,
        weight_decay: float = 0.0,
        *,
        epsilon: float = 1e-6,
        name: str = "LAMB",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, epsilon=epsilon, name=name, **kwargs
        )

    def _resource_apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> tf.Operation:
        rate, beta1, beta2, epsilon, power1, power2 = (
            tf.cast(value, var.dtype.base_dtype)
            for value in (
                self._lr_t,
                self._beta1_t,
                self._beta2_t,
                self._epsilon_t,
                *self._get_beta_accumulators(),
            )
        )
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        new_m = beta1 * m + (1 - beta1) * grad
        new_v = beta2 * v + (1 - beta2) * tf.square(grad)
        update = new_m / (1 - power1) / (tf.sqrt(new_v / (1 - power2)) + epsilon)
        # After the gradient, whose computation reads the variable.
        with tf.control_dependencies([grad]):
            weights = var.read_value()
        if self._decays(var):
            update += self._weight_decay * weights
            rate *= _ratio_or_one(tf.norm(weights), tf.norm(update))
        return tf.group(
            m.assign(new_m, read_value=False),
            v.assign(new_v, read_value=False),
            var.assign_sub(rate * update, read_value=False),
        )


class LARSOptimizer(_Decoupled, tf.train.Optimizer):
    """Momentum with layer-wise rates for large batches (You et al. 2017).

    One step of arXiv:1708.03888, algorithm 1, with velocity d:

        rate = learning_rate * trust_coefficient * norm(w)
               / (norm(gradient) + weight_decay * norm(w) + epsilon)
        d = momentum * d + rate * (gradient + weight_decay * w)
        w -= d

    `rate` is the plain learning rate where norm(w) or norm(gradient) is 0, and for
    variables that do not decay. The slot is `momentum`.

    Args:
      learning_rate: float, or a float32 scalar tensor.
      weight_decay: decay rate.
      momentum: fraction of the velocity that is kept.
      trust_coefficient: relative change of a layer in one step at a learning rate of 1.
      epsilon: avoids division by zero.
      decays_all: whether variables of rank 1 or less have decay and a layer-wise rate
        too.
      name: the optimizer's name, which is part of its variables' names.
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor,
        weight_decay: float = 0.0,
        *,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        decays_all: bool = False,
        name: str = "LARS",
    ) -> None:
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._momentum = momentum
        self._trust_coefficient = trust_coefficient
        self._epsilon = epsilon
        self._decays_all = decays_all

    def _create_slots(self, var_list: Sequence[tf.Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self.get_name())

    def _prepare(self) -> None:
        self._rate = tf.convert_to_tensor(self._learning_rate, name="learning_rate")

    def _resource_apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> tf.Operation:
        rate = tf.cast(self._rate, var.dtype.base_dtype)
        update = grad
        if self._decays(var):
            # After the gradient, whose computation reads the variable.
            with tf.control_dependencies([grad]):
                weights = var.read_value()
            weights_norm, grad_norm = tf.norm(weights), tf.norm(grad)
            rate *= tf.where(
                (weights_norm > 0) & (grad_norm > 0),
                self._trust_coefficient
                * weights_norm
                / (grad_norm + self._weight_decay * weights_norm + self._epsilon),
                tf.ones_like(weights_norm),
            )
            update += self._weight_decay * weights
        return tf.raw_ops.ResourceApplyMomentum(
            var=var.handle,
            accum=self.get_slot(var, "momentum").handle,
            lr=tf.ones_like(rate),
            grad=rate * update,
            momentum=tf.cast(self._momentum, var.dtype.base_dtype),
        )


def _ratio_or_one(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Returns numerator / denominator, or 1 where either is 0."""
    return tf.where(
        (numerator > 0) & (denominator > 0),
        numerator / denominator,
        tf.ones_like(numerator),
    )
