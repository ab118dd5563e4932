"""Batch normalization for tf_slim, in a fused operation.

A part of `tf_slim_compat`, which loads TensorFlow for it and is where to import it
from.
"""

import tensorflow.compat.v1 as tf
import tf_slim as slim
from tf_slim.layers import utils as _utils

from slim_moving_averages import is_frozen, update_averages


def _build_variables(
    channels, dtype, center, scale, initializers, regularizers, collections, trainable
):
    """Returns gamma and beta, or None in their place, moving_mean, moving_variance."""

    def build(name, initializer, regularizer=None, trainable=False):
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
    # A moving average is assigned to as a whole.
    with tf.variable_scope(
        tf.get_variable_scope(), auxiliary_name_scope=False
    ) as variable_scope:
        variable_scope.set_partitioner(None)
        moving_mean = build("moving_mean", zeros)
        moving_variance = build("moving_variance", ones)
    return gamma, beta, moving_mean, moving_variance


def _reshape_for_kernel(inputs, data_format):
    """Returns the inputs as the fused kernel takes them, and its name of their format.

    Only ranks other than 4 and 5 need a reshape.
    """
    rank = inputs.shape.rank
    if rank == 4:
        return inputs, data_format
    if rank == 5:
        return inputs, {"NHWC": "NDHWC", "NCHW": "NCDHW"}[data_format]
    if rank == 2 or data_format == "NHWC":
        return tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]]), "NHWC"
    return tf.reshape(inputs, [tf.shape(inputs)[0], inputs.shape[1], -1, 1]), "NCHW"


def _normalize_fused(inputs, variables, epsilon, data_format, is_training):
    """Returns the normalized inputs, and the mean and the variance that were used.

    The variance of a training batch comes with Bessel's correction.
    """
    gamma, beta, *moving = variables
    if gamma is None:
        gamma = tf.constant(1.0, tf.float32, moving[0].shape)
    if beta is None:
        beta = tf.constant(0.0, tf.float32, moving[0].shape)
    x, kernel_format = _reshape_for_kernel(inputs, data_format)

    def normalize(*statistics):
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
    return outputs, moments


def _normalize_unfused(
    inputs, variables, epsilon, data_format, is_training, batch_weights, adjustment
):
    """Does as `_normalize_fused` in single operations, for what the kernel lacks.

    The variance of a training batch comes without Bessel's correction.
    """
    gamma, beta, *moving = variables
    dtype = moving[0].dtype.base_dtype
    rank = inputs.shape.rank
    channel_axis = 1 if data_format == "NCHW" else rank - 1
    axes = [axis for axis in range(rank) if axis != channel_axis]
    x = tf.cast(inputs, dtype)

    def batch_moments():
        if batch_weights is None:
            return list(tf.nn.moments(x, axes))
        weights = tf.cast(batch_weights, dtype)
        weights = tf.reshape(weights, [-1] + [1] * (rank - 1))
        return list(tf.nn.weighted_moments(x, axes, weights))

    def broadcast(vector):
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
    return tf.cast(outputs, inputs.dtype), moments


def _count_channels(inputs, data_format):
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(
            f"data_format has to be either NCHW or NHWC, not {data_format!r}."
        )
    rank = inputs.shape.rank
    if rank is None or rank < 2:
        raise ValueError(
            f"batch_norm needs inputs of rank 2 or more, and {inputs.name} has "
            f"{'undefined rank' if rank is None else f'rank {rank}'}; reshape them."
        )
    channels = inputs.shape.as_list()[1 if data_format == "NCHW" else -1]
    if channels is None:
        raise ValueError(
            f"batch_norm needs a known number of channels, and in {inputs.name} of "
            f"shape {inputs.shape} ({data_format}) it is undefined; use set_shape."
        )
    return channels


@slim.add_arg_scope
def batch_norm(
    inputs,
    decay=0.999,
    center=True,
    scale=False,
    epsilon=0.001,
    activation_fn=None,
    param_initializers=None,
    param_regularizers=None,
    updates_collections=tf.GraphKeys.UPDATE_OPS,
    is_training=True,
    reuse=None,
    variables_collections=None,
    outputs_collections=None,
    trainable=True,
    batch_weights=None,
    fused=None,
    data_format="NHWC",
    zero_debias_moving_mean=False,
    scope=None,
    renorm=False,
    renorm_clipping=None,
    renorm_decay=0.99,
    adjustment=None,
):
    """Normalizes every channel over the batch and all other axes, in a fused operation.

    The paper: "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", https://arxiv.org/abs/1502.03167.

    In training the statistics are those of the batch, and two operations that move the
    moving averages towards them join `updates_collections`; `slim.learning` runs what
    is in `UPDATE_OPS` with every step. The averaged variance has Bessel's correction
    when it comes from the fused operation.

    Args:
      inputs: float tensor of rank 2 or more, with the channels last or second. Float16
        and bfloat16 are computed with float32 variables.
      decay: of the moving averages, 0 to 1; see also `batch_norm_decay_warmup`.
      center: whether to add `beta`.
      scale: whether to multiply by `gamma`.
      epsilon: is added to the variance.
      activation_fn: callable applied to the outputs, or None.
      param_initializers: dict of initializers by variable: beta, gamma, moving_mean,
        moving_variance.
      param_regularizers: dict of regularizers by variable: beta, gamma.
      updates_collections: one or several collections for the updates. With None the
        outputs wait for the updates instead.
      is_training: whether to use the statistics of the batch: bool, or a scalar bool
        tensor or variable. Otherwise those of the moving averages are used.
      reuse: whether to take variables that are there already; needs `scope`.
      variables_collections: collections for all variables, or a dict by variable.
      outputs_collections: collections for the outputs.
      trainable: whether `beta` and `gamma` are trainable variables. The moving averages
        follow `is_training` alone.
      batch_weights: float [batch] weights of the examples in the statistics, or None.
      fused: False computes in single operations, as do batch weights, an adjustment and
        float64 inputs.
      data_format: "NHWC" for channels in the last axis, "NCHW" in the second.
      zero_debias_moving_mean: whether to correct the moving mean for its start at zero,
        with two more variables (`biased`, `local_step`).
      scope: of the variables; "BatchNorm" by default.
      renorm: not built; has to be False.
      renorm_clipping: has no effect.
      renorm_decay: has no effect.
      adjustment: callable that gets the shape of the inputs, int32 [rank], and returns
        a factor and an offset for the normalized inputs of a training batch, or None.

    Returns:
      The outputs, of the shape and the dtype of the inputs.

    Raises:
      ValueError: for an unknown data format, a rank below 2, an unknown number of
        channels, batch weights of another length than the batch, or renorm.
    """
    if renorm:
        raise ValueError(
            "batch_norm has no batch renormalization, and got renorm=True; leave it "
            "out or set it to False."
        )
    inputs = tf.convert_to_tensor(inputs)
    channels = _count_channels(inputs, data_format)
    if batch_weights is not None:
        batch_weights = tf.convert_to_tensor(batch_weights)
        if not inputs.shape[:1].is_compatible_with(batch_weights.shape):
            raise ValueError(
                "batch_norm needs one batch weight for each example, and got weights "
                f"of shape {batch_weights.shape} for {inputs.name} of shape "
                f"{inputs.shape}; give them the shape {inputs.shape[:1]}."
            )
    wide = tf.float64 if inputs.dtype.base_dtype == tf.float64 else tf.float32
    with tf.variable_scope(scope, "BatchNorm", [inputs], reuse=reuse) as layer_scope:
        variables = _build_variables(
            channels,
            wide,
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
        has_kernel = batch_weights is None and adjustment is None and wide == tf.float32
        if has_kernel and fused is not False:
            outputs, moments = _normalize_fused(*arguments)
        else:
            outputs, moments = _normalize_unfused(*arguments, batch_weights, adjustment)
        outputs.set_shape(inputs.shape)
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
        return _utils.collect_named_outputs(
            outputs_collections, layer_scope.name, outputs
        )
