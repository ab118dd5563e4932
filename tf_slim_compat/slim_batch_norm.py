"""Batch normalization for tf_slim with fused operations.

Part of `tf_slim_compat`, which loads TensorFlow first; import it from there.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow.compat.v1 as tf
import tf_slim as slim
from tf_slim.layers import utils as _utils

from tf_slim_compat.slim_moving_averages import is_frozen, update_averages

# A function that averages over workers, and their number.
_SYNCHRONIZED = contextvars.ContextVar("synchronized_batch_norm", default=None)
# gamma and beta, each None if the layer lacks it; moving_mean; moving_variance.
_Variables = tuple[tf.Variable | None, tf.Variable | None, tf.Variable, tf.Variable]


def _build_variables(
    inputs: tf.Tensor,
    data_format: str,
    center: bool,
    scale: bool,
    initializers: Mapping[str, Callable],
    regularizers: Mapping[str, Callable],
    collections: Any,
    trainable: bool,
) -> _Variables:
    channels = inputs.shape.as_list()[_channel_axis(inputs, data_format)]
    dtype = tf.float64 if inputs.dtype.base_dtype == tf.float64 else tf.float32

    def build(
        name: str,
        initializer: Callable,
        regularizer: Callable | None = None,
        trainable: bool = False,
    ) -> tf.Variable:
        return slim.model_variable(
            name,
            shape=[channels],
            dtype=dtype,
            initializer=initializers.get(name, initializer),
            regularizer=regularizer,
            trainable=trainable,
            collections=_utils.get_variable_collections(collections, name),
        )

    zeros, ones = tf.zeros_initializer(), tf.ones_initializer()
    gamma = beta = None
    if scale:
        gamma = build("gamma", ones, regularizers.get("gamma"), trainable)
    if center:
        beta = build("beta", zeros, regularizers.get("beta"), trainable)
    # Moving averages are assigned as a whole, so they are never partitioned.
    with tf.variable_scope(
        tf.get_variable_scope(), auxiliary_name_scope=False
    ) as variable_scope:
        variable_scope.set_partitioner(None)
        moving_mean = build("moving_mean", zeros)
        moving_variance = build("moving_variance", ones)
    return gamma, beta, moving_mean, moving_variance


def _reshape_for_kernel(inputs: tf.Tensor, data_format: str) -> tuple[tf.Tensor, str]:
    """Returns the inputs and their data format as the fused kernel expects them.

    Only ranks other than 4 and 5 are reshaped.
    """
    rank = inputs.shape.rank
    if rank == 4:
        return inputs, data_format
    if rank == 5:
        return inputs, {"NHWC": "NDHWC", "NCHW": "NCDHW"}[data_format]
    if rank == 2 or data_format == "NHWC":
        return tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]]), "NHWC"
    return tf.reshape(inputs, [tf.shape(inputs)[0], inputs.shape[1], -1, 1]), "NCHW"


def _normalize_fused(
    inputs: tf.Tensor,
    variables: _Variables,
    epsilon: float,
    data_format: str,
    is_training: bool | tf.Tensor,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Normalizes with the fused kernel.

    Returns:
      The normalized inputs, and the mean and the variance that were used. The variance
      of a training batch has Bessel's correction.
    """
    gamma, beta, *moving = variables
    if gamma is None:
        gamma = tf.constant(1.0, tf.float32, moving[0].shape)
    if beta is None:
        beta = tf.constant(0.0, tf.float32, moving[0].shape)
    x, kernel_format = _reshape_for_kernel(inputs, data_format)

    def normalize(*statistics: tf.Variable) -> Sequence[tf.Tensor]:
        return tf.nn.fused_batch_norm(
            x,
            gamma,
            beta,
            *statistics,
            epsilon=epsilon,
            data_format=kernel_format,
            is_training=not statistics,
        )

    outputs, *moments = _utils.smart_cond(
        is_training, normalize, lambda: (normalize(*moving)[0], *moving)
    )
    if x is not inputs:
        sizes = [-1 if size is None else size for size in inputs.shape.as_list()]
        shape = sizes if sizes.count(-1) <= 1 else tf.shape(inputs)
        outputs = tf.reshape(outputs, shape)
        outputs.set_shape(inputs.shape)
    return outputs, moments


def _normalize_unfused(
    inputs: tf.Tensor,
    variables: _Variables,
    epsilon: float,
    data_format: str,
    is_training: bool | tf.Tensor,
    batch_weights: tf.Tensor | None,
    adjustment: Callable | None,
    is_shared: bool = False,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Normalizes with separate operations, where the fused kernel lacks a feature.

    Returns:
      The normalized inputs, and the mean and the variance that were used. The variance
      of a training batch has no Bessel's correction.
    """
    gamma, beta, *moving = variables
    dtype = moving[0].dtype.base_dtype
    rank = inputs.shape.rank
    channel_axis = _channel_axis(inputs, data_format)
    axes = [axis for axis in range(rank) if axis != channel_axis]
    x = tf.cast(inputs, dtype)

    def batch_moments() -> list[tf.Tensor]:
        if is_shared:
            return _build_shared_moments(x, axes, moving[0])
        if batch_weights is None:
            return list(tf.nn.moments(x, axes))
        weights = tf.cast(batch_weights, dtype)
        weights = tf.reshape(weights, [-1] + [1] * (rank - 1))
        return list(tf.nn.weighted_moments(x, axes, weights))

    def broadcast(vector: tf.Tensor | None) -> tf.Tensor | None:
        if vector is None or data_format == "NHWC":
            return vector
        return tf.reshape(vector, [1, -1] + [1] * (rank - 2))

    moments = _utils.smart_cond(is_training, batch_moments, lambda: moving)
    factor, offset = broadcast(gamma), broadcast(beta)
    if adjustment is not None:
        one, zero = tf.ones([], dtype), tf.zeros([], dtype)
        growth, shift = _utils.smart_cond(
            is_training,
            lambda: tuple(adjustment(tf.shape(inputs))),
            lambda: (one, zero),
        )
        factor = one if factor is None else factor
        offset = shift * factor + (zero if offset is None else offset)
        factor = growth * factor
    outputs = tf.nn.batch_normalization(
        x, *[broadcast(moment) for moment in moments], offset, factor, epsilon
    )
    outputs = tf.cast(outputs, inputs.dtype)
    outputs.set_shape(inputs.shape)
    return outputs, moments


def _normalize(
    inputs: tf.Tensor,
    variables: _Variables,
    epsilon: float,
    data_format: str,
    is_training: bool | tf.Tensor,
    fused: bool | None,
    batch_weights: tf.Tensor | None,
    adjustment: Callable | None,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Normalizes with the operations that can do it; see `_normalize_fused`."""
    arguments = (inputs, variables, epsilon, data_format, is_training)
    is_plain = batch_weights is None and adjustment is None
    if is_plain and is_training is True and _SYNCHRONIZED.get():
        outputs, moments = _normalize_unfused(*arguments, None, None, is_shared=True)
        return outputs, _correct_variance(inputs, moments)
    if is_plain and inputs.dtype.base_dtype != tf.float64 and fused is not False:
        return _normalize_fused(*arguments)
    return _normalize_unfused(*arguments, batch_weights, adjustment)


@contextlib.contextmanager
def synchronized_batch_norm(
    average: Callable[[tf.Tensor], tf.Tensor], count: int
) -> Iterator[None]:
    """Normalizes with the statistics of the batches of all workers.

    Every `slim.batch_norm` built in this context for training, without batch weights or
    adjustment, uses the mean and the variance over all these batches, as one worker
    with the whole batch would; with separate operations.

    Args:
      average: maps a float vector to its mean over the workers, with its gradient.
      count: number of workers, whose batches have one size.

    Yields:
      None.
    """
    token = _SYNCHRONIZED.set((average, count))
    try:
        yield
    finally:
        _SYNCHRONIZED.reset(token)


def _build_shared_moments(
    x: tf.Tensor, axes: Sequence[int], moving_mean: tf.Variable
) -> list[tf.Tensor]:
    """Returns the mean and the variance over the batches of all workers."""
    average, _ = _SYNCHRONIZED.get()
    # Relative to a value near the mean, or digits would cancel.
    center = tf.stop_gradient(tf.convert_to_tensor(moving_mean))
    mean, variance = tf.nn.moments(x, axes)
    shift = mean - center
    shared = average(tf.concat([shift, variance + tf.square(shift)], 0))
    shift, square = tf.split(shared, 2)
    return [center + shift, tf.maximum(square - tf.square(shift), 0.0)]


def _correct_variance(inputs: tf.Tensor, moments: Sequence[tf.Tensor]) -> list:
    """Applies Bessel's correction for the batches of all workers."""
    _, count = _SYNCHRONIZED.get()
    mean, variance = moments
    values = tf.size(inputs) // tf.size(mean) * count
    values = tf.cast(values, variance.dtype)
    return [mean, variance * values / tf.maximum(values - 1.0, 1.0)]


def _channel_axis(inputs: tf.Tensor, data_format: str) -> int:
    return 1 if data_format == "NCHW" else inputs.shape.rank - 1


def _check_arguments(inputs: tf.Tensor, data_format: str, renorm: bool) -> None:
    if renorm:
        raise ValueError(
            "batch_norm does not implement batch renormalization, but renorm=True; set "
            "it to False."
        )
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(  # tf_slim's own tests expect this wording.
            f"data_format has to be either NCHW or NHWC, not {data_format!r}."
        )
    rank = inputs.shape.rank
    if rank is None or rank < 2:
        raise ValueError(
            f"batch_norm needs inputs of rank 2 or more, but {inputs.name} has "
            f"{'undefined rank' if rank is None else f'rank {rank}'}; reshape it."
        )
    if inputs.shape.as_list()[_channel_axis(inputs, data_format)] is None:
        raise ValueError(
            "batch_norm needs a known number of channels, but it is undefined in "
            f"{inputs.name} of shape {inputs.shape} ({data_format}); use set_shape."
        )


def _convert_weights(weights: Any, inputs: tf.Tensor) -> tf.Tensor | None:
    if weights is None:
        return None
    weights = tf.convert_to_tensor(weights)
    if not inputs.shape[:1].is_compatible_with(weights.shape):
        raise ValueError(
            "batch_norm needs one batch weight per example, but got weights of shape "
            f"{weights.shape} for {inputs.name} of shape {inputs.shape}; give them the "
            f"shape {inputs.shape[:1]}."
        )
    return weights


@slim.add_arg_scope
def batch_norm(
    inputs: tf.Tensor,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Callable | None = None,
    param_initializers: Mapping[str, Callable] | None = None,
    param_regularizers: Mapping[str, Callable] | None = None,
    updates_collections: str | Sequence[str] | None = tf.GraphKeys.UPDATE_OPS,
    is_training: bool | tf.Tensor | tf.Variable = True,
    reuse: bool | None = None,
    variables_collections: Any = None,
    outputs_collections: str | Sequence[str] | None = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: str | tf.VariableScope | None = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Callable | None = None,
) -> tf.Tensor:
    """Normalizes each channel over the batch and all other axes.

    Paper: "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", https://arxiv.org/abs/1502.03167.

    Training uses the statistics of the batch, and adds two operations that update the
    moving averages to `updates_collections`; `slim.learning` runs those in `UPDATE_OPS`
    with every step. With the fused operation, the averaged variance has Bessel's
    correction.

    Args:
      inputs: float tensor of rank 2 or more, with the channels last or second. The
        variables of float16 and bfloat16 inputs are float32.
      decay: decay of the moving averages, 0 to 1; see also `batch_norm_decay_warmup`.
      center: whether to add `beta`.
      scale: whether to multiply by `gamma`.
      epsilon: added to the variance.
      activation_fn: callable applied to the outputs, or None.
      param_initializers: initializers by variable name: beta, gamma, moving_mean,
        moving_variance.
      param_regularizers: regularizers by variable name: beta, gamma.
      updates_collections: one or several collections for the updates. If None, the
        outputs depend on the updates instead.
      is_training: whether to use the statistics of the batch instead of the moving
        averages: bool, or a scalar bool tensor or variable.
      reuse: whether to reuse the layer's variables; needs `scope`.
      variables_collections: collections for all variables, or a dict by variable name.
      outputs_collections: collections for the outputs.
      trainable: whether `beta` and `gamma` are trainable variables. The moving averages
        depend on `is_training` only.
      batch_weights: float [batch], weights of the examples in the statistics, or None.
      fused: False uses separate operations, as do batch weights, an adjustment and
        float64 inputs.
      data_format: "NHWC" for channels in the last axis, "NCHW" in the second.
      zero_debias_moving_mean: whether to correct the moving mean for its start at zero,
        with two more variables (`biased`, `local_step`).
      scope: scope of the variables; "BatchNorm" by default.
      renorm: batch renormalization is not implemented; must be False.
      renorm_clipping: ignored.
      renorm_decay: ignored.
      adjustment: callable of the inputs' shape, int32 [rank], that returns a factor and
        an offset for the normalized inputs of a training batch, or None.

    Returns:
      A tensor of the inputs' shape and dtype.

    Raises:
      ValueError: for an unknown data format, a rank below 2, an unknown number of
        channels, batch weights of another length than the batch, or renorm.
    """
    inputs = tf.convert_to_tensor(inputs)
    _check_arguments(inputs, data_format, renorm)
    batch_weights = _convert_weights(batch_weights, inputs)
    with tf.variable_scope(scope, "BatchNorm", [inputs], reuse=reuse) as layer:
        variables = _build_variables(
            inputs,
            data_format,
            center,
            scale,
            param_initializers or {},
            param_regularizers or {},
            variables_collections,
            trainable,
        )
        if is_frozen(variables[2]):
            is_training = False
        arguments = (inputs, variables, epsilon, data_format, is_training)
        outputs, moments = _normalize(*arguments, fused, batch_weights, adjustment)
        outputs = update_averages(
            outputs,
            variables,
            moments,
            decay,
            updates_collections,
            is_training,
            zero_debias_moving_mean,
        )
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _utils.collect_named_outputs(outputs_collections, layer.name, outputs)
