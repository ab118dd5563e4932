"""Shared by ResNet v1 and v2: blocks and their stacking, the body, the arg scope.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385

A block strides in its last unit, not in its first as in the paper: so the map that a
detector takes from within a block is the finer one.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from nets.net_utils import StrideBudget, fixed_padding
from nets.network_definitions import REQUIRED, define_network
from tf_slim_compat import slim, tf

# Units in each of the four blocks, by the number of layers.
UNITS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class Block(NamedTuple):
    """A row of a ResNet's table.

    Attributes:
      scope: name of the block's variable scope.
      unit_fn: callable of (net, rate=..., **args) that builds a unit.
      args: list of dicts, the arguments of each unit, "stride" among them.
    """

    scope: str
    unit_fn: Callable[..., Any]
    args: list[dict[str, int]]


def make_block(scope, unit_fn, base_depth, num_units, stride):
    """Returns a `Block` of bottleneck units, of which the last strides."""
    unit = {"depth": base_depth * 4, "depth_bottleneck": base_depth}
    strides = [1] * (num_units - 1) + [stride]
    return Block(scope, unit_fn, [{**unit, "stride": s} for s in strides])


def make_blocks(block_fn, units, depth=lambda base_depth: base_depth):
    """Returns the four blocks of a ResNet.

    Args:
      block_fn: callable of (scope, base_depth, num_units, stride) that returns a block.
      units: number of units in each block, e.g. `UNITS[50]`.
      depth: callable from the paper's depth to this network's.
    """
    return [
        block_fn(f"block{number}", depth(base_depth), num_units, stride)
        for number, base_depth, num_units, stride in zip(
            (1, 2, 3, 4), (64, 128, 256, 512), units, (2, 2, 2, 1), strict=True
        )
    ]


def subsample(inputs, factor, scope=None):
    """Returns every `factor`-th row and column of [batch, height, width, channels]."""
    if factor == 1:
        return inputs
    return slim.max_pool2d(inputs, 1, factor, scope=scope)


def conv2d_same(inputs, num_outputs, kernel_size, stride, rate=1, scope=None):
    """A convolution whose output does not shift with the parity of the input's size.

    A strided "SAME" convolution pads even sizes otherwise than odd ones; this equals a
    "SAME" convolution of stride 1 followed by `subsample`.

    Args:
      inputs: float tensor [batch, height, width, channels].
      num_outputs: int, channels of the output.
      kernel_size: int.
      stride: int.
      rate: int, the dilation.
      scope: name of the variable scope.

    Returns:
      float tensor [batch, ceil(height / stride), ceil(width / stride), num_outputs].
    """
    padding = "SAME"
    if stride > 1:
        inputs, padding = fixed_padding(inputs, kernel_size, rate), "VALID"
    return slim.conv2d(
        inputs, num_outputs, kernel_size, stride, padding, rate=rate, scope=scope
    )


@slim.add_arg_scope
def stack_blocks_dense(
    net,
    blocks,
    output_stride=None,
    store_non_strided_activations=False,
    outputs_collections=None,
):
    """Stacks blocks, dilating in place of striding beyond `output_stride`.

    Args:
      net: float tensor [batch, height, width, channels].
      blocks: list of `Block`.
      output_stride: how many times smaller the output is to be than `net`, or None for
        the strides of the blocks.
      store_non_strided_activations: whether the end point of a block is its map before
        the block's stride.
      outputs_collections: collection to which each block's output is added.

    Returns:
      float tensor [batch, height / stride, width / stride, channels].

    Raises:
      ValueError: the strides of the blocks do not come to `output_stride`.
    """
    budget = StrideBudget(output_stride)
    for block in blocks:
        with tf.variable_scope(block.scope, "block", [net]) as scope:
            postponed = 1
            for number, unit in enumerate(block.args, start=1):
                stride = unit["stride"]
                if store_non_strided_activations and number == len(block.args):
                    stride, postponed = 1, stride
                stride, rate = budget.spend(stride)
                with tf.variable_scope(f"unit_{number}", values=[net]):
                    net = block.unit_fn(net, rate=rate, **{**unit, "stride": stride})
            net = slim.utils.collect_named_outputs(outputs_collections, scope.name, net)
            net = subsample(net, budget.spend(postponed)[0])
    if output_stride not in (None, budget.current):
        raise ValueError(
            f"output_stride {output_stride} cannot be reached: the blocks stride by "
            f"{budget.current} in all."
        )
    return net


def build_resnet(
    inputs,
    blocks,
    unit_fn,
    *,
    num_classes,
    is_training,
    global_pool,
    output_stride,
    include_root_block,
    spatial_squeeze,
    reuse,
    scope,
    default_scope,
    store_non_strided_activations=False,
    preactivation=False,
):
    """Builds a ResNet from its blocks.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      blocks: list of `Block`.
      unit_fn: the blocks' unit function, decorated with `slim.add_arg_scope`.
      num_classes: int; 0 or None gives the features [batch, 1, 1, channels].
      is_training: bool for batch normalisation; None leaves it to the arg scope.
      global_pool: average the last map. For a prediction at each place of the picture:
        False, with `spatial_squeeze=False`.
      output_stride: a multiple of 4, how many times smaller the last map may become;
        what striding would lose is dilated instead. None for the blocks' strides.
      include_root_block: whether to begin with the 7x7 convolution and the pool.
      spatial_squeeze: logits [batch, classes] instead of [batch, h, w, classes].
      reuse: whether the variables exist already.
      scope: name of the variable scope.
      default_scope: the same, where `scope` is None.
      store_non_strided_activations: whether the end point of a block is its map before
        the block's stride.
      preactivation: whether units normalise what enters them (version 2): the first
        convolution then is bare, and the last map is normalised.

    Returns:
      `(net, end_points)`: logits or features, and a dict of all units and layers.

    Raises:
      ValueError: `output_stride` cannot be reached.
    """
    if is_training is None:
        training_scope = contextlib.nullcontext()
    else:
        training_scope = slim.arg_scope([slim.batch_norm], is_training=is_training)
    with tf.variable_scope(scope, default_scope, [inputs], reuse=reuse) as scope:
        collection = scope.original_name_scope + "_end_points"
        with (
            training_scope,
            slim.arg_scope(
                [slim.conv2d, unit_fn, stack_blocks_dense],
                outputs_collections=collection,
            ),
        ):
            net = inputs
            if include_root_block:
                net = _build_root_block(net, preactivation)
                output_stride = _stride_after_root(output_stride)
            net = stack_blocks_dense(
                net, blocks, output_stride, store_non_strided_activations
            )
            if preactivation:
                net = slim.batch_norm(net, activation_fn=tf.nn.relu, scope="postnorm")
            end_points = slim.utils.convert_collection_to_dict(collection)
            return build_head(
                net, end_points, num_classes, global_pool, spatial_squeeze, scope.name
            )


def _build_root_block(net, bare):
    """A strided 7x7 convolution and a strided pool: a quarter of the size."""
    layer = {"activation_fn": None, "normalizer_fn": None} if bare else {}
    with slim.arg_scope([slim.conv2d], **layer):
        net = conv2d_same(net, 64, 7, stride=2, scope="conv1")
    return slim.max_pool2d(net, 3, 2, scope="pool1")


def _stride_after_root(output_stride):
    if output_stride is None:
        return None
    if output_stride % 4:
        raise ValueError(f"output_stride must be a multiple of 4, not {output_stride}.")
    return output_stride // 4


def define_resnet(name, build, **arguments):
    """Returns the function of a ResNet; see `network_definitions.define_network`."""
    first = {"num_classes": None, "is_training": True, "global_pool": True}
    blocks = {"blocks": REQUIRED} if "include_root_block" in arguments else {}
    return define_network(
        name, build, 224, **blocks, **first, output_stride=None, **arguments
    )


def build_head(net, end_points, num_classes, global_pool, spatial_squeeze, name):
    """Pools, classifies, and returns (net, end_points)."""
    if global_pool:
        net = tf.reduce_mean(net, [1, 2], keepdims=True, name="pool5")
        end_points["global_pool"] = net
    if num_classes:
        net = slim.conv2d(
            net, num_classes, 1, activation_fn=None, normalizer_fn=None, scope="logits"
        )
        end_points[f"{name}/logits"] = net
        if spatial_squeeze:
            net = tf.squeeze(net, [1, 2], name="SpatialSqueeze")
            end_points[f"{name}/spatial_squeeze"] = net
        end_points["predictions"] = slim.softmax(net, scope="predictions")
    return net, end_points


def resnet_arg_scope(
    weight_decay=0.0001,
    batch_norm_decay=0.997,
    batch_norm_epsilon=1e-5,
    batch_norm_scale=True,
    activation_fn=tf.nn.relu,
    use_batch_norm=True,
    batch_norm_updates_collections=tf.GraphKeys.UPDATE_OPS,
):
    """Returns the arg scope that the ResNets share.

    Args:
      weight_decay: float, the factor of the weights' L2 loss.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
      batch_norm_scale: whether batch normalisation has a gamma.
      activation_fn: callable after each convolution.
      use_batch_norm: batch normalisation after each convolution, or else biases.
      batch_norm_updates_collections: collection of the update operations, or None to
        update in place.
    """
    norm = {
        "decay": batch_norm_decay,
        "epsilon": batch_norm_epsilon,
        "scale": batch_norm_scale,
        "updates_collections": batch_norm_updates_collections,
    }
    with (
        slim.arg_scope(
            [slim.conv2d],
            weights_regularizer=slim.l2_regularizer(weight_decay),
            weights_initializer=slim.variance_scaling_initializer(),
            activation_fn=activation_fn,
            normalizer_fn=slim.batch_norm if use_batch_norm else None,
        ),
        slim.arg_scope([slim.batch_norm], **norm),
        slim.arg_scope([slim.max_pool2d], padding="SAME") as scope,
    ):
        return scope
