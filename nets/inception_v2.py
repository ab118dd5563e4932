"""Inception v2 (BN-Inception): Inception with batch normalisation.

S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015, https://arxiv.org/abs/1502.03167

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes work too. Output: logits
[batch, classes]; the last map is [batch, 7, 7, 1024]. Parameters with 1,001 classes:
11,179,361. Published top-1 accuracy on ImageNet: 73.9 %.
"""

import functools

from nets.inception_utils import (
    AvgPool,
    Conv,
    MaxPool,
    build_layers,
    inception_arg_scope,
    layers_from,
    scaled_ops,
)
from nets.net_utils import build_pooled_head, collect_end_points, depth_scale
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf

inception_v2_arg_scope = inception_arg_scope


class Root(Conv):
    """The first convolution, a separable one by default."""


class Reduction(Conv):
    """A 1x1 convolution in front of a larger one."""


class Projection(Conv):
    """A 1x1 convolution after a pool."""


# Of the truncated normal distributions that their weights start from; other
# convolutions start from the arg scope's initializer.
STDDEVS = {Root: 1.0, Reduction: 0.09, Projection: 0.1}


def _mixed(depth_0, depths_1, depths_2, depth_3, pool=AvgPool):
    """A block of four branches that keeps the map's size."""
    return (
        (Conv(depth_0),),
        (Reduction(depths_1[0]), Conv(depths_1[1], 3)),
        (Reduction(depths_2[0]), Conv(depths_2[1], 3), Conv(depths_2[1], 3)),
        (pool(), Projection(depth_3)),
    )


def _strided(depths_0, depths_1):
    """A block of three branches that halves the map's height and width."""
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


def _make_ops(depth, use_separable_conv, channel_axis):
    """Returns what builds each kind of step."""
    ops = scaled_ops(depth, channel_axis)
    for kind, stddev in STDDEVS.items():
        initializer = tf.truncated_normal_initializer(stddev=stddev)
        ops[kind] = functools.partial(ops[Conv], weights_initializer=initializer)

    def separable_root(net, tabled_depth, kernel, stride, padding, scope):
        outputs = depth(tabled_depth)
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
    inputs,
    final_endpoint="Mixed_5c",
    min_depth=16,
    depth_multiplier=1.0,
    use_separable_conv=True,
    data_format="NHWC",
    include_root_block=True,
    scope=None,
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      min_depth: int, the least number of channels, where `depth_multiplier` < 1.
      depth_multiplier: float > 0, the factor of all numbers of channels.
      use_separable_conv: whether the first convolution is a separable one.
      data_format: "NHWC", or "NCHW" for tensors [batch, channels, height, width],
        `inputs` among them.
      include_root_block: whether to begin with the layers before Mixed_3b; without
        them `inputs` are the map that it takes.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` is none of the layers built, `depth_multiplier` <= 0,
        `data_format` is neither of the two, or "NCHW" with a separable convolution.
    """
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(f"data_format must be 'NHWC' or 'NCHW', not {data_format!r}.")
    if data_format == "NCHW" and use_separable_conv:
        raise ValueError(
            "The separable first convolution works in 'NHWC' alone; for data_format "
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


inception_v2 = define_classifier(
    "inception_v2",
    inception_v2_base,
    functools.partial(build_pooled_head, window=[7, 7], prelogits=True),
    224,
    default_scope="InceptionV2",
    num_classes=1000,
    is_training=True,
    dropout_keep_prob=0.8,
    min_depth=16,
    depth_multiplier=1.0,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    scope="InceptionV2",
    global_pool=False,
)
