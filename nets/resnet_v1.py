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

from nets import resnet_utils
from nets.net_utils import depth_scale, name_network
from nets.resnet_utils import UNITS, conv2d_same, resnet_arg_scope, subsample
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


def resnet_v1(
    inputs,
    blocks,
    num_classes=None,
    is_training=True,
    global_pool=True,
    output_stride=None,
    include_root_block=True,
    spatial_squeeze=True,
    store_non_strided_activations=False,
    reuse=None,
    scope=None,
):
    """Builds a ResNet v1 from its blocks.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      blocks: list of what `resnet_v1_block` returns.
      num_classes: int; 0 or None gives the features [batch, 1, 1, channels].
      is_training: bool for batch normalisation; None leaves it to the arg scope.
      global_pool: average the last map. For a prediction at each place of the picture:
        False, with `spatial_squeeze=False`.
      output_stride: a multiple of 4, how many times smaller the last map may become;
        what striding would lose is dilated instead. None for the blocks' strides.
      include_root_block: whether to begin with the 7x7 convolution and the pool.
      spatial_squeeze: logits [batch, classes] instead of [batch, h, w, classes].
      store_non_strided_activations: whether the end point of a block is its map before
        the block's stride.
      reuse: whether the variables exist already.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and a dict of all units and layers.

    Raises:
      ValueError: `output_stride` cannot be reached.
    """
    return resnet_utils.build_resnet(
        inputs,
        blocks,
        bottleneck,
        num_classes=num_classes,
        is_training=is_training,
        global_pool=global_pool,
        output_stride=output_stride,
        include_root_block=include_root_block,
        spatial_squeeze=spatial_squeeze,
        store_non_strided_activations=store_non_strided_activations,
        reuse=reuse,
        scope=scope,
        default_scope="resnet_v1",
    )


resnet_v1.default_image_size = 224


def resnet_v1_block(scope, base_depth, num_units, stride):
    """Returns a `resnet_utils.Block` of `num_units` units of depth 4 * `base_depth`."""
    return resnet_utils.make_block(scope, bottleneck, base_depth, num_units, stride)


def _define(name, units):
    """Returns the function that builds the ResNet with these numbers of units."""

    def network(
        inputs,
        num_classes=None,
        is_training=True,
        global_pool=True,
        output_stride=None,
        spatial_squeeze=True,
        store_non_strided_activations=False,
        min_base_depth=8,
        depth_multiplier=1,
        reuse=None,
        scope=name,
    ):
        depth = depth_scale(depth_multiplier, min_base_depth)
        return resnet_v1(
            inputs,
            resnet_utils.make_blocks(resnet_v1_block, units, depth),
            num_classes,
            is_training,
            global_pool=global_pool,
            output_stride=output_stride,
            spatial_squeeze=spatial_squeeze,
            store_non_strided_activations=store_non_strided_activations,
            reuse=reuse,
            scope=scope,
        )

    network.__doc__ = (
        f"Builds {name}, with {units} units in its blocks; see `resnet_v1`. Depths are "
        "those of the paper times `depth_multiplier`, and at least `min_base_depth`."
    )
    return name_network(network, name, resnet_v1.default_image_size)


resnet_v1_50 = _define("resnet_v1_50", UNITS[50])
resnet_v1_101 = _define("resnet_v1_101", UNITS[101])
resnet_v1_152 = _define("resnet_v1_152", UNITS[152])
resnet_v1_200 = _define("resnet_v1_200", UNITS[200])
