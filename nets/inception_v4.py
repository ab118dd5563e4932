"""Inception v4: a deeper, more regular Inception.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", 2016, https://arxiv.org/abs/1602.07261

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more also work. Output:
logits [batch, classes]; the last feature map is [batch, 8, 8, 1536]. Parameters with
1,001 classes: 46,009,106, or 42,649,769 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 80.2 %.
"""

from typing import Any

from nets.inception_utils import (
    AvgPool,
    Conv,
    MaxPool,
    Split,
    build_branches,
    build_flat_aux_logits,
    build_flat_head,
    build_layers,
    inception_arg_scope,
    make_ops,
)
from nets.net_utils import NetOutputs, collect_end_points, network_scope
from tf_slim_compat import tf

inception_v4_arg_scope = inception_arg_scope

_HALVED = MaxPool(3, 2, "VALID")
_ROW_AND_COLUMN = Split([Conv(256, (1, 3)), Conv(256, (3, 1))])

INCEPTION_A = (
    (Conv(96),),
    (Conv(64), Conv(96, 3)),
    (Conv(64), Conv(96, 3), Conv(96, 3)),
    (AvgPool(), Conv(96)),
)
REDUCTION_A = (
    (Conv(384, 3, 2, "VALID"),),
    (Conv(192), Conv(224, 3), Conv(256, 3, 2, "VALID")),
    (_HALVED,),
)
INCEPTION_B = (
    (Conv(384),),
    (Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))),
    (
        Conv(192),
        Conv(192, (7, 1)),
        Conv(224, (1, 7)),
        Conv(224, (7, 1)),
        Conv(256, (1, 7)),
    ),
    (AvgPool(), Conv(128)),
)
REDUCTION_B = (
    (Conv(192), Conv(192, 3, 2, "VALID")),
    (Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, "VALID")),
    (_HALVED,),
)
INCEPTION_C = (
    (Conv(256),),
    (Conv(384), _ROW_AND_COLUMN),
    (Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), _ROW_AND_COLUMN),
    (AvgPool(), Conv(256)),
)
# The explicit names of steps are those of the public checkpoint.
LAYERS = {
    "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
    "Conv2d_2a_3x3": Conv(32, 3, 1, "VALID"),
    "Conv2d_2b_3x3": Conv(64, 3),
    "Mixed_3a": (
        (_HALVED._replace(name="MaxPool_0a_3x3"),),
        (Conv(96, 3, 2, "VALID", "Conv2d_0a_3x3"),),
    ),
    "Mixed_4a": (
        (Conv(64), Conv(96, 3, 1, "VALID", "Conv2d_1a_3x3")),
        (
            Conv(64),
            Conv(64, (1, 7)),
            Conv(64, (7, 1)),
            Conv(96, 3, 1, "VALID", "Conv2d_1a_3x3"),
        ),
    ),
    "Mixed_5a": ((Conv(192, 3, 2, "VALID"),), (_HALVED,)),
    **{f"Mixed_5{letter}": INCEPTION_A for letter in "bcde"},
    "Mixed_6a": REDUCTION_A,
    **{f"Mixed_6{letter}": INCEPTION_B for letter in "bcdefgh"},
    "Mixed_7a": REDUCTION_B,
    **{f"Mixed_7{letter}": INCEPTION_C for letter in "bcd"},
}


def _build_block(
    branches: tuple[tuple[Any, ...], ...],
    default_scope: str,
    *,
    inputs: tf.Tensor,
    scope: str | None,
    reuse: bool | None,
) -> tf.Tensor:
    with tf.variable_scope(scope, default_scope, [inputs], reuse=reuse):
        return build_branches(inputs, branches, make_ops())


def block_inception_a(
    inputs: tf.Tensor, scope: str | None = None, reuse: bool | None = None
) -> tf.Tensor:
    """Builds the block Inception-A, used at 35x35 pixels."""
    return _build_block(INCEPTION_A, "BlockInceptionA", **locals())


def block_reduction_a(
    inputs: tf.Tensor, scope: str | None = None, reuse: bool | None = None
) -> tf.Tensor:
    """Builds the block Reduction-A, used from 35x35 to 17x17 pixels."""
    return _build_block(REDUCTION_A, "BlockReductionA", **locals())


def block_inception_b(
    inputs: tf.Tensor, scope: str | None = None, reuse: bool | None = None
) -> tf.Tensor:
    """Builds the block Inception-B, used at 17x17 pixels."""
    return _build_block(INCEPTION_B, "BlockInceptionB", **locals())


def block_reduction_b(
    inputs: tf.Tensor, scope: str | None = None, reuse: bool | None = None
) -> tf.Tensor:
    """Builds the block Reduction-B, used from 17x17 to 8x8 pixels."""
    return _build_block(REDUCTION_B, "BlockReductionB", **locals())


def block_inception_c(
    inputs: tf.Tensor, scope: str | None = None, reuse: bool | None = None
) -> tf.Tensor:
    """Builds the block Inception-C, used at 8x8 pixels."""
    return _build_block(INCEPTION_C, "BlockInceptionC", **locals())


def inception_v4_base(
    inputs: tf.Tensor,
    final_endpoint: str = "Mixed_7d",
    scope: str | tf.VariableScope | None = None,
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: `final_endpoint` is not in `LAYERS`.
    """
    with tf.variable_scope(scope, "InceptionV4", [inputs]):
        return collect_end_points(
            build_layers(inputs, LAYERS, make_ops()), final_endpoint
        )


def inception_v4(
    inputs: tf.Tensor,
    num_classes: int | None = 1001,
    is_training: bool = True,
    dropout_keep_prob: float = 0.8,
    reuse: bool | None = None,
    scope: str | None = "InceptionV4",
    create_aux_logits: bool = True,
) -> NetOutputs:
    """Builds Inception v4.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown if `create_aux_logits` is False.
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        1536].
      is_training: whether dropout and batch normalization are in training mode.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      create_aux_logits: whether to build the auxiliary classifier,
        `end_points["AuxLogits"]`.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: the auxiliary classifier is asked for and the image size is unknown.
    """
    with network_scope(scope, "InceptionV4", inputs, is_training, reuse) as scope:
        net, end_points = inception_v4_base(inputs, scope=scope)
        if create_aux_logits and num_classes:
            end_points["AuxLogits"] = build_flat_aux_logits(
                end_points["Mixed_6h"], num_classes, "Conv2d_2a", "Aux_logits"
            )
        logits = build_flat_head(
            net, end_points, num_classes, dropout_keep_prob, "AvgPool_1a"
        )
    return logits, end_points


inception_v4.default_image_size = 299
inception_v4.min_image_size = 75
