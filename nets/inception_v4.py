"""Inception v4: a deeper, more regular Inception.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", 2016, https://arxiv.org/abs/1602.07261

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more work too. Output:
logits [batch, classes]; the last map is [batch, 8, 8, 1536]. Parameters with 1,001
classes: 46,009,106, of which 42,649,769 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 80.2 %.
"""

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
from nets.net_utils import collect_end_points
from nets.network_definitions import define_classifier
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
# The names given to single steps are those of the public checkpoint.
LAYERS = {
    "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
    "Conv2d_2a_3x3": Conv(32, 3, 1, "VALID"),
    "Conv2d_2b_3x3": Conv(64, 3),
    "Mixed_3a": ((_HALVED,), (Conv(96, 3, 2, "VALID", "Conv2d_0a_3x3"),)),
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


def _define_block(name, branches):
    """Returns the function that builds a block by itself."""
    default_scope = name.title().replace("_", "")

    def block(inputs, scope=None, reuse=None):
        with tf.variable_scope(scope, default_scope, [inputs], reuse=reuse):
            return build_branches(inputs, branches, make_ops())

    block.__name__ = block.__qualname__ = name
    block.__doc__ = (
        f"Builds the block {name.removeprefix('block_').upper()}; returns the map of "
        "[batch, height, width, channels]."
    )
    return block


block_inception_a = _define_block("block_inception_a", INCEPTION_A)
block_reduction_a = _define_block("block_reduction_a", REDUCTION_A)
block_inception_b = _define_block("block_inception_b", INCEPTION_B)
block_reduction_b = _define_block("block_reduction_b", REDUCTION_B)
block_inception_c = _define_block("block_inception_c", INCEPTION_C)


def inception_v4_base(inputs, final_endpoint="Mixed_7d", scope=None):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` is not in `LAYERS`.
    """
    with tf.variable_scope(scope, "InceptionV4", [inputs]):
        return collect_end_points(
            build_layers(inputs, LAYERS, make_ops()), final_endpoint
        )


def _build_aux_logits(end_points, num_classes, **_):
    net = end_points["Mixed_6h"]
    return build_flat_aux_logits(net, num_classes, "Conv2d_2a", "Aux_logits")


inception_v4 = define_classifier(
    "inception_v4",
    inception_v4_base,
    build_flat_head,
    299,
    default_scope="InceptionV4",
    build_aux_logits=_build_aux_logits,
    num_classes=1001,
    is_training=True,
    dropout_keep_prob=0.8,
    reuse=None,
    scope="InceptionV4",
    create_aux_logits=True,
)
