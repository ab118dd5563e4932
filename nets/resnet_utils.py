"""Blocks, network builder and arg scope of ResNet v1 and v2.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385

A block strides in its last unit, not in its first as in the paper, so the feature maps
inside a block, which detectors use, have the finer resolution.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nets.net_utils import (
    EndPoints,
    NetOutputs,
    StrideBudget,
    fixed_padding,
    pool_same,
)
from nets.stochastic_depth import at_depth
from tf_slim_compat import slim, tf

# Number of units in each of the four blocks, by number of layers.
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
      unit_fn: function of (net, rate=..., **args) that builds a unit.
      args: keyword arguments of each unit, including "stride".
    """

    scope: str
    unit_fn: Callable[..., Any]
    args: list[dict[str, int]]


def make_block(
    scope: str,
    unit_fn: Callable[..., tf.Tensor],
    base_depth: int,
    num_units: int,
    stride: int,
) -> Block:
    """Returns a `Block` of bottleneck units whose last unit strides."""
    unit = {"depth": base_depth * 4, "depth_bottleneck": base_depth}
    strides = [1] * (num_units - 1) + [stride]
    return Block(scope, unit_fn, [{**unit, "stride": s} for s in strides])


def make_blocks(
    block_fn: Callable[..., Block],
    units: Sequence[int],
    depth: Callable[[int], int] = lambda base_depth: base_depth,
) -> list[Block]:
    """Returns the four blocks of a ResNet.

    Args:
      block_fn: function of (scope, base_depth, num_units, stride) that returns a block.
      units: number of units in each block, e.g. `UNITS[50]`.
      depth: function from the paper's depth to this network's depth.
    """
    return [
        block_fn(f"block{number}", depth(base_depth), num_units, stride)
        for number, base_depth, num_units, stride in zip(
            (1, 2, 3, 4), (64, 128, 256, 512), units, (2, 2, 2, 1), strict=True
        )
    ]


def subsample(inputs: tf.Tensor, factor: int, scope: str | None = None) -> tf.Tensor:
    """Returns every `factor`-th row and column of [batch, height, width, channels]."""
    if factor == 1:
        return inputs
    return slim.max_pool2d(inputs, 1, stride=factor, scope=scope)


def conv2d_same(
    inputs: tf.Tensor,
    num_outputs: int,
    kernel_size: int,
    stride: int,
    rate: int = 1,
    scope: str | None = None,
) -> tf.Tensor:
    """Builds a convolution whose padding does not depend on the input size.

    A strided "SAME" convolution pads even and odd sizes differently. This function is
    equivalent to a "SAME" convolution of stride 1 followed by `subsample`.

    Args:
      inputs: float tensor [batch, height, width, channels].
      num_outputs: number of output channels.
      kernel_size: height and width of the kernel.
      stride: stride in both directions.
      rate: dilation rate.
      scope: name of the variable scope.

    Returns:
      Float tensor [batch, ceil(height / stride), ceil(width / stride), num_outputs].
    """
    padding = "SAME"
    if stride > 1:
        inputs, padding = fixed_padding(inputs, kernel_size, rate), "VALID"
    return slim.conv2d(
        inputs,
        num_outputs,
        kernel_size,
        stride=stride,
        padding=padding,
        rate=rate,
        scope=scope,
    )


@slim.add_arg_scope
def stack_blocks_dense(
    net: tf.Tensor,
    blocks: Sequence[Block],
    output_stride: int | None = None,
    store_non_strided_activations: bool = False,
    outputs_collections: str | None = None,
) -> tf.Tensor:
    """Stacks blocks, with dilation instead of strides beyond `output_stride`.

    Args:
      net: float tensor [batch, height, width, channels].
      blocks: the blocks.
      output_stride: ratio of the resolution of `net` to that of the output; None for
        the strides of the blocks.
      store_non_strided_activations: whether the end point of a block is its feature map
        before striding.
      outputs_collections: collection that the output of each block is added to.

    Returns:
      Float tensor [batch, height / stride, width / stride, channels].

    Raises:
      ValueError: the strides of the blocks cannot produce `output_stride`.
    """
    budget = StrideBudget(output_stride)
    num_units, number_in_all = sum(len(block.args) for block in blocks), 0
    for block in blocks:
        with tf.variable_scope(block.scope, "block", [net]) as scope:
            postponed = 1
            for number, unit in enumerate(block.args, start=1):
                stride = unit["stride"]
                if store_non_strided_activations and number == len(block.args):
                    stride, postponed = 1, stride
                stride, rate = budget.spend(stride)
                number_in_all += 1
                with (
                    tf.variable_scope(f"unit_{number}", values=[net]),
                    at_depth(number_in_all, num_units),
                ):
                    net = block.unit_fn(net, rate=rate, **{**unit, "stride": stride})
            net = slim.utils.collect_named_outputs(outputs_collections, scope.name, net)
            net = subsample(net, budget.spend(postponed)[0])
    if output_stride not in (None, budget.current):
        raise ValueError(
            f"output_stride {output_stride} cannot be reached: the total "
            f"stride of the blocks is {budget.current}."
        )
    return net


def build_resnet(
    unit_fn: Callable[..., tf.Tensor],
    default_scope: str,
    *,
    inputs: tf.Tensor,
    blocks: Sequence[Block],
    num_classes: int | None,
    is_training: bool | None,
    global_pool: bool,
    output_stride: int | None,
    include_root_block: bool,
    spatial_squeeze: bool,
    reuse: bool | None,
    scope: str | None,
    store_non_strided_activations: bool = False,
    preactivation: bool = False,
) -> NetOutputs:
    """Builds a ResNet from its blocks.

    Args:
      unit_fn: the unit function of the blocks, decorated with `slim.add_arg_scope`.
      default_scope: name of the variable scope if `scope` is None.
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      blocks: the blocks.
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
      store_non_strided_activations: whether the end point of a block is its feature map
        before striding.
      preactivation: whether units normalize their input (version 2); the first
        convolution then has no normalization, and the last feature map is normalized.

    Returns:
      `(net, end_points)`: logits or features, and all units and layers by name.

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


def _build_root_block(net: tf.Tensor, bare: bool) -> tf.Tensor:
    """Builds a strided 7x7 convolution and a strided pool: a quarter of the size."""
    layer = {"activation_fn": None, "normalizer_fn": None} if bare else {}
    with slim.arg_scope([slim.conv2d], **layer):
        net = conv2d_same(net, 64, 7, stride=2, scope="conv1")
    return pool_same(slim.max_pool2d, net, 3, 2, scope="pool1")


def _stride_after_root(output_stride: int | None) -> int | None:
    if output_stride is None:
        return None
    if output_stride % 4:
        raise ValueError(f"output_stride must be a multiple of 4, not {output_stride}.")
    return output_stride // 4


def build_head(
    net: tf.Tensor,
    end_points: EndPoints,
    num_classes: int | None,
    global_pool: bool,
    spatial_squeeze: bool,
    name: str,
) -> NetOutputs:
    """Builds pool, logits and predictions; returns (net, end_points).

    Args:
      net: float tensor [batch, height, width, channels].
      end_points: dict to add to.
      num_classes: number of classes; 0 or None stops after the pool.
      global_pool: whether to average the feature map.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      name: prefix of the end points of the logits.
    """
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
    weight_decay: float = 0.0001,
    batch_norm_decay: float = 0.997,
    batch_norm_epsilon: float = 1e-5,
    batch_norm_scale: bool = True,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu,
    use_batch_norm: bool = True,
    batch_norm_updates_collections: str | None = tf.GraphKeys.UPDATE_OPS,
) -> dict[str, Any]:
    """Returns the arg scope shared by the ResNets.

    Args:
      weight_decay: L2 regularization factor of the weights.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
      batch_norm_scale: whether batch normalization has a gamma.
      activation_fn: activation of each convolution.
      use_batch_norm: whether convolutions have batch normalization instead of biases.
      batch_norm_updates_collections: collection of the update ops; None updates in
        place.
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


def resnet_keras_arg_scope(weight_decay: float = 0.0001) -> dict[str, Any]:
    """Returns the arg scope of a ResNet whose first pool pads as in Keras."""
    with (
        slim.arg_scope(resnet_arg_scope(weight_decay)),
        slim.arg_scope([pool_same], pads_with_zeros=True) as scope,
    ):
        return scope
