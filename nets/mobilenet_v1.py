"""MobileNet v1: depthwise separable convolutions, in four widths.

A. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, https://arxiv.org/abs/1704.04861

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes work too. Output: logits
[batch, classes]; the last map is [batch, 7, 7, 1024 * depth_multiplier].

| network          | parameters, 1001 classes | published top-1, 224 pixels |
|------------------|--------------------------|-----------------------------|
| mobilenet_v1     | 4,233,001                | 70.9 %                      |
| mobilenet_v1_075 | 2,586,329                | 68.4 %                      |
| mobilenet_v1_050 | 1,332,105                | 63.3 %                      |
| mobilenet_v1_025 | 470,329                  | 49.8 %                      |
"""

import functools
from typing import NamedTuple

from nets.net_utils import (
    StrideBudget,
    build_pooled_head,
    check_images,
    collect_end_points,
    depth_scale,
    fixed_padding,
    variant,
)
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf


class Conv(NamedTuple):
    """A row of the table: one convolution."""

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


def _layers(net, conv_defs, depth, budget, use_explicit_padding):
    """Builds the rows one after another; yields (name, tensor)."""
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
                stride,
                padding,
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
    inputs,
    final_endpoint="Conv2d_13_pointwise",
    min_depth=8,
    depth_multiplier=1.0,
    conv_defs=None,
    output_stride=None,
    use_explicit_padding=False,
    scope=None,
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, Conv2d_0 or Conv2d_N_depthwise or
        Conv2d_N_pointwise with N from 1 to 13.
      min_depth: int, the least number of channels, where `depth_multiplier` < 1.
      depth_multiplier: float > 0, the factor of all numbers of channels.
      conv_defs: list of `Conv` and `DepthSepConv`; None for `MOBILENETV1_CONV_DEFS`.
      output_stride: 8, 16 or 32, how many times smaller the last map may become; what
        striding would lose is dilated instead. None for the strides of the table.
      use_explicit_padding: pads by the kernel's size alone, whatever the input's size.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `depth_multiplier`, `final_endpoint` or `output_stride` is none of the
        above.
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


def _build_map(inputs, min_depth, depth_multiplier, conv_defs, scope):
    """Returns the last map of the table, whichever table it is, and the end points."""
    check_images(inputs)
    last = None if conv_defs else "Conv2d_13_pointwise"
    return mobilenet_v1_base(
        inputs, last, min_depth, depth_multiplier, conv_defs, scope=scope
    )


mobilenet_v1 = define_classifier(
    "mobilenet_v1",
    _build_map,
    functools.partial(build_pooled_head, window=[7, 7]),
    224,
    default_scope="MobilenetV1",
    num_classes=1000,
    dropout_keep_prob=0.999,
    is_training=True,
    min_depth=8,
    depth_multiplier=1.0,
    conv_defs=None,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    scope="MobilenetV1",
    global_pool=False,
)
mobilenet_v1_075 = variant(mobilenet_v1, "mobilenet_v1_075", depth_multiplier=0.75)
mobilenet_v1_050 = variant(mobilenet_v1, "mobilenet_v1_050", depth_multiplier=0.50)
mobilenet_v1_025 = variant(mobilenet_v1, "mobilenet_v1_025", depth_multiplier=0.25)


def mobilenet_v1_arg_scope(
    is_training=True,
    weight_decay=0.00004,
    stddev=0.09,
    regularize_depthwise=False,
    batch_norm_decay=0.9997,
    batch_norm_epsilon=0.001,
    batch_norm_updates_collections=tf.GraphKeys.UPDATE_OPS,
    normalizer_fn=slim.batch_norm,
):
    """Returns MobileNet v1's arg scope.

    Args:
      is_training: bool for batch normalisation; None leaves it to an outer scope.
      weight_decay: float, the factor of the weights' L2 loss.
      stddev: float, of the truncated normal distribution that weights start from.
      regularize_depthwise: whether the L2 loss covers the depthwise weights too.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
      batch_norm_updates_collections: collection of the update operations, or None to
        update in place.
      normalizer_fn: callable, or None for biases instead.
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
