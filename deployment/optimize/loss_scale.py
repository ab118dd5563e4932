"""Dynamic loss scaling for float16, whose small gradients would become zero.

The loss is multiplied by a scale, and the gradients are divided by it (Micikevicius et
al. 2017, arXiv:1710.03740, section 3.2). A step whose gradients overflow is skipped and
halves the scale; 2,000 steps in a row without one double it.

    optimizer = LossScaleOptimizer(optimizer)
    pairs = optimizer.compute_gradients(loss)
    overflowed, scale_op = optimizer.build_scale_update(health, len(pairs))
"""

import collections
from collections.abc import Sequence

from absl import logging

from tf_slim_compat import tf

_RECENT_STEPS = 100
# Skipping this many of them is more than finding a new scale takes: from the highest
# one to 1 it is halved 15 times, but hardly ever needs more than a few.
_MANY = 10


class LossScaleOptimizer(tf.mixed_precision.MixedPrecisionLossScaleOptimizer):
    """An optimizer whose `compute_gradients` scales the loss.

    Whether a step is sound is decided by who applies the gradients, since clipping may
    hide an overflow: `apply_gradients` applies them in any case.

    The scale, and the number of steps since it last changed, are variables in
    `loss_scale/`, which checkpoints hold.

    Args:
      optimizer: the `tf.train.Optimizer` to wrap.
    """

    def __init__(self, optimizer: tf.train.Optimizer) -> None:
        with tf.name_scope("loss_scale/"):
            self._scale = tf.mixed_precision.DynamicLossScale()
        super().__init__(optimizer, self._scale)
        self._wrapped = optimizer

    def apply_gradients(
        self,
        grads_and_vars: Sequence[tuple[tf.Tensor | None, tf.Variable]],
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See `tf.train.Optimizer`."""
        return self._wrapped.apply_gradients(grads_and_vars, global_step, name)

    def build_scale_update(
        self, health: tf.Tensor, num_gradients: int
    ) -> tuple[tf.Tensor, tf.Operation]:
        """Adapts the scale after a step.

        Losses that are not finite, and gradients that are not at the lowest scale, 1,
        are faults of the network or of the data, and no overflow.

        Args:
          health: float32 [n], losses without the scale, then one element for each
            gradient, which is finite only if the gradient is.
          num_gradients: number of the latter.

        Returns:
          Whether the scale made gradients overflow, a bool scalar, and the operation
          that adapts the scale.
        """
        is_finite = tf.is_finite(health)
        are_losses_finite = tf.reduce_all(is_finite[:-num_gradients])
        is_overflow = are_losses_finite & ~tf.reduce_all(is_finite)
        overflowed = tf.logical_and(self._scale() > 1, is_overflow, name="overflowed")
        with tf.control_dependencies([overflowed]), tf.name_scope("loss_scale/"):
            update_op, _ = self._scale.update([health])
        return overflowed, update_op


class OverflowLog:
    """Logs a warning when many of the last steps were skipped."""

    def __init__(self) -> None:
        self._recent = collections.deque(maxlen=_RECENT_STEPS)

    def add(self, step: int, overflowed: bool) -> None:
        """Counts a step."""
        self._recent.append(bool(overflowed))
        if sum(self._recent) < _MANY:
            return
        logging.warning(
            "At step %d: %d of the last %d updates were skipped, because gradients "
            "overflowed in float16. A few are usual when training starts; if this goes "
            "on, lower --learning_rate, or use --precision=float32.",
            step, sum(self._recent), len(self._recent),
        )  # fmt: skip
        self._recent.clear()
