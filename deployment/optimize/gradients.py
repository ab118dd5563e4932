"""Gradients between their computation and the update: clipped, watched, summed up."""

from tf_slim_compat import tf


def clip(grads_and_vars, norm=None, value=None):
    """Limits gradients, first value by value, then all of them together.

    Args:
      grads_and_vars: a list of (gradient, variable); gradients may be
        `tf.IndexedSlices` or None.
      norm: the largest norm of all gradients together (Pascanu et al. 2012,
        arXiv:1211.5063); None sets no limit. Where one of them is not finite, all
        of them become NaN.
      value: the largest absolute value of an element; None sets no limit.

    Returns:
      A list of (gradient, variable).

    Raises:
      ValueError: if a limit is not positive.
    """
    for name, limit in (("norm", norm), ("value", value)):
        if limit is not None and not limit > 0:
            raise ValueError(
                f"clip_gradient_{name} must be positive, but is {limit}: leave it out "
                "to set no limit."
            )
    gradients = [gradient for gradient, _ in grads_and_vars]
    variables = [variable for _, variable in grads_and_vars]
    if value is not None:
        gradients = [_clip_values(gradient, value) for gradient in gradients]
    if norm is not None:
        gradients, _ = tf.clip_by_global_norm(gradients, norm)
    return list(zip(gradients, variables, strict=True))


def measure(grads_and_vars):
    """The sum of squares of each gradient's values: one pass over each, no copy.

    It is finite just where every element is, save for elements beyond 1e19, whose
    squares float32 does not hold either.

    Args:
      grads_and_vars: a list of (gradient, variable); gradients may be
        `tf.IndexedSlices`, or None, which counts as 0.

    Returns:
      A float32 tensor of shape [n], n the length of the list.
    """
    halves = []
    for gradient, _ in grads_and_vars:
        if gradient is None:
            halves.append(tf.constant(0.0))
            continue
        values = _values(gradient)
        with tf.device(values.device):
            halves.append(tf.nn.l2_loss(tf.cast(values, tf.float32)))
    return 2 * tf.stack(halves) if halves else tf.zeros([0])


class Accumulator:
    """Sums up the gradients of several batches for one step.

    Of a step of n batches, the first n - 1 run `accumulate_op`. The last one runs
    the update, which takes `mean_gradients`, and then what `build_reset_op` adds:

        accumulator = Accumulator(optimizer.compute_gradients(loss), steps=4)
        update = optimizer.apply_gradients(accumulator.mean_gradients)
        with tf.control_dependencies([update]):
            reset = accumulator.build_reset_op()

    The sums are local variables, which no checkpoint holds.

    Args:
      grads_and_vars: a list of (gradient, variable); gradients may be
        `tf.IndexedSlices`, which become dense, or None, which stay None.
      steps: how many batches make a step.

    Attributes:
      accumulate_op: adds the gradients of this batch to the sums.
      mean_gradients: a list of (gradient, variable): the mean of the gradients
        summed up so far and this batch's, over `steps`.

    Raises:
      ValueError: if `steps` is less than 1.
    """

    def __init__(self, grads_and_vars, steps):
        if steps < 1:
            raise ValueError(
                f"gradient_accumulation_steps must be 1 or more, but is {steps}."
            )
        self._sums = []
        self.mean_gradients = []
        additions = []
        for gradient, variable in grads_and_vars:
            if gradient is None:
                self.mean_gradients.append((None, variable))
                continue
            gradient = tf.convert_to_tensor(gradient)
            with tf.device(gradient.device):
                total = _build_sum(gradient, variable)
                additions.append(total.assign_add(gradient, read_value=False))
                mean = (total.read_value() + gradient) / steps
            self._sums.append(total)
            self.mean_gradients.append((mean, variable))
        self.accumulate_op = tf.group(*additions, name="accumulate_gradients")

    def build_reset_op(self):
        """Adds an operation that sets the sums to zero."""
        zeros = [s.assign(tf.zeros_like(s), read_value=False) for s in self._sums]
        return tf.group(*zeros, name="reset_gradients")


def _build_sum(gradient, variable):
    return tf.Variable(
        lambda: tf.zeros(variable.shape, gradient.dtype),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        name=f"{variable.op.name}/gradient_sum",
    )


def _clip_values(gradient, limit):
    return None if gradient is None else tf.clip_by_value(gradient, -limit, limit)


def _values(gradient):
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
