"""ResNet v2: residual networks that normalize before each convolution.

K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", 2016,
https://arxiv.org/abs/1603.05027

Input: float [batch, 224, 224, 3], the mean color subtracted; other sizes also work. The
public checkpoints expect 299 pixels in [-1, 1] (inception preprocessing). Output:
logits [batch, classes]; the last feature map is [batch, 7, 7, 2048].

| network       | parameters, 1001 classes | published top-1 on ImageNet |
|---------------|--------------------------|-----------------------------|
| resnet_v2_50  | 25,570,409               | 75.6 %                      |
| resnet_v2_101 | 44,579,945               | 77.0 %                      |
| resnet_v2_152 | 60,238,953               | 77.8 %                      |
| resnet_v2_200 | 64,728,169               | 79.9 % (paper)              |
"""

from collections.abc import Sequence
from typing import Any

from nets import resnet_utils
from nets.net_utils import NetOutputs
from nets.resnet_utils import (
    UNITS,
    Block,
    build_resnet,
    conv2d_same,
    make_block,
    make_blocks,
    resnet_arg_scope,
    resnet_keras_arg_scope,
    subsample,
)
from nets.stochastic_depth import drop_residual
from tf_slim_compat import slim, tf

__all__ = [
    "bottleneck",
    "resnet_arg_scope",
    "resnet_keras_arg_scope",
    "resnet_utils",
    "resnet_v2",
    "resnet_v2_50",
    "resnet_v2_101",
    "resnet_v2_152",
    "resnet_v2_200",
    "resnet_v2_block",
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
) -> tf.Tensor:
    """Builds a residual unit that normalizes before each convolution.

    See `resnet_v1.bottleneck` for the arguments and the result.
    """
    bare = {"activation_fn": None, "normalizer_fn": None}
    with tf.variable_scope(scope, "bottleneck_v2", [inputs]) as scope:
        net = slim.batch_norm(inputs, activation_fn=tf.nn.relu, scope="preact")
        if depth == inputs.shape[-1]:
            shortcut = subsample(inputs, stride, "shortcut")
        else:
            shortcut = slim.conv2d(
                net, depth, 1, stride=stride, scope="shortcut", **bare
            )
        net = slim.conv2d(net, depth_bottleneck, 1, scope="conv1")
        net = conv2d_same(net, depth_bottleneck, 3, stride, rate, scope="conv2")
        net = slim.conv2d(net, depth, 1, scope="conv3", **bare)
        return slim.utils.collect_named_outputs(
            outputs_collections, scope.name, shortcut + drop_residual(net)
        )


def resnet_v2(
    inputs: tf.Tensor,
    blocks: Sequence[Block],
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    include_root_block: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = None,
) -> NetOutputs:
    """Builds a ResNet v2 from blocks.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      blocks: blocks made by `resnet_v2_block`.
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
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and all units and layers by name.

    Raises:
      ValueError: an argument is out of range, or `output_stride` cannot be reached.
    """
    return build_resnet(bottleneck, "resnet_v2", preactivation=True, **locals())


resnet_v2.default_image_size = 224


def resnet_v2_block(scope: str, base_depth: int, num_units: int, stride: int) -> Block:
    """Returns a block of `num_units` units with 4 * `base_depth` output channels."""
    return make_block(scope, bottleneck, base_depth, num_units, stride)


def _build(layers: int, **arguments: Any) -> NetOutputs:
    """Builds the ResNet with this number of layers."""
    return resnet_v2(blocks=make_blocks(resnet_v2_block, UNITS[layers]), **arguments)


def resnet_v2_50(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "resnet_v2_50",
) -> NetOutputs:
    """Builds ResNet v2 of 50 layers.

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
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and all units and layers by name.

    Raises:
      ValueError: an argument is out of range, or `output_stride` cannot be reached.
    """
    return _build(50, **locals())


resnet_v2_50.default_image_size = 224


def resnet_v2_101(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "resnet_v2_101",
) -> NetOutputs:
    """Builds ResNet v2 of 101 layers; see `resnet_v2_50` for the arguments."""
    return _build(101, **locals())


resnet_v2_101.default_image_size = 224


def resnet_v2_152(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "resnet_v2_152",
) -> NetOutputs:
    """Builds ResNet v2 of 152 layers; see `resnet_v2_50` for the arguments."""
    return _build(152, **locals())


resnet_v2_152.default_image_size = 224


def resnet_v2_200(
    inputs: tf.Tensor,
    num_classes: int | None = None,
    is_training: bool | None = True,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "resnet_v2_200",
) -> NetOutputs:
    """Builds ResNet v2 of 200 layers; see `resnet_v2_50` for the arguments."""
    return _build(200, **locals())


resnet_v2_200.default_image_size = 224
