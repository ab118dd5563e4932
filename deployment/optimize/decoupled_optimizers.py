"""Optimizers that decay weights themselves: AdamW, LAMB and LARS.

TensorFlow's optimizers know weight decay only as an L2 loss, which Adam's division
then takes back for the very weights that move most, and which would enter the
layer-wise rates of LAMB and LARS as a part of the gradient. So these decay in the
update, and the network is built without an L2 loss beside them.

Biases and the parameters of normalisation, which are the variables of rank 1 or
less, are neither decayed nor given a layer-wise rate unless `decays_all` is set.
"""

from tf_slim_compat import tf


class _Decoupled:
    """What the optimizers here share: which variables decay, and no sparse updates."""

    def _decays(self, variable):
        return self._decays_all or variable.shape.rank > 1

    def _apply_dense(self, grad, var):
        raise ValueError(
            f"{self.get_name()} updates resource variables, but {var.op.name} is none: "
            "call tf.enable_resource_variables() before the network is built."
        )

    def _resource_apply_sparse_duplicate_indices(self, grad, handle, indices):
        del grad, indices
        raise ValueError(
            f"{self.get_name()} takes dense gradients only, but that of "
            f"{handle.op.name} is sparse, as embedding look-ups make them: use another "
            "optimizer, or look up by a product with one-hot vectors."
        )

    def _apply_sparse_duplicate_indices(self, grad, var):
        return self._resource_apply_sparse_duplicate_indices(grad, var, None)


class AdamWOptimizer(_Decoupled, tf.train.AdamOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

    One step, with Adam's moments m and v, corrected for their start at zero:

        w -= learning_rate * (m / (sqrt(v) + epsilon) + weight_decay * w)

    The decay follows the learning rate and its schedule, as it does in today's
    implementations; usual values are 0.01 to 0.1, a thousand times those of an L2
    loss. Slots and their names are Adam's: `m` and `v`.

    Args:
      learning_rate: a float or a float32 scalar tensor.
      weight_decay: the rate of decay, a float.
      beta1: the decay of the mean of the gradients.
      beta2: the decay of the mean of their squares.
      epsilon: keeps the division finite; added before the corrections, as in
        `tf.train.AdamOptimizer`.
      decays_all: whether variables of rank 1 or less decay too.
      name: the optimizer's name, a part of its variables' names.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay=0.0,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        decays_all=False,
        name="AdamW",
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)
        self._weight_decay = weight_decay
        self._decays_all = decays_all

    def _resource_apply_dense(self, grad, var):
        if not self._weight_decay or not self._decays(var):
            return super()._resource_apply_dense(grad, var)
        # Not before the gradient is there: what computes it reads the variable.
        with tf.control_dependencies([grad]):
            share = tf.cast(self._lr_t * self._weight_decay, var.dtype.base_dtype)
            decay = var.assign_sub(share * var.read_value(), read_value=False)
        with tf.control_dependencies([decay]):
            return super()._resource_apply_dense(grad, var)


class LAMBOptimizer(_Decoupled, tf.train.AdamOptimizer):
    """Adam with layer-wise rates for large batches (You et al. 2020, arXiv:1904.00962).

    One step, with Adam's moments m and v, corrected for their start at zero:

        u = m / (sqrt(v) + epsilon) + weight_decay * w
        w -= learning_rate * norm(w) / norm(u) * u

    The ratio of the norms is 1 where either is 0, and for variables that do not
    decay. Slots are `m` and `v`.

    Args:
      learning_rate: a float or a float32 scalar tensor.
      weight_decay: the rate of decay, a float; usually 0.01.
      beta1: the decay of the mean of the gradients.
      beta2: the decay of the mean of their squares.
      epsilon: keeps the division finite.
      decays_all: whether variables of rank 1 or less have decay and a layer-wise
        rate too.
      name: the optimizer's name, a part of its variables' names.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay=0.0,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-6,
        decays_all=False,
        name="LAMB",
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)
        self._weight_decay = weight_decay
        self._decays_all = decays_all

    def _resource_apply_dense(self, grad, var):
        powers = self._get_beta_accumulators()
        rate, beta1, beta2, epsilon, power1, power2 = (
            tf.cast(value, var.dtype.base_dtype)
            for value in (
                self._lr_t,
                self._beta1_t,
                self._beta2_t,
                self._epsilon_t,
                *powers,
            )
        )
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        new_m = beta1 * m + (1 - beta1) * grad
        new_v = beta2 * v + (1 - beta2) * tf.square(grad)
        update = new_m / (1 - power1) / (tf.sqrt(new_v / (1 - power2)) + epsilon)
        # Not before the gradient is there: what computes it reads the variable.
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

    One step of arXiv:1708.03888, algorithm 1, with the momentum's velocity d:

        rate = learning_rate * trust_coefficient * norm(w)
               / (norm(gradient) + weight_decay * norm(w) + epsilon)
        d = momentum * d + rate * (gradient + weight_decay * w)
        w -= d

    `rate` is the learning rate alone where norm(w) or norm(gradient) is 0, and
    for variables that do not decay. The slot is `momentum`.

    Args:
      learning_rate: a float or a float32 scalar tensor.
      weight_decay: the rate of decay, a float.
      momentum: the share of the velocity that is kept, a float.
      trust_coefficient: the relative change of a layer that a learning rate of 1
        allows in one step, a float.
      epsilon: keeps the division finite.
      decays_all: whether variables of rank 1 or less have decay and a layer-wise
        rate too.
      name: the optimizer's name, a part of its variables' names.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay=0.0,
        momentum=0.9,
        trust_coefficient=0.001,
        epsilon=0.0,
        decays_all=False,
        name="LARS",
    ):
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._momentum = momentum
        self._trust_coefficient = trust_coefficient
        self._epsilon = epsilon
        self._decays_all = decays_all

    def _create_slots(self, var_list):
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self.get_name())

    def _prepare(self):
        self._rate = tf.convert_to_tensor(self._learning_rate, name="learning_rate")

    def _resource_apply_dense(self, grad, var):
        rate = tf.cast(self._rate, var.dtype.base_dtype)
        update = grad
        if self._decays(var):
            # Not before the gradient is there: what computes it reads the variable.
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


def _ratio_or_one(numerator, denominator):
    """numerator / denominator, or 1 where either is 0."""
    return tf.where(
        (numerator > 0) & (denominator > 0),
        numerator / denominator,
        tf.ones_like(numerator),
    )
