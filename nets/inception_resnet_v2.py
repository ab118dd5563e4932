"""Inception-ResNet v2: Inception blocks as residuals.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", 2016, https://arxiv.org/abs/1602.07261

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more work too. Output:
logits [batch, classes]; the last map is [batch, 8, 8, 1536]. Parameters with 1,001
classes: 59,182,258, of which 55,814,729 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 80.4 %.
"""

from nets.inception_utils import (
    AvgPool,
    Conv,
    MaxPool,
    build_branches,
    build_flat_aux_logits,
    build_flat_head,
    build_layer,
    build_layers,
    inception_arg_scope,
    make_ops,
)
from nets.net_utils import collect_end_points
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf

_HALVED = MaxPool(3, 2, "VALID")

STEM = {
    "Conv2d_1a_3x3": Conv(32, 3, 2, "VALID"),
    "Conv2d_2a_3x3": Conv(32, 3, 1, "VALID"),
    "Conv2d_2b_3x3": Conv(64, 3),
    "MaxPool_3a_3x3": _HALVED,
    "Conv2d_3b_1x1": Conv(80, 1, 1, "VALID"),
    "Conv2d_4a_3x3": Conv(192, 3, 1, "VALID"),
    "MaxPool_5a_3x3": _HALVED,
    "Mixed_5b": (
        (Conv(96, name="Conv2d_1x1"),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AvgPool(), Conv(64)),
    ),
}
MIXED_6A = (
    (Conv(384, 3, 2, "VALID"),),
    (Conv(256), Conv(256, 3), Conv(384, 3, 2, "VALID")),
    (_HALVED,),
)
MIXED_7A = (
    (Conv(256), Conv(384, 3, 2, "VALID")),
    (Conv(256), Conv(288, 3, 2, "VALID")),
    (Conv(256), Conv(288, 3), Conv(320, 3, 2, "VALID")),
    (_HALVED,),
)


def _define_residual(name, branches):
    """Returns the function that adds a block of branches to its input."""

    def block(net, scale=1.0, activation_fn=tf.nn.relu, scope=None, reuse=None):
        with tf.variable_scope(scope, name.title(), [net], reuse=reuse):
            residual = slim.conv2d(
                build_branches(net, branches, make_ops()),
                net.shape[-1],
                1,
                normalizer_fn=None,
                activation_fn=None,
                scope="Conv2d_1x1",
            )
            residual *= scale
            if activation_fn is tf.nn.relu6:
                # Quantised training needs a bound on both sides of the sum.
                residual = tf.clip_by_value(residual, -6.0, 6.0)
            net += residual
            return activation_fn(net) if activation_fn else net

    # slim.repeat names the scopes after the function.
    block.__name__ = block.__qualname__ = name
    block.__doc__ = (
        f"Builds {name}, a residual block; returns a tensor of the shape of `net`. "
        "The residual is multiplied by `scale`; `activation_fn` follows the sum."
    )
    return block


block35 = _define_residual(
    "block35",
    (
        (Conv(32, name="Conv2d_1x1"),),
        (Conv(32), Conv(32, 3)),
        (Conv(32), Conv(48, 3), Conv(64, 3)),
    ),
)
block17 = _define_residual(
    "block17",
    (
        (Conv(192, name="Conv2d_1x1"),),
        (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))),
    ),
)
block8 = _define_residual(
    "block8",
    (
        (Conv(192, name="Conv2d_1x1"),),
        (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))),
    ),
)


def _make_ops(align_feature_maps, dense=False):
    """slim's, with the padding "SAME" where aligned and the stride 1 where dense."""

    def adapted(build):
        def build_step(net, *arguments, scope):
            *arguments, stride, padding = arguments
            stride = 1 if dense else stride
            padding = "SAME" if align_feature_maps else padding
            return build(net, *arguments, stride, padding, scope=scope)

        return build_step

    return make_ops(*map(adapted, (slim.conv2d, slim.max_pool2d, slim.avg_pool2d)))


def _layers(net, output_stride, align_feature_maps, activation_fn):
    """Builds the layers one after another; yields (name, tensor)."""
    dense = output_stride == 8
    ops = _make_ops(align_feature_maps)
    for end_point in build_layers(net, STEM, ops):
        yield end_point
    _, net = end_point
    net = slim.repeat(net, 10, block35, scale=0.17, activation_fn=activation_fn)
    net = build_layer(net, "Mixed_6a", MIXED_6A, _make_ops(align_feature_maps, dense))
    yield "Mixed_6a", net
    with slim.arg_scope([slim.conv2d], rate=2 if dense else 1):
        net = slim.repeat(net, 20, block17, scale=0.10, activation_fn=activation_fn)
    yield "PreAuxLogits", net
    net = build_layer(net, "Mixed_7a", MIXED_7A, ops)
    yield "Mixed_7a", net
    net = slim.repeat(net, 9, block8, scale=0.20, activation_fn=activation_fn)
    net = block8(net, activation_fn=None)
    name = "Conv2d_7b_1x1"
    yield name, build_layer(net, name, Conv(1536), ops)


def inception_resnet_v2_base(
    inputs,
    final_endpoint="Conv2d_7b_1x1",
    output_stride=16,
    align_feature_maps=False,
    scope=None,
    activation_fn=tf.nn.relu,
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer: one of `STEM`, Mixed_6a, PreAuxLogits,
        Mixed_7a or Conv2d_7b_1x1.
      output_stride: 8 or 16, how many times smaller Mixed_6a and PreAuxLogits are than
        the input. With 8, PreAuxLogits is dilated and is the last layer that may be
        asked for.
      align_feature_maps: pads everything "SAME", so that the maps' places are aligned.
      scope: name of the variable scope.
      activation_fn: callable after each residual block.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` or `output_stride` is none of the above, or output
        stride 8 is asked for beyond PreAuxLogits.
    """
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16, not {output_stride}.")
    if output_stride == 8 and final_endpoint in ("Mixed_7a", "Conv2d_7b_1x1"):
        raise ValueError(
            f"output_stride 8 does not reach as far as {final_endpoint!r}; pass "
            "final_endpoint='PreAuxLogits', or choose output_stride 16."
        )
    with tf.variable_scope(scope, "InceptionResnetV2", [inputs]):
        layers = _layers(inputs, output_stride, align_feature_maps, activation_fn)
        return collect_end_points(layers, final_endpoint)


def _build_aux_logits(end_points, num_classes, **_):
    net = end_points["PreAuxLogits"]
    return build_flat_aux_logits(net, num_classes, "Conv2d_2a_5x5", "Logits")


inception_resnet_v2 = define_classifier(
    "inception_resnet_v2",
    inception_resnet_v2_base,
    build_flat_head,
    299,
    default_scope="InceptionResnetV2",
    build_aux_logits=_build_aux_logits,
    num_classes=1001,
    is_training=True,
    dropout_keep_prob=0.8,
    reuse=None,
    scope="InceptionResnetV2",
    create_aux_logits=True,
    activation_fn=tf.nn.relu,
)


def inception_resnet_v2_arg_scope(
    weight_decay=0.00004,
    batch_norm_decay=0.9997,
    batch_norm_epsilon=0.001,
    activation_fn=tf.nn.relu,
    batch_norm_updates_collections=tf.GraphKeys.UPDATE_OPS,
    batch_norm_scale=False,
):
    """Returns Inception-ResNet v2's arg scope: biases have the L2 loss too.

    For the arguments see `inception_utils.inception_arg_scope`.
    """
    shared = inception_arg_scope(
        weight_decay=weight_decay,
        batch_norm_decay=batch_norm_decay,
        batch_norm_epsilon=batch_norm_epsilon,
        activation_fn=activation_fn,
        batch_norm_updates_collections=batch_norm_updates_collections,
        batch_norm_scale=batch_norm_scale,
    )
    with (
        slim.arg_scope(shared),
        slim.arg_scope(
            [slim.conv2d, slim.fully_connected],
            weights_initializer=slim.xavier_initializer(),
            biases_regularizer=slim.l2_regularizer(weight_decay),
        ) as scope,
    ):
        return scope
