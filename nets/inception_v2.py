"""Inception v2 (BN-Inception): Inception with batch normalization.

S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015, https://arxiv.org/abs/1502.03167

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes also work. Output: logits
[batch, classes]; the last feature map is [batch, 7, 7, 1024]. Parameters with 1,001
classes: 11,179,361. Published top-1 accuracy on ImageNet: 73.9 %.
"""

import functools
from collections.abc import Callable
from typing import Any

from nets.inception_utils import (
    AvgPool,
    Conv,
    MaxPool,
    build_layers,
    inception_arg_scope,
    layers_from,
    scaled_ops,
)
from nets.net_utils import (
    NetOutputs,
    build_pooled_head,
    collect_end_points,
    depth_scale,
    network_scope,
)
from tf_slim_compat import slim, tf

inception_v2_arg_scope = inception_arg_scope


class Root(Conv):
    """The first convolution, by default a separable one."""


class Reduction(Conv):
    """A 1x1 convolution before a larger one."""


class Projection(Conv):
    """A 1x1 convolution after a pool."""


# Standard deviations of the truncated normal initial weights; other convolutions use
# the initializer of the arg scope.
STDDEVS = {Root: 1.0, Reduction: 0.09, Projection: 0.1}


def _mixed(
    depth_0: int,
    depths_1: tuple[int, int],
    depths_2: tuple[int, int],
    depth_3: int,
    pool: type = AvgPool,
) -> tuple[tuple[Any, ...], ...]:
    """Returns a block of four branches that keeps the resolution."""
    return (
        (Conv(depth_0),),
        (Reduction(depths_1[0]), Conv(depths_1[1], 3)),
        (Reduction(depths_2[0]), Conv(depths_2[1], 3), Conv(depths_2[1], 3)),
        (pool(), Projection(depth_3)),
    )


def _strided(
    depths_0: tuple[int, int], depths_1: tuple[int, int]
) -> tuple[tuple[Any, ...], ...]:
    """Returns a block of three branches that halves height and width."""
    return (
        (Reduction(depths_0[0]), Conv(depths_0[1], 3, 2)),
        (Reduction(depths_1[0]), Conv(depths_1[1], 3), Conv(depths_1[1], 3, 2)),
        (MaxPool(3, 2),),
    )


LAYERS = {
    "Conv2d_1a_7x7": Root(64, 7, 2),
    "MaxPool_2a_3x3": MaxPool(3, 2),
    "Conv2d_2b_1x1": Projection(64),
    "Conv2d_2c_3x3": Conv(192, 3),
    "MaxPool_3a_3x3": MaxPool(3, 2),
    "Mixed_3b": _mixed(64, (64, 64), (64, 96), 32),
    "Mixed_3c": _mixed(64, (64, 96), (64, 96), 64),
    "Mixed_4a": _strided((128, 160), (64, 96)),
    "Mixed_4b": _mixed(224, (64, 96), (96, 128), 128),
    "Mixed_4c": _mixed(192, (96, 128), (96, 128), 128),
    "Mixed_4d": _mixed(160, (128, 160), (128, 160), 96),
    "Mixed_4e": _mixed(96, (128, 192), (160, 192), 96),
    "Mixed_5a": _strided((128, 192), (192, 256)),
    "Mixed_5b": _mixed(352, (192, 320), (160, 224), 128),
    "Mixed_5c": _mixed(352, (192, 320), (192, 224), 128, pool=MaxPool),
}
FIRST_BLOCK = "Mixed_3b"


def _make_ops(
    depth: Callable[[float], int], use_separable_conv: bool, channel_axis: int
) -> dict[Any, Callable[..., tf.Tensor]]:
    """Returns the function that builds each kind of step."""
    ops = scaled_ops(depth, channel_axis)
    for kind, stddev in STDDEVS.items():
        initializer = tf.truncated_normal_initializer(stddev=stddev)
        ops[kind] = functools.partial(ops[Conv], weights_initializer=initializer)

    def separable_root(
        net: tf.Tensor,
        table_depth: int,
        kernel: int,
        stride: int,
        padding: str,
        scope: str,
    ) -> tf.Tensor:
        outputs = depth(table_depth)
        return slim.separable_conv2d(
            net,
            outputs,
            kernel,
            depth_multiplier=min(outputs // 3, 8),
            stride=stride,
            padding=padding,
            weights_initializer=tf.truncated_normal_initializer(stddev=STDDEVS[Root]),
            scope=scope,
        )

    return {**ops, Root: separable_root} if use_separable_conv else ops


def inception_v2_base(
    inputs: tf.Tensor,
    final_endpoint: str = "Mixed_5c",
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    use_separable_conv: bool = True,
    data_format: str = "NHWC",
    include_root_block: bool = True,
    scope: str | tf.VariableScope | None = None,
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      use_separable_conv: whether the first convolution is separable.
      data_format: "NHWC", or "NCHW" for tensors [batch, channels, height, width],
        including `inputs`.
      include_root_block: whether to build the layers before Mixed_3b; otherwise
        `inputs` is the input of Mixed_3b.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: no layer is called `final_endpoint`, `depth_multiplier` is not
        positive, or `data_format` is invalid or "NCHW" with a separable convolution.
    """
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(f"data_format must be 'NHWC' or 'NCHW', not {data_format!r}.")
    if data_format == "NCHW" and use_separable_conv:
        raise ValueError(
            "The separable first convolution supports only data_format 'NHWC'; for "
            "'NCHW' pass use_separable_conv=False."
        )
    channel_axis = 1 if data_format == "NCHW" else -1
    ops = _make_ops(
        depth_scale(depth_multiplier, min_depth), use_separable_conv, channel_axis
    )
    table = LAYERS if include_root_block else layers_from(LAYERS, FIRST_BLOCK)
    formatted = [slim.conv2d, slim.max_pool2d, slim.avg_pool2d, slim.batch_norm]
    with (
        tf.variable_scope(scope, "InceptionV2", [inputs]),
        slim.arg_scope(formatted, data_format=data_format),
    ):
        return collect_end_points(build_layers(inputs, table, ops), final_endpoint)


def inception_v2(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "InceptionV2",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds Inception v2.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        depth].
      is_training: whether dropout and batch normalization are in training mode.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      prediction_fn: function of (logits, scope=...).
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      global_pool: whether to pool the whole last feature map, not windows of 7x7.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `depth_multiplier` is not positive.
    """
    with network_scope(scope, "InceptionV2", inputs, is_training, reuse) as scope:
        net, end_points = inception_v2_base(
            inputs,
            min_depth=min_depth,
            depth_multiplier=depth_multiplier,
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
            prelogits=True,
        )
    return logits, end_points


inception_v2.default_image_size = 224
