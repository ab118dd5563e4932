"""ResNet v1: residual networks with 50, 101, 152 and 200 layers.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385

Input: float [batch, 224, 224, 3], the mean color subtracted; other sizes also work.
Output: logits [batch, classes]; the last feature map is [batch, 7, 7, 2048].

| network       | parameters, 1001 classes | published top-1 on ImageNet |
|---------------|--------------------------|-----------------------------|
| resnet_v1_50  | 25,559,081               | 75.2 %                      |
| resnet_v1_101 | 44,551,209               | 76.4 %                      |
| resnet_v1_152 | 60,194,857               | 76.8 %                      |
| resnet_v1_200 | 64,675,881               |                             |
"""

from collections.abc import Sequence
from typing import Any

from nets import resnet_utils
from nets.net_utils import NetOutputs, depth_scale
from nets.resnet_utils import (
    UNITS,
    Block,
    build_resnet,
    conv2d_same,
    make_block,
    make_blocks,
    resnet_arg_scope,
    subsample,
)
from nets.stochastic_depth import drop_residual
from tf_slim_compat import slim, tf

__all__ = [
    "bottleneck",
    "resnet_arg_scope",
    "resnet_utils",
    "resnet_v1",
    "resnet_v1_50",
    "resnet_v1_101",
    "resnet_v1_152",
    "resnet_v1_200",
    "resnet_v1_block",
]


@slim.add_arg_scope
def bottleneck(
    inputs: tf.Tensor,
    depth: int,
    depth_bottleneck: int,
    stride: int,
    rate: int = 1,
    outputs_collections: str | None = None,
    scope: str | None = None,
    use_bounded_activations: bool = False,
) -> tf.Tensor:
    """Builds a residual unit: 1x1, 3x3 and 1x1 convolutions, added to the shortcut.

    Args:
      inputs: float tensor [batch, height, width, channels].
      depth: number of output channels.
      depth_bottleneck: number of channels of the first two convolutions.
      stride: stride of the 3x3 convolution.
      rate: dilation rate of the 3x3 convolution.
      outputs_collections: collection that the output is added to.
      scope: name of the variable scope.
      use_bounded_activations: whether to clip activations at 6, for quantization.

    Returns:
      Float tensor [batch, height / stride, width / stride, depth].
    """
    with tf.variable_scope(scope, "bottleneck_v1", [inputs]) as scope:
        if depth == inputs.shape[-1]:
            shortcut = subsample(inputs, stride, "shortcut")
        else:
            shortcut = slim.conv2d(
                inputs,
                depth,
                1,
                stride=stride,
                activation_fn=tf.nn.relu6 if use_bounded_activations else None,
                scope="shortcut",
            )
        residual = slim.conv2d(inputs, depth_bottleneck, 1, scope="conv1")
        residual = conv2d_same(
            residual, depth_bottleneck, 3, stride, rate, scope="conv2"
        )
        residual = slim.conv2d(residual, depth, 1, activation_fn=None, scope="conv3")
        residual = drop_residual(residual)
        if use_bounded_activations:
            residual = tf.clip_by_value(residual, -6.0, 6.0)
            output = tf.nn.relu6(shortcut + residual)
        else:
            output = tf.nn.relu(shortcut + residual)
        return slim.utils.collect_named_outputs(outputs_collections, scope.name, output)


def resnet_v1(
    inputs: tf.Tensor,
    blocks: Sequence[Block],
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    include_root_block: bool = True,
    spatial_squeeze: bool = True,
    store_non_strided_activations: bool = False,
    reuse: bool | None = None,
    scope: str | None = None,
) -> NetOutputs:
    """Builds a ResNet v1 from blocks.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      blocks: blocks made by `resnet_v1_block`.
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      is_training: whether batch normalization is in training mode; None leaves it to
        the arg scope.
      global_pool: whether to average the last feature map. For a prediction at each
        location, pass False, with `spatial_squeeze=False`.
      output_stride: ratio of the input resolution to that of the last feature map, a
        multiple of 4; dilation replaces further strides. None for the strides of the
        blocks.
      include_root_block: whether to build the first 7x7 convolution and pool.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      store_non_strided_activations: whether the end point of a block is its feature map
        before striding.
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and all units and layers by name.

    Raises:
      ValueError: an argument is out of range, or `output_stride` cannot be reached.
    """
    return build_resnet(bottleneck, "resnet_v1", **locals())


resnet_v1.default_image_size = 224


def resnet_v1_block(scope: str, base_depth: int, num_units: int, stride: int) -> Block:
    """Returns a block of `num_units` units with 4 * `base_depth` output channels."""
    return make_block(scope, bottleneck, base_depth, num_units, stride)


def _build(
    layers: int, *, min_base_depth: int, depth_multiplier: float, **arguments: Any
) -> NetOutputs:
    """Builds the ResNet with this number of layers."""
    depth = depth_scale(depth_multiplier, min_base_depth)
    blocks = make_blocks(resnet_v1_block, UNITS[layers], depth)
    return resnet_v1(blocks=blocks, **arguments)


def resnet_v1_50(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    store_non_strided_activations: bool = False,
    min_base_depth: int = 8,
    depth_multiplier: float = 1,
    reuse: bool | None = None,
    scope: str | None = "resnet_v1_50",
) -> NetOutputs:
    """Builds ResNet v1 of 50 layers.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      is_training: whether batch normalization is in training mode; None leaves it to
        the arg scope.
      global_pool: whether to average the last feature map. For a prediction at each
        location, pass False, with `spatial_squeeze=False`.
      output_stride: ratio of the input resolution to that of the last feature map, a
        multiple of 4; dilation replaces further strides. None for the strides of the
        blocks.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      store_non_strided_activations: whether the end point of a block is its feature map
        before striding.
      min_base_depth: minimum number of channels inside a unit.
      depth_multiplier: positive factor of the number of channels inside units.
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and all units and layers by name.

    Raises:
      ValueError: an argument is out of range, or `output_stride` cannot be reached.
    """
    return _build(50, **locals())


resnet_v1_50.default_image_size = 224


def resnet_v1_101(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    store_non_strided_activations: bool = False,
    min_base_depth: int = 8,
    depth_multiplier: float = 1,
    reuse: bool | None = None,
    scope: str | None = "resnet_v1_101",
) -> NetOutputs:
    """Builds ResNet v1 of 101 layers; see `resnet_v1_50` for the arguments."""
    return _build(101, **locals())


resnet_v1_101.default_image_size = 224


def resnet_v1_152(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    store_non_strided_activations: bool = False,
    spatial_squeeze: bool = True,
    min_base_depth: int = 8,
    depth_multiplier: float = 1,
    reuse: bool | None = None,
    scope: str | None = "resnet_v1_152",
) -> NetOutputs:
    """Builds ResNet v1 of 152 layers; see `resnet_v1_50` for the arguments.

    `store_non_strided_activations` comes before `spatial_squeeze`, and callers may rely
    on this order.
    """
    return _build(152, **locals())


resnet_v1_152.default_image_size = 224


def resnet_v1_200(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    store_non_strided_activations: bool = False,
    spatial_squeeze: bool = True,
    min_base_depth: int = 8,
    depth_multiplier: float = 1,
    reuse: bool | None = None,
    scope: str | None = "resnet_v1_200",
) -> NetOutputs:
    """Builds ResNet v1 of 200 layers; see `resnet_v1_50` for the arguments."""
    return _build(200, **locals())


resnet_v1_200.default_image_size = 224
