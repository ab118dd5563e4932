"""tf_slim made whole on current TensorFlow.

`from tf_slim_compat import slim, tf` gives `tensorflow.compat.v1` in graph mode with
resource variables, and tf_slim with everything that it misses put back. The repair is
made on tf_slim itself, so `import tf_slim as slim` elsewhere gets it too.
"""

import contextlib
import contextvars
import importlib
import logging
import sys


@contextlib.contextmanager
def _quiet_tensorflow():
    """Holds back the deprecation warnings of TensorFlow's and tf_slim's own imports."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# What tf_slim and code of its age look up in TensorFlow's inner modules, and the name
# that each has in `tensorflow.compat.v1` today.
_MOVED = {
    "framework.ops": {"IndexedSlices": "IndexedSlices", "Tensor": "Tensor"},
    "ops.array_ops": {"stack": "stack", "unstack": "unstack"},
    "ops.control_flow_ops": {
        "Assert": "Assert",
        "case": "case",
        "cond": "cond",
        "while_loop": "while_loop",
    },
    "ops.variable_scope": {
        "disable_resource_variables": "disable_resource_variables",
        "enable_resource_variables": "enable_resource_variables",
        "resource_variables_enabled": "resource_variables_enabled",
        "variable": "Variable",
    },
    "ops.variables": {"VariableV1": "Variable"},
}


def _restore_moved_names():
    for module_name, names in _MOVED.items():
        module = importlib.import_module(f"tensorflow.python.{module_name}")
        for old, new in names.items():
            if not hasattr(module, old):
                setattr(module, old, getattr(tf, new))


with _quiet_tensorflow():
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    _restore_moved_names()
    import tf_slim as slim
    from tensorflow.python.training import moving_averages
    from tf_slim.layers import utils

__all__ = ["batch_norm", "batch_norm_decay_warmup", "slim", "tf"]

_WARMUP = contextvars.ContextVar("batch_norm_decay_warmup", default=None)


class _DecayWarmup:
    """min(decay, (1 + step) / (10 + step)), one tensor for each decay."""

    def __init__(self, step):
        with tf.name_scope("batch_norm_decay_warmup"):
            step = tf.cast(step, tf.float32)
            self._cap = tf.divide(1.0 + step, 10.0 + step, name="cap")
        self._rates = {}

    def rate(self, decay):
        """One minus the capped decay, made outside of whatever branch asks for it."""
        if decay not in self._rates:
            graph = self._cap.graph
            with (
                graph.as_default(),
                tf.control_dependencies(None),
                graph.colocate_with(self._cap.op, ignore_existing=True),
                tf.name_scope("batch_norm_decay_warmup/"),
            ):
                self._rates[decay] = 1.0 - tf.minimum(decay, self._cap)
        return self._rates[decay]


@contextlib.contextmanager
def batch_norm_decay_warmup(step):
    """Lets the moving averages of batch normalisation start without bias.

    Within this context every `slim.batch_norm` averages with the decay
    min(decay, (1 + step) / (10 + step)): a short run has averages of what it saw, and
    a long run keeps the decay that its network asks for. No variables are added.

    Args:
      step: the global step, an integer variable or scalar tensor.

    Yields:
      None.
    """
    token = _WARMUP.set(_DecayWarmup(step))
    try:
        yield
    finally:
        _WARMUP.reset(token)


def _averaging_rate(decay):
    warmup = _WARMUP.get()
    return 1.0 - decay if warmup is None else warmup.rate(decay)


def _update_average(variable, value, decay, zero_debias, read_value):
    """Moves `variable` towards `value`; returns the operation, or the new value."""
    dtype = variable.dtype.base_dtype
    rate = _averaging_rate(decay)
    if tf.is_tensor(rate):
        rate = tf.cast(rate, dtype)
    if zero_debias:
        return moving_averages.assign_moving_average(variable, value, 1.0 - rate)
    with tf.name_scope("AssignMovingAvg") as scope, tf.device(variable.device):
        delta = (variable - tf.cast(value, dtype)) * rate
        update = variable.assign_sub(delta, read_value=read_value, name=scope)
        return tf.convert_to_tensor(update) if read_value else update


def _make_variables(
    channels, dtype, center, scale, initializers, regularizers, collections, trainable
):
    """Returns gamma, beta, moving_mean and moving_variance; the first two or None."""

    def make(name, initializer, trainable):
        return slim.model_variable(
            name,
            shape=[channels],
            dtype=dtype,
            initializer=initializers.get(name, initializer),
            regularizer=regularizers.get(name) if name in ("beta", "gamma") else None,
            trainable=trainable,
            collections=utils.get_variable_collections(collections, name),
        )

    zeros, ones = tf.zeros_initializer(), tf.ones_initializer()
    gamma = make("gamma", ones, trainable) if scale else None
    beta = make("beta", zeros, trainable) if center else None
    # A partitioned variable cannot be assigned to as one.
    with tf.variable_scope(tf.get_variable_scope()) as scope:
        scope.set_partitioner(None)
        moving_mean = make("moving_mean", zeros, False)
        moving_variance = make("moving_variance", ones, False)
    return gamma, beta, moving_mean, moving_variance


def _to_fusable(inputs, data_format):
    """Returns inputs of rank 4 or 5 for the fused kernel, and its name of the format.

    Ranks 4 and 5 go in as they are.
    """
    rank = inputs.shape.ndims
    if rank == 4:
        return inputs, data_format
    if rank == 5:
        return inputs, "NDHWC" if data_format == "NHWC" else "NCDHW"
    if data_format == "NHWC" or rank == 2:
        return tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]]), "NHWC"
    shape = tf.shape(inputs)
    return tf.reshape(inputs, [shape[0], shape[1], -1, 1]), "NCHW"


def _fused(inputs, gamma, beta, moving, epsilon, data_format, training):
    """Returns the outputs, and the mean and the variance that they were made with."""
    channels = moving[0].shape
    if gamma is None:
        gamma = tf.constant(1.0, tf.float32, channels)
    if beta is None:
        beta = tf.constant(0.0, tf.float32, channels)
    fusable, kernel_format = _to_fusable(inputs, data_format)

    def normalize(training):
        mean, variance = (None, None) if training else moving
        return tf.nn.fused_batch_norm(
            fusable,
            gamma,
            beta,
            mean,
            variance,
            epsilon=epsilon,
            data_format=kernel_format,
            is_training=training,
        )

    outputs, mean, variance = utils.smart_cond(
        training, lambda: normalize(True), lambda: normalize(False)
    )
    if fusable is not inputs:
        static = [-1 if size is None else size for size in inputs.shape.as_list()]
        shape = static if static.count(-1) < 2 else tf.shape(inputs)
        outputs = tf.reshape(outputs, shape)
    return outputs, mean, variance


def _unfused(
    inputs, gamma, beta, moving, epsilon, data_format, training, weights, adjustment
):
    """As `_fused`, in single operations: for batch weights, adjustments and float64."""
    rank = inputs.shape.ndims
    channel_axis = 1 if data_format == "NCHW" else rank - 1
    axes = [axis for axis in range(rank) if axis != channel_axis]
    dtype = moving[0].dtype.base_dtype
    wide = tf.cast(inputs, dtype)

    def broadcast(vector):
        if vector is None or data_format == "NHWC":
            return vector
        return tf.reshape(vector, [1, -1] + [1] * (rank - 2))

    def batch_moments():
        if weights is None:
            return tuple(tf.nn.moments(wide, axes))
        per_example = tf.cast(tf.convert_to_tensor(weights), dtype)
        per_example = tf.reshape(per_example, [-1] + [1] * (rank - 1))
        return tuple(tf.nn.weighted_moments(wide, axes, per_example))

    mean, variance = utils.smart_cond(
        training, batch_moments, lambda: tuple(tf.identity(each) for each in moving)
    )
    if adjustment is not None:
        factor, offset = utils.smart_cond(
            training,
            lambda: tuple(adjustment(tf.shape(inputs))),
            lambda: (tf.ones([1] * rank, dtype), tf.zeros([1] * rank, dtype)),
        )
        wide = tf.nn.batch_normalization(
            wide, broadcast(mean), broadcast(variance), None, None, epsilon
        )
        outputs = wide * factor + offset
        if gamma is not None:
            outputs *= broadcast(gamma)
        if beta is not None:
            outputs += broadcast(beta)
    else:
        outputs = tf.nn.batch_normalization(
            wide,
            broadcast(mean),
            broadcast(variance),
            broadcast(beta),
            broadcast(gamma),
            epsilon,
        )
    return tf.cast(outputs, inputs.dtype), mean, variance


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
    """Batch normalization (https://arxiv.org/abs/1502.03167)."""
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError("data_format has to be either NCHW or NHWC.")
    if renorm:
        raise ValueError("renorm is not supported.")
    inputs = tf.convert_to_tensor(inputs)
    if inputs.shape.ndims is None:
        raise ValueError(f"Inputs {inputs.name} has undefined rank.")
    channels = inputs.shape[1 if data_format == "NCHW" else -1].value
    if channels is None:
        raise ValueError(f"Inputs {inputs.name} has undefined channels.")
    dtype = inputs.dtype.base_dtype
    half = dtype in (tf.float16, tf.bfloat16)
    fuse = (
        fused is not False
        and batch_weights is None
        and adjustment is None
        and (half or dtype == tf.float32)
    )
    with tf.variable_scope(scope, "BatchNorm", [inputs], reuse=reuse) as sc:
        gamma, beta, *moving = _make_variables(
            channels,
            tf.float32 if half else dtype,
            center,
            scale,
            param_initializers or {},
            param_regularizers or {},
            variables_collections,
            trainable,
        )
        args = (inputs, gamma, beta, moving, epsilon, data_format, is_training)
        if fuse:
            outputs, *moments = _fused(*args)
        else:
            outputs, *moments = _unfused(*args, batch_weights, adjustment)
        outputs.set_shape(inputs.shape)
        if utils.constant_value(is_training) is not False:
            read_value = updates_collections not in (None, tf.GraphKeys.UPDATE_OPS)
            updates = [
                _update_average(variable, value, decay, debias, read_value)
                for variable, value, debias in zip(
                    moving, moments, (zero_debias_moving_mean, False), strict=True
                )
            ]
            if updates_collections is None:
                with tf.control_dependencies(updates):
                    outputs = tf.identity(outputs)
            else:
                for update in updates:
                    tf.add_to_collections(updates_collections, update)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return utils.collect_named_outputs(outputs_collections, sc.name, outputs)


def _replace_everywhere(old, new):
    """Puts `new` for `old` wherever an imported module of tf_slim exposes it."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "tf_slim":
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


_replace_everywhere(slim.batch_norm, batch_norm)
