"""Inception v3: factorised convolutions, with an auxiliary classifier.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception
Architecture for Computer Vision", 2015, https://arxiv.org/abs/1512.00567

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more work too. Output:
logits [batch, classes]; the last map is [batch, 8, 8, 2048]. Parameters with 1,001
classes: 27,145,970, of which 23,819,401 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 78.0 %.
"""

import functools

from nets.inception_utils import (
    AvgPool,
    Conv,
    MaxPool,
    Split,
    build_layers,
    inception_arg_scope,
    scaled_ops,
)
from nets.net_utils import (
    build_pooled_head,
    collect_end_points,
    depth_scale,
    reduced_kernel_size,
)
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf

inception_v3_arg_scope = inception_arg_scope


def _mixed_35(pool_depth, names=(None, None)):
    """A block on the map of 35x35 pixels; `names` are those of the second branch."""
    return (
        (Conv(64),),
        (Conv(48, name=names[0]), Conv(64, 5, name=names[1])),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AvgPool(), Conv(pool_depth)),
    )


def _mixed_17(depth):
    """A block on the map of 17x17 pixels, with 7x7 taken apart into 1x7 and 7x1."""
    row, column = Conv(depth, (1, 7)), Conv(depth, (7, 1))
    return (
        (Conv(192),),
        (Conv(depth), row, Conv(192, (7, 1))),
        (Conv(depth), column, row, column, Conv(192, (1, 7))),
        (AvgPool(), Conv(192)),
    )


def _mixed_8(column_name=None):
    """A block on the map of 8x8 pixels, with 1x3 beside 3x1."""
    row, column = Conv(384, (1, 3)), Conv(384, (3, 1))
    return (
        (Conv(320),),
        (Conv(384), Split([row, column._replace(name=column_name)])),
        (Conv(448), Conv(384, 3), Split([row, column])),
        (AvgPool(), Conv(192)),
    )


# The names given to single steps are those of the public checkpoints.
LAYERS = {
    "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
    "Conv2d_2a_3x3": Conv(32, 3, 1, "VALID"),
    "Conv2d_2b_3x3": Conv(64, 3),
    "MaxPool_3a_3x3": MaxPool(3, 2, "VALID"),
    "Conv2d_3b_1x1": Conv(80, 1, 1, "VALID"),
    "Conv2d_4a_3x3": Conv(192, 3, 1, "VALID"),
    "MaxPool_5a_3x3": MaxPool(3, 2, "VALID"),
    "Mixed_5b": _mixed_35(32),
    "Mixed_5c": _mixed_35(64, names=("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
    "Mixed_5d": _mixed_35(64),
    "Mixed_6a": (
        (Conv(384, 3, 2, "VALID", "Conv2d_1a_1x1"),),
        (Conv(64), Conv(96, 3), Conv(96, 3, 2, "VALID", "Conv2d_1a_1x1")),
        (MaxPool(3, 2, "VALID"),),
    ),
    "Mixed_6b": _mixed_17(128),
    "Mixed_6c": _mixed_17(160),
    "Mixed_6d": _mixed_17(160),
    "Mixed_6e": _mixed_17(192),
    "Mixed_7a": (
        (Conv(192), Conv(320, 3, 2, "VALID")),
        (
            Conv(192),
            Conv(192, (1, 7)),
            Conv(192, (7, 1)),
            Conv(192, 3, 2, "VALID"),
        ),
        (MaxPool(3, 2, "VALID"),),
    ),
    "Mixed_7b": _mixed_8(column_name="Conv2d_0b_3x1"),
    "Mixed_7c": _mixed_8(),
}


def inception_v3_base(
    inputs,
    final_endpoint="Mixed_7c",
    min_depth=16,
    depth_multiplier=1.0,
    scope=None,
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      min_depth: int, the least number of channels, where `depth_multiplier` < 1.
      depth_multiplier: float > 0, the factor of all numbers of channels.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` is not in `LAYERS`, or `depth_multiplier` <= 0.
    """
    ops = scaled_ops(depth_scale(depth_multiplier, min_depth))
    with tf.variable_scope(scope, "InceptionV3", [inputs]):
        return collect_end_points(build_layers(inputs, LAYERS, ops), final_endpoint)


def _build_aux_logits(
    end_points, num_classes, *, min_depth, depth_multiplier, spatial_squeeze, **_
):
    """Returns the auxiliary logits, like the logits in shape."""
    net = end_points["Mixed_6e"]
    depth = depth_scale(depth_multiplier, min_depth)
    with tf.variable_scope("AuxLogits"):
        kernel = reduced_kernel_size(net, [5, 5])
        net = slim.avg_pool2d(net, kernel, 3, "VALID", scope="AvgPool_1a_5x5")
        net = slim.conv2d(net, depth(128), 1, scope="Conv2d_1b_1x1")
        kernel = reduced_kernel_size(net, [5, 5])
        net = slim.conv2d(
            net,
            depth(768),
            kernel,
            padding="VALID",
            weights_initializer=tf.truncated_normal_initializer(stddev=0.01),
            scope=f"Conv2d_2a_{kernel[0]}x{kernel[1]}",
        )
        logits = slim.conv2d(
            net,
            num_classes,
            1,
            activation_fn=None,
            normalizer_fn=None,
            weights_initializer=tf.truncated_normal_initializer(stddev=0.001),
            scope="Conv2d_2b_1x1",
        )
        if spatial_squeeze:
            logits = tf.squeeze(logits, [1, 2], name="SpatialSqueeze")
    return logits


inception_v3 = define_classifier(
    "inception_v3",
    inception_v3_base,
    functools.partial(build_pooled_head, window=[8, 8], prelogits=True),
    299,
    default_scope="InceptionV3",
    build_aux_logits=_build_aux_logits,
    num_classes=1000,
    is_training=True,
    dropout_keep_prob=0.8,
    min_depth=16,
    depth_multiplier=1.0,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    create_aux_logits=True,
    scope="InceptionV3",
    global_pool=False,
)
