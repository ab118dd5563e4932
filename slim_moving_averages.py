"""The moving averages of batch normalization: how they move, and when they do not.

A part of `tf_slim_compat`, which loads TensorFlow for it and is where to import it
from.
"""

import contextlib
import contextvars

import tensorflow.compat.v1 as tf
from tf_slim.layers import layers as _layers
from tf_slim.layers import utils as _utils

_WARMUP = contextvars.ContextVar("batch_norm_decay_warmup", default=None)
_IS_FROZEN = contextvars.ContextVar("frozen_batch_norm", default=None)


class _DecayWarmup:
    """Keeps 1 - min(decay, (1 + step) / (10 + step)), one tensor for each decay."""

    def __init__(self, step):
        with tf.name_scope("batch_norm_decay_warmup") as self._scope:
            # One minus the cap, in the form that loses no digits.
            self._least_rate = 9.0 / (10.0 + tf.cast(step, tf.float32))
        self._rates = {}

    def rate(self, decay, dtype):
        if decay not in self._rates:
            graph = self._least_rate.graph
            # Whichever layer comes first may stand in a branch, on another device or
            # under control dependencies that the other layers do not share.
            with (
                graph.as_default(),
                tf.control_dependencies(None),
                graph.colocate_with(self._least_rate.op, ignore_existing=True),
                tf.name_scope(self._scope),
            ):
                self._rates[decay] = tf.maximum(1.0 - decay, self._least_rate)
        return tf.cast(self._rates[decay], dtype.base_dtype)


@contextlib.contextmanager
def batch_norm_decay_warmup(step):
    """Lets the moving averages of batch normalization start without bias.

    Every `slim.batch_norm` built within this context averages with the decay
    min(decay, (1 + step) / (10 + step)), as `tf.train.ExponentialMovingAverage` does
    when it is given `num_updates`. So a short run has averages of what it saw, and a
    long run keeps the decay that its network asks for. No variable is added. Averages
    under `zero_debias_moving_mean` have a correction of their own and are left to it.

    Contexts nest, and the innermost counts.

    Args:
      step: the steps trained so far: an integer scalar, tensor or variable, usually the
        global step.

    Yields:
      None.
    """
    token = _WARMUP.set(_DecayWarmup(step))
    try:
        yield
    finally:
        _WARMUP.reset(token)


@contextlib.contextmanager
def frozen_batch_norm(is_frozen):
    """Holds the moving averages of some layers still, whatever they are told.

    A `slim.batch_norm` built within this context that is frozen normalizes by its
    moving averages and adds no update, as with `is_training=False`. Its variables, and
    which of them are trainable, stay as they are.

    Contexts nest, and the innermost counts.

    Args:
      is_frozen: callable of the name of a layer's moving mean, such as
        "MobilenetV1/Conv2d_0/BatchNorm/moving_mean", that says whether the layer is
        frozen.

    Yields:
      None.
    """
    token = _IS_FROZEN.set(is_frozen)
    try:
        yield
    finally:
        _IS_FROZEN.reset(token)


def is_frozen(moving_mean):
    """Returns whether the layer of this variable is frozen; see `frozen_batch_norm`."""
    chosen = _IS_FROZEN.get()
    return chosen is not None and bool(chosen(moving_mean.op.name))


def _update_average(variable, value, is_sound, rate, as_value):
    """Moves `variable` towards `value`; returns the assignment, or the new value.

    Where `is_sound` is False, and outside of training, where `value` is the variable's
    own, nothing moves.
    """
    graph = tf.get_default_graph()
    with tf.name_scope("AssignMovingAvg") as name, graph.colocate_with(variable.op):
        current = tf.convert_to_tensor(variable)
        delta = (current - tf.where(is_sound, value, current)) * rate
        update = variable.assign_sub(delta, name=name, read_value=as_value)
        return tf.convert_to_tensor(update) if as_value else update


def _update_debiased_average(variable, value, is_sound, decay, is_training):
    """As `_update_average`, with the bias of a start at zero divided out."""
    getter = _layers._build_variable_getter()

    def update():
        kept = tf.where(is_sound, value, tf.convert_to_tensor(variable))
        with tf.variable_scope(
            tf.get_variable_scope(), custom_getter=getter, auxiliary_name_scope=False
        ):
            return _layers.moving_averages.assign_moving_average(variable, kept, decay)

    return _utils.smart_cond(is_training, update, lambda: variable)


def update_averages(
    outputs, variables, moments, decay, collections, is_training, zero_debias
):
    """Builds the updates of a layer; returns the outputs, waiting for them if need be.

    In `UPDATE_OPS` the updates are operations, in other collections new values, as
    they always were in tf_slim.
    """
    training = _utils.constant_value(is_training)
    if training is not None and not training:
        return outputs
    *_, moving_mean, moving_variance = variables
    mean, variance = moments
    warmup = _WARMUP.get()
    with tf.get_default_graph().colocate_with(moving_variance.op):
        # One bad value makes the variance of its channel infinite or NaN, though the
        # mean may still be finite, and an average would never be rid of it.
        is_sound = tf.is_finite(variance)
        rate = tf.convert_to_tensor(
            1.0 - decay if warmup is None else warmup.rate(decay, variance.dtype),
            variance.dtype,
        )
    as_value = collections not in (None, tf.GraphKeys.UPDATE_OPS)
    if zero_debias:
        updates = [
            _update_debiased_average(moving_mean, mean, is_sound, decay, is_training)
        ]
    else:
        updates = [_update_average(moving_mean, mean, is_sound, rate, as_value)]
    updates.append(_update_average(moving_variance, variance, is_sound, rate, as_value))
    if collections is None:
        with tf.control_dependencies(updates):
            return tf.identity(outputs)
    for update in updates:
        tf.add_to_collections(collections, update)
    return outputs
