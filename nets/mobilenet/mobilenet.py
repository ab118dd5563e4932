"""Builder, head and training scope shared by MobileNet v2, v3 and EdgeTPU.

Detection and segmentation networks build on `mobilenet_base`. See `conv_defs.py` for
the tables that it builds.

Input: float [batch, height, width, 3] in [-1, 1]. Output: logits [batch, classes]. See
`mobilenet_v2.py` and `mobilenet_v3.py` for papers, sizes and accuracies.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nets.mobilenet.conv_defs import ConvDefs, Op, depth_multiplier, op, safe_arg_scope
from nets.net_utils import (
    Layers,
    NetOutputs,
    StrideBudget,
    check_images,
    collect_end_points,
    fixed_padding,
)
from nets.stochastic_depth import at_depth
from tf_slim_compat import slim, tf

__all__ = [
    "apply_activation",
    "depth_multiplier",
    "global_pool",
    "mobilenet",
    "mobilenet_base",
    "build_variant",
    "op",
    "safe_arg_scope",
    "training_scope",
]


@contextlib.contextmanager
def _arg_scopes(table: Mapping[Any, dict[str, Any]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for builders, arguments in table.items():
            stack.enter_context(slim.arg_scope(builders, **arguments))
        yield


def _layers(
    net: tf.Tensor,
    spec: Sequence[Op],
    multiplier: float,
    budget: StrideBudget,
    use_explicit_padding: bool,
) -> Layers:
    """Yields (name, tensor) of each layer as it is built, inner tensors first."""
    for number, row in enumerate(spec, start=1):
        params = dict(row.params)
        row.multiplier_func(params, multiplier)
        parameters = inspect.signature(row.op).parameters
        kernel_size = params.get("kernel_size")
        stride, rate = budget.spend(params.get("stride", 1))
        if params.get("stride", 1) > 1:
            params["stride"] = stride
            if "residual" in parameters:
                # Without striding there would be a residual, unlike in training.
                params.setdefault("residual", False)
        if rate > 1 and "rate" in parameters and kernel_size not in (1, [1, 1], (1, 1)):
            params["rate"] = rate
        if use_explicit_padding and "use_explicit_padding" in parameters:
            params["use_explicit_padding"] = True
        elif use_explicit_padding and kernel_size is not None:
            net = fixed_padding(net, kernel_size, params.get("rate", 1))
            params["padding"] = "VALID"
        inner = {}
        if "endpoints" in parameters:
            params["endpoints"] = inner
        with at_depth(number, len(spec)):
            net = row.op(net, **params)
        for name, tensor in inner.items():
            yield f"layer_{number}/{name}", tensor
        yield f"layer_{number}", net


@slim.add_arg_scope
def mobilenet_base(
    inputs: tf.Tensor,
    conv_defs: ConvDefs,
    multiplier: float = 1.0,
    final_endpoint: str | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    scope: str | tf.VariableScope | None = None,
    is_training: bool | None = False,
) -> NetOutputs:
    """Builds the layers of a table, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      conv_defs: table of layers; see `conv_defs.py`.
      multiplier: positive factor of all numbers of channels.
      final_endpoint: name of the last layer, layer_N; None for all layers.
      output_stride: ratio of the input resolution to that of the last feature map, a
        power of 2; dilation replaces further strides. None for the strides of the
        table.
      use_explicit_padding: whether padding depends on the kernel alone, not on the
        input size.
      scope: variable scope or its name.
      is_training: whether batch normalization is in training mode; None leaves it to
        the enclosing scopes.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name, including
      layer_N/expansion_output, /depthwise_output and /output of blocks.

    Raises:
      ValueError: `multiplier` is not positive, `final_endpoint` is not in the table, or
        `output_stride` cannot be reached.
    """
    if multiplier <= 0:
        raise ValueError(
            f"The depth multiplier must be greater than 0, got {multiplier}; 1.0 gives "
            "the depths of the paper."
        )
    with (
        tf.variable_scope(scope, "Mobilenet") as scope,
        tf.name_scope(scope.original_name_scope),
        safe_arg_scope([slim.batch_norm], is_training=is_training),
        _arg_scopes(conv_defs.get("defaults", {})),
        _arg_scopes(conv_defs.get("overrides", {})),
    ):
        budget = StrideBudget(output_stride)
        layers = _layers(
            inputs, conv_defs["spec"], multiplier, budget, use_explicit_padding
        )
        return collect_end_points(layers, final_endpoint)


def apply_activation(
    x: tf.Tensor,
    name: str | None = None,
    activation_fn: Callable[..., tf.Tensor] | None = None,
) -> tf.Tensor:
    """Returns `activation_fn(x, name=name)`, or `x` without an activation."""
    return activation_fn(x, name=name) if activation_fn else x


def global_pool(
    input_tensor: tf.Tensor,
    use_reduce_mean_for_pooling: bool = False,
    pool_op: Callable[..., tf.Tensor] = tf.nn.avg_pool2d,
) -> tf.Tensor:
    """Pools over all locations.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      use_reduce_mean_for_pooling: whether to use `tf.reduce_mean`, which is always used
        if height or width is unknown.
      pool_op: function with the arguments of `tf.nn.avg_pool2d`.

    Returns:
      Float tensor [batch, 1, 1, channels].
    """
    size = input_tensor.shape.as_list()[1:3]
    if use_reduce_mean_for_pooling or None in size:
        return tf.reduce_mean(input_tensor, [1, 2], keepdims=True, name="ReduceMean")
    return pool_op(input_tensor, [1, *size, 1], strides=[1, 1, 1, 1], padding="VALID")


@slim.add_arg_scope
def mobilenet(
    inputs: tf.Tensor,
    num_classes: int | None = 1001,
    prediction_fn: Callable[..., tf.Tensor] | None = slim.softmax,
    reuse: bool | None = None,
    scope: str | None = "Mobilenet",
    base_only: bool = False,
    use_reduce_mean_for_pooling: bool = False,
    **mobilenet_args: Any,
) -> NetOutputs:
    """Builds the layers of a table, and a classifier.

    Args:
      inputs: float tensor [batch, height, width, channels].
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      prediction_fn: function of (logits, scope); None for no predictions.
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      base_only: whether to stop after the layers of the table.
      use_reduce_mean_for_pooling: see `global_pool`.
      **mobilenet_args: arguments of `mobilenet_base`; `conv_defs` is required.
        `is_training` also applies to dropout, and is False unless given here or by
        `training_scope`.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `inputs` is not of rank 4; see also `mobilenet_base`.
    """
    check_images(inputs)
    with tf.variable_scope(scope, "Mobilenet", reuse=reuse) as scope:
        inputs = tf.identity(inputs, name="input")
        net, end_points = mobilenet_base(inputs, scope=scope, **mobilenet_args)
        if base_only:
            return net, end_points
        net = tf.identity(net, name="embedding")
        with tf.variable_scope("Logits"):
            net = global_pool(net, use_reduce_mean_for_pooling)
            end_points["global_pool"] = net
            if not num_classes:
                return net, end_points
            is_training = mobilenet_args.get("is_training", False)
            with safe_arg_scope([slim.dropout], is_training=is_training):
                net = slim.dropout(net, scope="Dropout")
            logits = slim.conv2d(
                net,
                num_classes,
                1,
                activation_fn=None,
                normalizer_fn=None,
                scope="Conv2d_1c_1x1",
            )
            logits = tf.identity(tf.squeeze(logits, [1, 2]), name="output")
        end_points["Logits"] = logits
        if prediction_fn is not None:
            end_points["Predictions"] = prediction_fn(logits, "Predictions")
    return logits, end_points


def build_variant(
    network: Callable[..., NetOutputs],
    arguments: dict[str, Any],
    conv_defs: ConvDefs | None = None,
) -> NetOutputs:
    """Calls `network` with the arguments of a variant that has the same signature.

    Args:
      network: `mobilenet` of v2 or v3.
      arguments: `locals()` of the variant.
      conv_defs: the variant's table, used unless the caller passed another.
    """
    arguments = {**arguments, **arguments["kwargs"]}
    del arguments["kwargs"]
    if arguments["conv_defs"] is None:
        arguments["conv_defs"] = conv_defs
    return network(**arguments)


def training_scope(
    is_training: bool | None = True,
    weight_decay: float = 0.00004,
    stddev: float = 0.09,
    dropout_keep_prob: float | None = 0.8,
    bn_decay: float | None = 0.997,
) -> dict[str, Any]:
    """Returns the arg scope for training; the architecture is in the tables.

    Args:
      is_training: whether dropout and batch normalization are in training mode; None
        leaves it to the enclosing scopes.
      weight_decay: L2 regularization factor of all weights but depthwise ones.
      stddev: standard deviation of the truncated normal initial weights; negative for
        Xavier initialization.
      dropout_keep_prob: probability in (0, 1] of keeping an activation; None leaves it
        to the enclosing scopes.
      bn_decay: decay of the moving averages; None leaves it to the enclosing scopes.
    """
    if stddev < 0:
        initializer = slim.initializers.xavier_initializer()
    else:
        initializer = tf.truncated_normal_initializer(stddev=stddev)
    with (
        slim.arg_scope(
            [slim.conv2d, slim.fully_connected, slim.separable_conv2d],
            weights_initializer=initializer,
            normalizer_fn=slim.batch_norm,
        ),
        slim.arg_scope([mobilenet_base, mobilenet], is_training=is_training),
        safe_arg_scope([slim.batch_norm], is_training=is_training, decay=bn_decay),
        safe_arg_scope(
            [slim.dropout], is_training=is_training, keep_prob=dropout_keep_prob
        ),
        slim.arg_scope(
            [slim.conv2d], weights_regularizer=slim.l2_regularizer(weight_decay)
        ),
        slim.arg_scope([slim.separable_conv2d], weights_regularizer=None) as scope,
    ):
        return scope
