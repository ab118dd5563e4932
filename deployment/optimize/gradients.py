"""Gradients between their computation and the update: clipping, norms, accumulation."""

from collections.abc import Sequence

from deployment.config_flags import SettingError
from tf_slim_compat import tf

_Gradient = tf.Tensor | tf.IndexedSlices | None
_Pairs = Sequence[tuple[_Gradient, tf.Variable]]


def clip(
    grads_and_vars: _Pairs, norm: float | None = None, value: float | None = None
) -> list[tuple[_Gradient, tf.Variable]]:
    """Clips gradients, first by value, then by their global norm.

    Args:
      grads_and_vars: list of (gradient, variable); a gradient may be a
        `tf.IndexedSlices` or None.
      norm: largest norm of all gradients together (Pascanu et al. 2012,
        arXiv:1211.5063); None for no limit. If any gradient is not finite, all of them
        become NaN.
      value: largest absolute value of an element; None for no limit.

    Returns:
      A list of (gradient, variable).

    Raises:
      ValueError: if a limit is not positive.
    """
    for name, limit in (("norm", norm), ("value", value)):
        if limit is not None and not limit > 0:
            raise SettingError(
                f"{{{{clip_gradient_{name}}}}} must be positive, but is {limit}: leave "
                "it unset for no limit."
            )
    gradients = [gradient for gradient, _ in grads_and_vars]
    variables = [variable for _, variable in grads_and_vars]
    if value is not None:
        gradients = [_clip_values(gradient, value) for gradient in gradients]
    if norm is not None:
        gradients, _ = tf.clip_by_global_norm(gradients, norm)
    return list(zip(gradients, variables, strict=True))


def measure(grads_and_vars: _Pairs) -> tf.Tensor:
    """Returns the sum of squares of each gradient, without copying the gradients.

    A sum is finite only if all elements are. Elements beyond 1e19 make it infinite too,
    since float32 cannot hold their squares.

    Args:
      grads_and_vars: list of (gradient, variable); a gradient may be a
        `tf.IndexedSlices`, or None, whose sum is 0.

    Returns:
      float32 [n], one sum per pair.
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
    """Accumulates the gradients of several batches for one step.

    In a step of n batches, the first n - 1 run `accumulate_op`. The last one runs the
    update, which uses `mean_gradients`, and then the operation of `build_reset_op`:

        accumulator = Accumulator(optimizer.compute_gradients(loss), steps=4)
        update = optimizer.apply_gradients(accumulator.mean_gradients)
        with tf.control_dependencies([update]):
            reset = accumulator.build_reset_op()

    The sums are local variables, which are not saved in checkpoints.

    Args:
      grads_and_vars: list of (gradient, variable); a `tf.IndexedSlices` becomes dense,
        None stays None.
      steps: batches per step.

    Attributes:
      accumulate_op: adds the gradients of the current batch to the sums.
      mean_gradients: list of (gradient, variable): the sums plus the gradients of the
        current batch, divided by `steps`.

    Raises:
      ValueError: if `steps` is less than 1.
    """

    def __init__(self, grads_and_vars: _Pairs, steps: int) -> None:
        if steps < 1:
            raise SettingError(
                "{{gradient_accumulation_steps}} must be 1 or more, but is "
                f"{steps}."
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

    def build_reset_op(self) -> tf.Operation:
        """Adds an operation that sets the sums to zero."""
        zeros = [s.assign(tf.zeros_like(s), read_value=False) for s in self._sums]
        return tf.group(*zeros, name="reset_gradients")


def _build_sum(gradient: tf.Tensor, variable: tf.Variable) -> tf.Variable:
    return tf.Variable(
        lambda: tf.zeros(variable.shape, gradient.dtype),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        name=f"{variable.op.name}/gradient_sum",
    )


def _clip_values(gradient: _Gradient, limit: float) -> _Gradient:
    return None if gradient is None else tf.clip_by_value(gradient, -limit, limit)


def _values(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
