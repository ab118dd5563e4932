"""Inception v3: factorized convolutions, with an auxiliary classifier.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception
Architecture for Computer Vision", 2015, https://arxiv.org/abs/1512.00567

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more also work. Output:
logits [batch, classes]; the last feature map is [batch, 8, 8, 2048]. Parameters with
1,001 classes: 27,145,970, or 23,819,401 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 78.0 %.
"""

from collections.abc import Callable
from typing import Any

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
    EndPoints,
    NetOutputs,
    build_pooled_head,
    collect_end_points,
    depth_scale,
    network_scope,
    reduced_kernel_size,
)
from tf_slim_compat import slim, tf

inception_v3_arg_scope = inception_arg_scope


def _mixed_35(
    pool_depth: int, names: tuple[str | None, str | None] = (None, None)
) -> tuple[tuple[Any, ...], ...]:
    """Returns a block at 35x35 pixels; `names` are those of the second branch."""
    return (
        (Conv(64),),
        (Conv(48, name=names[0]), Conv(64, 5, name=names[1])),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AvgPool(), Conv(pool_depth)),
    )


def _mixed_17(depth: int) -> tuple[tuple[Any, ...], ...]:
    """Returns a block at 17x17 pixels, with 7x7 factorized into 1x7 and 7x1."""
    row, column = Conv(depth, (1, 7)), Conv(depth, (7, 1))
    return (
        (Conv(192),),
        (Conv(depth), row, Conv(192, (7, 1))),
        (Conv(depth), column, row, column, Conv(192, (1, 7))),
        (AvgPool(), Conv(192)),
    )


def _mixed_8(column_name: str | None = None) -> tuple[tuple[Any, ...], ...]:
    """Returns a block at 8x8 pixels, with 1x3 and 3x1 in parallel."""
    row, column = Conv(384, (1, 3)), Conv(384, (3, 1))
    return (
        (Conv(320),),
        (Conv(384), Split([row, column._replace(name=column_name)])),
        (Conv(448), Conv(384, 3), Split([row, column])),
        (AvgPool(), Conv(192)),
    )


# The explicit names of steps are those of the public checkpoints.
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
    inputs: tf.Tensor,
    final_endpoint: str = "Mixed_7c",
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    scope: str | tf.VariableScope | None = None,
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: `final_endpoint` is not in `LAYERS`, or `depth_multiplier` is not
        positive.
    """
    ops = scaled_ops(depth_scale(depth_multiplier, min_depth))
    with tf.variable_scope(scope, "InceptionV3", [inputs]):
        return collect_end_points(build_layers(inputs, LAYERS, ops), final_endpoint)


def _build_aux_logits(
    end_points: EndPoints,
    num_classes: int,
    depth: Callable[[float], int],
    spatial_squeeze: bool,
) -> tf.Tensor:
    """Returns auxiliary logits of the same shape as the logits."""
    net = end_points["Mixed_6e"]
    with tf.variable_scope("AuxLogits"):
        kernel = reduced_kernel_size(net, [5, 5])
        net = slim.avg_pool2d(
            net, kernel, stride=3, padding="VALID", scope="AvgPool_1a_5x5"
        )
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


def inception_v3(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    create_aux_logits: bool = True,
    scope: str | None = "InceptionV3",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds Inception v3.

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
      create_aux_logits: whether to build the auxiliary classifier,
        `end_points["AuxLogits"]`.
      scope: name of the variable scope.
      global_pool: whether to pool the whole last feature map, not windows of 8x8.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `depth_multiplier` is not positive.
    """
    with network_scope(scope, "InceptionV3", inputs, is_training, reuse) as scope:
        net, end_points = inception_v3_base(
            inputs,
            min_depth=min_depth,
            depth_multiplier=depth_multiplier,
            scope=scope,
        )
        if create_aux_logits and num_classes:
            depth = depth_scale(depth_multiplier, min_depth)
            end_points["AuxLogits"] = _build_aux_logits(
                end_points, num_classes, depth, spatial_squeeze
            )
        logits = build_pooled_head(
            net,
            end_points,
            num_classes,
            window=[8, 8],
            dropout_keep_prob=dropout_keep_prob,
            prediction_fn=prediction_fn,
            spatial_squeeze=spatial_squeeze,
            global_pool=global_pool,
            prelogits=True,
        )
    return logits, end_points


inception_v3.default_image_size = 299
inception_v3.min_image_size = 75
