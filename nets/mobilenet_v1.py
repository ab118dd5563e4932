"""MobileNet v1: depthwise separable convolutions, in four widths.

A. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, https://arxiv.org/abs/1704.04861

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes also work. Output: logits
[batch, classes]; the last feature map is [batch, 7, 7, 1024 * depth_multiplier].

| network          | parameters, 1001 classes | published top-1, 224 pixels |
|------------------|--------------------------|-----------------------------|
| mobilenet_v1     | 4,233,001                | 70.9 %                      |
| mobilenet_v1_075 | 2,586,329                | 68.4 %                      |
| mobilenet_v1_050 | 1,332,105                | 63.3 %                      |
| mobilenet_v1_025 | 470,329                  | 49.8 %                      |
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nets.net_utils import (
    Layers,
    NetOutputs,
    StrideBudget,
    build_pooled_head,
    check_images,
    collect_end_points,
    depth_scale,
    fixed_padding,
    network_scope,
)
from tf_slim_compat import slim, tf


class Conv(NamedTuple):
    """A row of the table: a convolution."""

    kernel: list[int]
    stride: int
    depth: int


class DepthSepConv(NamedTuple):
    """A row of the table: a depthwise convolution, then a pointwise one of `depth`."""

    kernel: list[int]
    stride: int
    depth: int


MOBILENETV1_CONV_DEFS = [
    Conv(kernel=[3, 3], stride=2, depth=32),
    DepthSepConv(kernel=[3, 3], stride=1, depth=64),
    DepthSepConv(kernel=[3, 3], stride=2, depth=128),
    DepthSepConv(kernel=[3, 3], stride=1, depth=128),
    DepthSepConv(kernel=[3, 3], stride=2, depth=256),
    DepthSepConv(kernel=[3, 3], stride=1, depth=256),
    DepthSepConv(kernel=[3, 3], stride=2, depth=512),
    *[DepthSepConv(kernel=[3, 3], stride=1, depth=512)] * 5,
    DepthSepConv(kernel=[3, 3], stride=2, depth=1024),
    DepthSepConv(kernel=[3, 3], stride=1, depth=1024),
]


def _layers(
    net: tf.Tensor,
    conv_defs: Sequence[Conv | DepthSepConv],
    depth: Callable[[float], int],
    budget: StrideBudget,
    use_explicit_padding: bool,
) -> Layers:
    """Yields (name, tensor) of each layer as it is built."""
    padding = "VALID" if use_explicit_padding else "SAME"
    for number, row in enumerate(conv_defs):
        stride, rate = budget.spend(row.stride)
        name = f"Conv2d_{number}"
        if use_explicit_padding:
            net = fixed_padding(net, row.kernel, rate)
        if isinstance(row, Conv):
            net = slim.conv2d(
                net,
                depth(row.depth),
                row.kernel,
                stride=stride,
                padding=padding,
                rate=rate,
                scope=name,
            )
            yield name, net
            continue
        net = slim.separable_conv2d(
            net,
            None,
            row.kernel,
            depth_multiplier=1,
            stride=stride,
            padding=padding,
            rate=rate,
            scope=f"{name}_depthwise",
        )
        yield f"{name}_depthwise", net
        net = slim.conv2d(net, depth(row.depth), 1, scope=f"{name}_pointwise")
        yield f"{name}_pointwise", net


def mobilenet_v1_base(
    inputs: tf.Tensor,
    final_endpoint: str | None = "Conv2d_13_pointwise",
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Sequence[Conv | DepthSepConv] | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    scope: str | tf.VariableScope | None = None,
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer: Conv2d_0, or Conv2d_N_depthwise or
        Conv2d_N_pointwise with N from 1 to 13; None for all layers.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      conv_defs: table of layers; None for `MOBILENETV1_CONV_DEFS`.
      output_stride: ratio of the input resolution to that of the last feature map: 8,
        16 or 32; dilation replaces further strides. None for the strides of the table.
      use_explicit_padding: whether padding depends on the kernel alone, not on the
        input size.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: `depth_multiplier`, `final_endpoint` or `output_stride` is invalid.
    """
    if output_stride not in (None, 8, 16, 32):
        raise ValueError(
            f"output_stride must be None, 8, 16 or 32, not {output_stride}."
        )
    depth = depth_scale(depth_multiplier, min_depth)
    conv_defs = MOBILENETV1_CONV_DEFS if conv_defs is None else conv_defs
    budget = StrideBudget(output_stride)
    with tf.variable_scope(scope, "MobilenetV1", [inputs]):
        layers = _layers(inputs, conv_defs, depth, budget, use_explicit_padding)
        return collect_end_points(layers, final_endpoint)


def mobilenet_v1(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    is_training: bool = True,
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Sequence[Conv | DepthSepConv] | None = None,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "MobilenetV1",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds MobileNet v1.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        depth].
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      is_training: whether dropout and batch normalization are in training mode.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      conv_defs: table of layers; None for `MOBILENETV1_CONV_DEFS`.
      prediction_fn: function of (logits, scope=...).
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      global_pool: whether to pool the whole last feature map, not windows of 7x7.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `inputs` is not of rank 4, or `depth_multiplier` is not positive.
    """
    with network_scope(scope, "MobilenetV1", inputs, is_training, reuse) as scope:
        check_images(inputs)
        net, end_points = mobilenet_v1_base(
            inputs,
            None if conv_defs else "Conv2d_13_pointwise",
            min_depth,
            depth_multiplier,
            conv_defs,
            scope=scope,
        )
        logits = build_pooled_head(
            net,
            end_points,
            num_classes,
            window=[7, 7],
            dropout_keep_prob=dropout_keep_prob,
            prediction_fn=prediction_fn,
            spatial_squeeze=spatial_squeeze,
            global_pool=global_pool,
            pool_scope="AvgPool_1a",
        )
    return logits, end_points


mobilenet_v1.default_image_size = 224


def mobilenet_v1_075(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    is_training: bool = True,
    min_depth: int = 8,
    depth_multiplier: float = 0.75,
    conv_defs: Sequence[Conv | DepthSepConv] | None = None,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "MobilenetV1",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds MobileNet v1 of width 0.75; see `mobilenet_v1` for the arguments."""
    return mobilenet_v1(**locals())


mobilenet_v1_075.default_image_size = 224


def mobilenet_v1_050(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    is_training: bool = True,
    min_depth: int = 8,
    depth_multiplier: float = 0.50,
    conv_defs: Sequence[Conv | DepthSepConv] | None = None,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "MobilenetV1",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds MobileNet v1 of width 0.50; see `mobilenet_v1` for the arguments."""
    return mobilenet_v1(**locals())


mobilenet_v1_050.default_image_size = 224


def mobilenet_v1_025(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    is_training: bool = True,
    min_depth: int = 8,
    depth_multiplier: float = 0.25,
    conv_defs: Sequence[Conv | DepthSepConv] | None = None,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "MobilenetV1",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds MobileNet v1 of width 0.25; see `mobilenet_v1` for the arguments."""
    return mobilenet_v1(**locals())


mobilenet_v1_025.default_image_size = 224


def mobilenet_v1_arg_scope(
    is_training: bool | None = True,
    weight_decay: float = 0.00004,
    stddev: float = 0.09,
    regularize_depthwise: bool = False,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 0.001,
    batch_norm_updates_collections: str | None = tf.GraphKeys.UPDATE_OPS,
    normalizer_fn: Callable[..., tf.Tensor] | None = slim.batch_norm,
) -> dict[str, Any]:
    """Returns the arg scope of MobileNet v1.

    Args:
      is_training: whether batch normalization is in training mode; None leaves it to an
        outer scope.
      weight_decay: L2 regularization factor of the weights.
      stddev: standard deviation of the truncated normal initial weights.
      regularize_depthwise: whether to regularize depthwise weights too.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
      batch_norm_updates_collections: collection of the update ops; None updates in
        place.
      normalizer_fn: normalization function; None for biases instead.
    """
    norm = {
        "center": True,
        "scale": True,
        "decay": batch_norm_decay,
        "epsilon": batch_norm_epsilon,
        "updates_collections": batch_norm_updates_collections,
    }
    if is_training is not None:
        norm["is_training"] = is_training
    regularizer = slim.l2_regularizer(weight_decay)
    with (
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d],
            weights_initializer=tf.truncated_normal_initializer(stddev=stddev),
            activation_fn=tf.nn.relu6,
            normalizer_fn=normalizer_fn,
        ),
        slim.arg_scope([slim.batch_norm], **norm),
        slim.arg_scope([slim.conv2d], weights_regularizer=regularizer),
        slim.arg_scope(
            [slim.separable_conv2d],
            weights_regularizer=regularizer if regularize_depthwise else None,
        ) as scope,
    ):
        return scope
