"""Moving averages of batch normalization: updates, decay warm-up and freezing.

Part of `tf_slim_compat`, which loads TensorFlow first; import it from there.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import tensorflow.compat.v1 as tf
from tf_slim.layers import layers as _layers
from tf_slim.layers import utils as _utils

_WARMUP = contextvars.ContextVar("batch_norm_decay_warmup", default=None)
_IS_FROZEN = contextvars.ContextVar("frozen_batch_norm", default=None)


class _DecayWarmup:
    """Builds 1 - min(decay, (1 + step) / (10 + step)), one tensor for each decay."""

    def __init__(self, step: int | tf.Tensor | tf.Variable) -> None:
        with tf.name_scope("batch_norm_decay_warmup") as self._scope:
            # 1 - (1 + step) / (10 + step), without the loss of digits.
            self._least_rate = 9.0 / (10.0 + tf.cast(step, tf.float32))
        self._rates = {}

    def rate(self, decay: float, dtype: tf.DType) -> tf.Tensor:
        if decay not in self._rates:
            graph = self._least_rate.graph
            # The first layer may be in a branch, on a device or under control
            # dependencies that the other layers do not share.
            with (
                graph.as_default(),
                tf.control_dependencies(None),
                graph.colocate_with(self._least_rate.op, ignore_existing=True),
                tf.name_scope(self._scope),
            ):
                self._rates[decay] = tf.maximum(1.0 - decay, self._least_rate)
        return tf.cast(self._rates[decay], dtype.base_dtype)


@contextlib.contextmanager
def batch_norm_decay_warmup(step: int | tf.Tensor | tf.Variable) -> Iterator[None]:
    """Removes the bias of batch normalization's moving averages in short runs.

    Every `slim.batch_norm` built in this context averages with the decay
    min(decay, (1 + step) / (10 + step)), as `tf.train.ExponentialMovingAverage` does
    with `num_updates`. The averages of a short run reflect its own batches, and a long
    run ends up with the network's own decay. It adds no variable. Moving means under
    `zero_debias_moving_mean` have their own correction and are not affected.

    Contexts nest; the innermost one applies.

    Args:
      step: steps trained so far, an integer scalar; usually the global step.

    Yields:
      None.
    """
    token = _WARMUP.set(_DecayWarmup(step))
    try:
        yield
    finally:
        _WARMUP.reset(token)


@contextlib.contextmanager
def frozen_batch_norm(is_frozen: Callable[[str], bool]) -> Iterator[None]:
    """Freezes the moving averages of some layers.

    A frozen `slim.batch_norm` built in this context normalizes with its moving averages
    and adds no update, as with `is_training=False`. Its variables, and which of them
    are trainable, do not change.

    Contexts nest; the innermost one applies.

    Args:
      is_frozen: callable of the name of a layer's moving mean, such as
        "MobilenetV1/Conv2d_0/BatchNorm/moving_mean", that returns whether the layer is
        frozen.

    Yields:
      None.
    """
    token = _IS_FROZEN.set(is_frozen)
    try:
        yield
    finally:
        _IS_FROZEN.reset(token)


def is_frozen(moving_mean: tf.Variable) -> bool:
    """Returns whether the layer of this variable is frozen; see `frozen_batch_norm`."""
    chosen = _IS_FROZEN.get()
    return chosen is not None and bool(chosen(moving_mean.op.name))


def _update_average(
    variable: tf.Variable,
    value: tf.Tensor,
    is_finite: tf.Tensor,
    rate: tf.Tensor,
    as_value: bool,
) -> tf.Operation | tf.Tensor:
    """Moves `variable` towards `value`; returns the assignment, or the new value.

    Nothing changes where `is_finite` is False, nor outside of training, where `value`
    is the variable's own.
    """
    graph = tf.get_default_graph()
    with tf.name_scope("AssignMovingAvg") as name, graph.colocate_with(variable.op):
        current = tf.convert_to_tensor(variable)
        delta = (current - tf.where(is_finite, value, current)) * rate
        update = variable.assign_sub(delta, name=name, read_value=as_value)
        return tf.convert_to_tensor(update) if as_value else update


def _update_debiased_average(
    variable: tf.Variable,
    value: tf.Tensor,
    is_finite: tf.Tensor,
    decay: float,
    is_training: bool | tf.Tensor,
) -> tf.Tensor:
    """Same as `_update_average`, corrected for the bias of a start at zero."""
    getter = _layers._build_variable_getter()

    def update() -> tf.Tensor:
        kept = tf.where(is_finite, value, tf.convert_to_tensor(variable))
        with tf.variable_scope(
            tf.get_variable_scope(), custom_getter=getter, auxiliary_name_scope=False
        ):
            return _layers.moving_averages.assign_moving_average(variable, kept, decay)

    return _utils.smart_cond(is_training, update, lambda: variable)


def update_averages(
    outputs: tf.Tensor,
    variables: Sequence[tf.Variable | None],
    moments: Sequence[tf.Tensor],
    decay: float,
    collections: str | Sequence[str] | None,
    is_training: bool | tf.Tensor,
    zero_debias: bool,
) -> tf.Tensor:
    """Adds the updates of a layer's moving averages to the graph.

    As in tf_slim, the updates are operations in `UPDATE_OPS`, and new values in other
    collections.

    Args:
      outputs: the layer's outputs.
      variables: gamma, beta, moving_mean and moving_variance.
      moments: mean and variance of the batch, float [channels].
      decay: decay of the moving averages.
      collections: collections for the updates; None makes the outputs depend on them.
      is_training: whether anything is updated.
      zero_debias: whether to correct the moving mean for its start at zero.

    Returns:
      The outputs.
    """
    training = _utils.constant_value(is_training)
    if training is not None and not training:
        return outputs
    *_, moving_mean, moving_variance = variables
    mean, variance = moments
    warmup = _WARMUP.get()
    with tf.get_default_graph().colocate_with(moving_variance.op):
        # One NaN or huge value makes the variance of its channel NaN or infinite, even
        # where the mean is finite, and a moving average would never recover.
        is_finite = tf.is_finite(variance)
        rate = tf.convert_to_tensor(
            1.0 - decay if warmup is None else warmup.rate(decay, variance.dtype),
            variance.dtype,
        )
    as_value = collections not in (None, tf.GraphKeys.UPDATE_OPS)
    if zero_debias:
        updates = [
            _update_debiased_average(moving_mean, mean, is_finite, decay, is_training)
        ]
    else:
        updates = [_update_average(moving_mean, mean, is_finite, rate, as_value)]
    updates.append(
        _update_average(moving_variance, variance, is_finite, rate, as_value)
    )
    if collections is None:
        with tf.control_dependencies(updates):
            return tf.identity(outputs)
    for update in updates:
        tf.add_to_collections(collections, update)
    return outputs
