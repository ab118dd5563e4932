"""ResNet v1: residual networks of 50, 101, 152 and 200 layers.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385

Input: float [batch, 224, 224, 3], the mean colour subtracted; other sizes work too.
Output: logits [batch, classes]; the last map is [batch, 7, 7, 2048].

| network       | parameters, 1001 classes | published top-1 on ImageNet |
|---------------|--------------------------|-----------------------------|
| resnet_v1_50  | 25,559,081               | 75.2 %                      |
| resnet_v1_101 | 44,551,209               | 76.4 %                      |
| resnet_v1_152 | 60,194,857               | 76.8 %                      |
| resnet_v1_200 | 64,675,881               |                             |
"""

import functools

from nets.net_utils import depth_scale
from nets.resnet_utils import (
    UNITS,
    build_resnet,
    conv2d_same,
    define_resnet,
    make_block,
    make_blocks,
    resnet_arg_scope,
    subsample,
)
from tf_slim_compat import slim, tf

__all__ = [
    "bottleneck",
    "resnet_arg_scope",
    "resnet_v1",
    "resnet_v1_50",
    "resnet_v1_101",
    "resnet_v1_152",
    "resnet_v1_200",
    "resnet_v1_block",
]


@slim.add_arg_scope
def bottleneck(
    inputs,
    depth,
    depth_bottleneck,
    stride,
    rate=1,
    outputs_collections=None,
    scope=None,
    use_bounded_activations=False,
):
    """A residual unit: 1x1, 3x3 and 1x1 convolutions, added to the shortcut.

    Args:
      inputs: float tensor [batch, height, width, channels].
      depth: int, channels of the output.
      depth_bottleneck: int, channels of the first two convolutions.
      stride: int, of the 3x3 convolution.
      rate: int, its dilation.
      outputs_collections: collection to which the output is added.
      scope: name of the variable scope.
      use_bounded_activations: clips the unit's activations at 6, for quantisation.

    Returns:
      float tensor [batch, height / stride, width / stride, depth].
    """
    with tf.variable_scope(scope, "bottleneck_v1", [inputs]) as scope:
        if depth == inputs.shape[-1]:
            shortcut = subsample(inputs, stride, "shortcut")
        else:
            shortcut = slim.conv2d(
                inputs,
                depth,
                1,
                stride,
                activation_fn=tf.nn.relu6 if use_bounded_activations else None,
                scope="shortcut",
            )
        residual = slim.conv2d(inputs, depth_bottleneck, 1, scope="conv1")
        residual = conv2d_same(
            residual, depth_bottleneck, 3, stride, rate, scope="conv2"
        )
        residual = slim.conv2d(residual, depth, 1, activation_fn=None, scope="conv3")
        if use_bounded_activations:
            residual = tf.clip_by_value(residual, -6.0, 6.0)
            output = tf.nn.relu6(shortcut + residual)
        else:
            output = tf.nn.relu(shortcut + residual)
        return slim.utils.collect_named_outputs(outputs_collections, scope.name, output)


resnet_v1 = define_resnet(
    "resnet_v1",
    functools.partial(build_resnet, unit_fn=bottleneck, default_scope="resnet_v1"),
    include_root_block=True,
    spatial_squeeze=True,
    store_non_strided_activations=False,
    reuse=None,
    scope=None,
)


def resnet_v1_block(scope, base_depth, num_units, stride):
    """Returns a `resnet_utils.Block` of `num_units` units of depth 4 * `base_depth`."""
    return make_block(scope, bottleneck, base_depth, num_units, stride)


def _define(name, units, **order):
    """Returns the function that builds the ResNet with these numbers of units."""

    def build(inputs, min_base_depth, depth_multiplier, **kwargs):
        depth = depth_scale(depth_multiplier, min_base_depth)
        blocks = make_blocks(resnet_v1_block, units, depth)
        return resnet_v1(inputs, blocks, **kwargs)

    return define_resnet(
        name,
        build,
        **order,
        min_base_depth=8,
        depth_multiplier=1,
        reuse=None,
        scope=name,
    )


# Users' code may rely on the order of the arguments, which is not that of all.
_SQUEEZE_FIRST = {"spatial_squeeze": True, "store_non_strided_activations": False}
_STORE_FIRST = {"store_non_strided_activations": False, "spatial_squeeze": True}

resnet_v1_50 = _define("resnet_v1_50", UNITS[50], **_SQUEEZE_FIRST)
resnet_v1_101 = _define("resnet_v1_101", UNITS[101], **_SQUEEZE_FIRST)
resnet_v1_152 = _define("resnet_v1_152", UNITS[152], **_STORE_FIRST)
resnet_v1_200 = _define("resnet_v1_200", UNITS[200], **_STORE_FIRST)
