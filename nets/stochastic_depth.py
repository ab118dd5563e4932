"""Stochastic depth: residual units that are left out at random in training.

G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, "Deep Networks with Stochastic
Depth", 2016, https://arxiv.org/abs/1603.09382

Here each example is decided by itself. What stays is scaled up, so that evaluation
needs no change; the paper scales down in evaluation instead.
"""

import contextlib

from tf_slim_compat import random_uniform, slim, tf


@slim.add_arg_scope
def drop_path(
    net: tf.Tensor, keep_prob: tf.Tensor | float, is_training: bool = True
) -> tf.Tensor:
    """Zeroes random examples and scales the others by 1 / `keep_prob`.

    G. Larsson, M. Maire, G. Shakhnarovich, "FractalNet", 2016,
    https://arxiv.org/abs/1605.07648

    Args:
      net: float tensor of rank 4, batch first.
      keep_prob: float or scalar tensor in (0, 1].
      is_training: whether to drop paths; False returns `net`.

    Returns:
      Float tensor of the shape and the expected value of `net`.
    """
    if not is_training:
        return net
    batch = net.shape.as_list()[0] or tf.shape(net)[0]
    mask = tf.floor(random_uniform([batch, 1, 1, 1]) + keep_prob)
    return net * tf.cast(mask / keep_prob, net.dtype)


@slim.add_arg_scope
def drop_residual(
    residual: tf.Tensor,
    depth: float = 1.0,
    rate: float = 0.0,
    dropped: list[tf.Tensor] | None = None,
) -> tf.Tensor:
    """Drops the residual of a unit with a probability that grows linearly with depth.

    Networks call it before they add a residual. `at_depth` sets the depth, and
    `nets_factory` the rate.

    Args:
      residual: float tensor [batch, height, width, channels].
      depth: number of the unit divided by the number of units, in (0, 1].
      rate: probability of dropping the last unit, in [0, 1); 0 adds nothing to the
        graph.
      dropped: list that the residual is appended to, if the rate is not 0.

    Returns:
      Float tensor of the shape of `residual`.
    """
    if not rate:
        return residual
    if dropped is not None:
        dropped.append(residual)
    return drop_path(residual, 1 - depth * rate, is_training=True)


def at_depth(number: int, count: int) -> contextlib.AbstractContextManager:
    """Returns the scope in which unit `number` of `count`, from 1 on, is built."""
    return slim.arg_scope([drop_residual], depth=number / count)
