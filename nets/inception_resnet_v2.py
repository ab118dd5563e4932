"""Inception-ResNet v2: Inception blocks as residuals.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", 2016, https://arxiv.org/abs/1602.07261

Input: float [batch, 299, 299, 3] in [-1, 1]; 75 pixels and more also work. Output:
logits [batch, classes]; the last feature map is [batch, 8, 8, 1536]. Parameters with
1,001 classes: 59,182,258, or 55,814,729 without the auxiliary classifier. Published
top-1 accuracy on ImageNet: 80.4 %.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

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
from nets.net_utils import Layers, NetOutputs, collect_end_points, network_scope
from nets.stochastic_depth import at_depth, drop_residual
from tf_slim_compat import slim, tf

ActivationFn = Callable[[tf.Tensor], tf.Tensor]

_NUM_RESIDUALS = 40

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


BLOCK35 = (
    (Conv(32, name="Conv2d_1x1"),),
    (Conv(32), Conv(32, 3)),
    (Conv(32), Conv(48, 3), Conv(64, 3)),
)
BLOCK17 = (
    (Conv(192, name="Conv2d_1x1"),),
    (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))),
)
BLOCK8 = (
    (Conv(192, name="Conv2d_1x1"),),
    (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))),
)


def _build_residual(
    branches: tuple[tuple[Any, ...], ...],
    default_scope: str,
    *,
    net: tf.Tensor,
    scale: float,
    activation_fn: ActivationFn | None,
    scope: str | None,
    reuse: bool | None,
) -> tf.Tensor:
    with tf.variable_scope(scope, default_scope, [net], reuse=reuse):
        residual = slim.conv2d(
            build_branches(net, branches, make_ops()),
            net.shape[-1],
            1,
            normalizer_fn=None,
            activation_fn=None,
            scope="Conv2d_1x1",
        )
        residual = drop_residual(residual * scale)
        if activation_fn is tf.nn.relu6:
            # Quantized training needs a bound on both sides of the sum.
            residual = tf.clip_by_value(residual, -6.0, 6.0)
        net += residual
        return activation_fn(net) if activation_fn else net


def block35(
    net: tf.Tensor,
    scale: float = 1.0,
    activation_fn: ActivationFn | None = tf.nn.relu,
    scope: str | None = None,
    reuse: bool | None = None,
) -> tf.Tensor:
    """Builds a residual block at 35x35 pixels.

    Args:
      net: float tensor [batch, height, width, channels].
      scale: factor of the residual.
      activation_fn: activation of the sum; None for a linear one.
      scope: name of the variable scope.
      reuse: whether to reuse existing variables.

    Returns:
      Float tensor of the shape of `net`.
    """
    return _build_residual(BLOCK35, "Block35", **locals())


def block17(
    net: tf.Tensor,
    scale: float = 1.0,
    activation_fn: ActivationFn | None = tf.nn.relu,
    scope: str | None = None,
    reuse: bool | None = None,
) -> tf.Tensor:
    """Builds a residual block at 17x17 pixels; see `block35` for the arguments."""
    return _build_residual(BLOCK17, "Block17", **locals())


def block8(
    net: tf.Tensor,
    scale: float = 1.0,
    activation_fn: ActivationFn | None = tf.nn.relu,
    scope: str | None = None,
    reuse: bool | None = None,
) -> tf.Tensor:
    """Builds a residual block at 8x8 pixels; see `block35` for the arguments."""
    return _build_residual(BLOCK8, "Block8", **locals())


def _make_ops(
    align_feature_maps: bool, dense: bool = False
) -> dict[Any, Callable[..., tf.Tensor]]:
    """Returns slim's layers with padding "SAME" if aligned, and stride 1 if dense."""

    def adapted(build: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def build_step(*args: Any, stride: int, padding: str, **kwargs: Any):
            stride = 1 if dense else stride
            padding = "SAME" if align_feature_maps else padding
            return build(*args, stride=stride, padding=padding, **kwargs)

        return build_step

    return make_ops(*map(adapted, (slim.conv2d, slim.max_pool2d, slim.avg_pool2d)))


def _numbered(
    block_fn: Callable[..., tf.Tensor], numbers: Iterator[int]
) -> Callable[..., tf.Tensor]:
    """Returns a function that builds each block at its depth in the network."""

    @functools.wraps(block_fn)  # `slim.repeat` names scopes after the function.
    def build(*args: Any, **kwargs: Any) -> tf.Tensor:
        with at_depth(next(numbers), _NUM_RESIDUALS):
            return block_fn(*args, **kwargs)

    return build


def _layers(
    net: tf.Tensor,
    output_stride: int,
    align_feature_maps: bool,
    activation_fn: ActivationFn,
) -> Layers:
    """Yields (name, tensor) of each layer as it is built."""
    dense = output_stride == 8
    numbers = itertools.count(1)
    first, second, third = (_numbered(b, numbers) for b in (block35, block17, block8))
    ops = _make_ops(align_feature_maps)
    for end_point in build_layers(net, STEM, ops):
        yield end_point
    _, net = end_point
    net = slim.repeat(net, 10, first, scale=0.17, activation_fn=activation_fn)
    net = build_layer(net, "Mixed_6a", MIXED_6A, _make_ops(align_feature_maps, dense))
    yield "Mixed_6a", net
    with slim.arg_scope([slim.conv2d], rate=2 if dense else 1):
        net = slim.repeat(net, 20, second, scale=0.10, activation_fn=activation_fn)
    yield "PreAuxLogits", net
    net = build_layer(net, "Mixed_7a", MIXED_7A, ops)
    yield "Mixed_7a", net
    net = slim.repeat(net, 9, third, scale=0.20, activation_fn=activation_fn)
    net = third(net, activation_fn=None)
    name = "Conv2d_7b_1x1"
    yield name, build_layer(net, name, Conv(1536), ops)


def inception_resnet_v2_base(
    inputs: tf.Tensor,
    final_endpoint: str = "Conv2d_7b_1x1",
    output_stride: int = 16,
    align_feature_maps: bool = False,
    scope: str | tf.VariableScope | None = None,
    activation_fn: ActivationFn = tf.nn.relu,
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer: one of `STEM`, Mixed_6a, PreAuxLogits,
        Mixed_7a or Conv2d_7b_1x1.
      output_stride: 8 or 16, the ratio of the input resolution to that of Mixed_6a and
        PreAuxLogits. With 8, PreAuxLogits is dilated and is the last layer available.
      align_feature_maps: whether to pad every layer "SAME", which aligns the locations
        of all feature maps.
      scope: variable scope or its name.
      activation_fn: activation of each residual block.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: `final_endpoint` or `output_stride` is invalid, or output stride 8 is
        requested beyond PreAuxLogits.
    """
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16, not {output_stride}.")
    if output_stride == 8 and final_endpoint in ("Mixed_7a", "Conv2d_7b_1x1"):
        raise ValueError(
            f"output_stride 8 is not available for {final_endpoint!r}; pass "
            "final_endpoint='PreAuxLogits' or output_stride 16."
        )
    with tf.variable_scope(scope, "InceptionResnetV2", [inputs]):
        layers = _layers(inputs, output_stride, align_feature_maps, activation_fn)
        return collect_end_points(layers, final_endpoint)


def inception_resnet_v2(
    inputs: tf.Tensor,
    num_classes: int | None = 1001,
    is_training: bool = True,
    dropout_keep_prob: float = 0.8,
    reuse: bool | None = None,
    scope: str | None = "InceptionResnetV2",
    create_aux_logits: bool = True,
    activation_fn: ActivationFn = tf.nn.relu,
) -> NetOutputs:
    """Builds Inception-ResNet v2.

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
      activation_fn: activation of each residual block.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: the auxiliary classifier is asked for and the image size is unknown.
    """
    with network_scope(scope, "InceptionResnetV2", inputs, is_training, reuse) as scope:
        net, end_points = inception_resnet_v2_base(
            inputs, scope=scope, activation_fn=activation_fn
        )
        if create_aux_logits and num_classes:
            end_points["AuxLogits"] = build_flat_aux_logits(
                end_points["PreAuxLogits"],
                num_classes,
                "Conv2d_2a_5x5",
                "Logits",
                pool_name="Conv2d_1a_3x3",
            )
        logits = build_flat_head(
            net,
            end_points,
            num_classes,
            dropout_keep_prob,
            "AvgPool_1a_8x8",
            flattens_first=True,
        )
    return logits, end_points


inception_resnet_v2.default_image_size = 299
inception_resnet_v2.min_image_size = 75


def inception_resnet_v2_arg_scope(
    weight_decay: float = 0.00004,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 0.001,
    activation_fn: ActivationFn = tf.nn.relu,
    batch_norm_updates_collections: str | None = tf.GraphKeys.UPDATE_OPS,
    batch_norm_scale: bool = False,
) -> dict[str, Any]:
    """Returns the arg scope of Inception-ResNet v2, which also regularizes biases.

    See `inception_utils.inception_arg_scope` for the arguments.
    """
    with (
        slim.arg_scope(inception_arg_scope(**locals())),
        slim.arg_scope(
            [slim.conv2d, slim.fully_connected],
            weights_initializer=slim.xavier_initializer(),
            biases_regularizer=slim.l2_regularizer(weight_decay),
        ) as scope,
    ):
        return scope
