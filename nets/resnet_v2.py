"""ResNet v2: residual networks that normalise before each convolution.

K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", 2016,
https://arxiv.org/abs/1603.05027

Input: float [batch, 224, 224, 3], the mean colour subtracted; other sizes work too. The
public checkpoints want 299 pixels in [-1, 1]: `--preprocessing_name=inception`. Output:
logits [batch, classes]; the last map is [batch, 7, 7, 2048].

| network       | parameters, 1001 classes | published top-1 on ImageNet |
|---------------|--------------------------|-----------------------------|
| resnet_v2_50  | 25,570,409               | 75.6 %                      |
| resnet_v2_101 | 44,579,945               | 77.0 %                      |
| resnet_v2_152 | 60,238,953               | 77.8 %                      |
| resnet_v2_200 | 64,728,169               | 79.9 %, the paper's         |
"""

import functools

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
    "resnet_v2",
    "resnet_v2_50",
    "resnet_v2_101",
    "resnet_v2_152",
    "resnet_v2_200",
    "resnet_v2_block",
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
):
    """A residual unit: normalisation, 1x1, 3x3 and 1x1 convolutions, and the shortcut.

    Takes and returns what `resnet_v1.bottleneck` does.
    """
    bare = {"activation_fn": None, "normalizer_fn": None}
    with tf.variable_scope(scope, "bottleneck_v2", [inputs]) as scope:
        net = slim.batch_norm(inputs, activation_fn=tf.nn.relu, scope="preact")
        if depth == inputs.shape[-1]:
            shortcut = subsample(inputs, stride, "shortcut")
        else:
            shortcut = slim.conv2d(net, depth, 1, stride, scope="shortcut", **bare)
        net = slim.conv2d(net, depth_bottleneck, 1, scope="conv1")
        net = conv2d_same(net, depth_bottleneck, 3, stride, rate, scope="conv2")
        net = slim.conv2d(net, depth, 1, scope="conv3", **bare)
        return slim.utils.collect_named_outputs(
            outputs_collections, scope.name, shortcut + net
        )


resnet_v2 = define_resnet(
    "resnet_v2",
    functools.partial(
        build_resnet,
        unit_fn=bottleneck,
        default_scope="resnet_v2",
        preactivation=True,
    ),
    include_root_block=True,
    spatial_squeeze=True,
    reuse=None,
    scope=None,
)


def resnet_v2_block(scope, base_depth, num_units, stride):
    """Returns a `resnet_utils.Block` of `num_units` units of depth 4 * `base_depth`."""
    return make_block(scope, bottleneck, base_depth, num_units, stride)


def _define(name, units):
    """Returns the function that builds the ResNet with these numbers of units."""

    def build(inputs, **kwargs):
        return resnet_v2(inputs, make_blocks(resnet_v2_block, units), **kwargs)

    return define_resnet(name, build, spatial_squeeze=True, reuse=None, scope=name)


resnet_v2_50 = _define("resnet_v2_50", UNITS[50])
resnet_v2_101 = _define("resnet_v2_101", UNITS[101])
resnet_v2_152 = _define("resnet_v2_152", UNITS[152])
resnet_v2_200 = _define("resnet_v2_200", UNITS[200])
