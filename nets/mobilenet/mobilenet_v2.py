"""MobileNet v2: inverted residuals with linear bottlenecks, in four widths.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: Inverted
Residuals and Linear Bottlenecks", 2018, https://arxiv.org/abs/1801.04381

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes also work. Output: logits
[batch, classes]; the last feature map, layer_19, is [batch, 7, 7, 1280], or 1792
channels in mobilenet_v2_140.

| network          | parameters, 1001 classes | published top-1, 224 pixels |
|------------------|--------------------------|-----------------------------|
| mobilenet_v2_140 | 6,110,569                | 75.0 %                      |
| mobilenet_v2     | 3,506,153                | 71.8 %                      |
| mobilenet_v2_050 | 1,969,961                | 65.4 %                      |
| mobilenet_v2_035 | 1,678,409                | 60.3 %                      |
"""

from collections.abc import Callable
from typing import Any

from nets.mobilenet import mobilenet as lib
from nets.mobilenet.conv_blocks import expand_input_by_factor, expanded_conv
from nets.mobilenet.conv_defs import (
    ConvDefs,
    op,
    with_group_norm,
    with_unscaled_last_layer,
)
from nets.net_utils import NetOutputs
from tf_slim_compat import slim, tf

_CONVOLUTIONS = (slim.conv2d, slim.fully_connected, slim.separable_conv2d)

V2_DEF = {
    "defaults": {
        (slim.batch_norm,): {"center": True, "scale": True},
        _CONVOLUTIONS: {
            "normalizer_fn": slim.batch_norm,
            "activation_fn": tf.nn.relu6,
        },
        (expanded_conv,): {
            "expansion_size": expand_input_by_factor(6),
            "normalizer_fn": slim.batch_norm,
        },
    },
    "spec": [
        op(slim.conv2d, stride=2, num_outputs=32, kernel_size=[3, 3]),
        op(
            expanded_conv,
            expansion_size=expand_input_by_factor(1, divisible_by=1),
            num_outputs=16,
        ),
        *[
            op(expanded_conv, stride=stride if first else 1, num_outputs=depth)
            for depth, repeats, stride in (
                (24, 2, 2),
                (32, 3, 2),
                (64, 4, 2),
                (96, 3, 1),
                (160, 3, 2),
                (320, 1, 1),
            )
            for first in [True] + [False] * (repeats - 1)
        ],
        op(slim.conv2d, stride=1, num_outputs=1280, kernel_size=[1, 1]),
    ],
}
V2_DEF_GROUP_NORM = with_group_norm(V2_DEF)

training_scope = lib.training_scope
expand_input = expand_input_by_factor


@slim.add_arg_scope
def mobilenet(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV2",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v2.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      depth_multiplier: positive factor of all numbers of channels.
      scope: name of the variable scope.
      conv_defs: table of layers, see `conv_defs.py`; None for `V2_DEF`.
      finegrain_classification_mode: whether the last layer keeps its 1280 channels if
        `depth_multiplier` < 1, which helps with many classes.
      min_depth: minimum number of channels; None for 8.
      divisible_by: divisor that numbers of channels are rounded to; None for 8.
      activation_fn: activation used instead of ReLU6.
      **kwargs: arguments of `mobilenet` and `mobilenet_base` in `mobilenet.py`:
        is_training, final_endpoint, output_stride, use_explicit_padding, base_only,
        reuse and others.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `input_tensor` is not of rank 4, or another argument is invalid.
    """
    conv_defs = V2_DEF if conv_defs is None else conv_defs
    if finegrain_classification_mode and depth_multiplier < 1:
        conv_defs = with_unscaled_last_layer(conv_defs)
    if activation_fn is not None:
        overrides = conv_defs.get("overrides", {})
        overrides = {**overrides, _CONVOLUTIONS: {"activation_fn": activation_fn}}
        conv_defs = {**conv_defs, "overrides": overrides}
    with lib.safe_arg_scope(
        [lib.depth_multiplier], min_depth=min_depth, divisible_by=divisible_by
    ):
        return lib.mobilenet(
            input_tensor,
            num_classes=num_classes,
            conv_defs=conv_defs,
            scope=scope,
            multiplier=depth_multiplier,
            **kwargs,
        )


mobilenet.default_image_size = 224


@slim.add_arg_scope
def mobilenet_base(
    input_tensor: tf.Tensor, depth_multiplier: float = 1.0, **kwargs: Any
) -> NetOutputs:
    """Builds MobileNet v2 without pool and logits.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      depth_multiplier: positive factor of all numbers of channels.
      **kwargs: further arguments of `mobilenet`.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.
    """
    return mobilenet(
        input_tensor, depth_multiplier=depth_multiplier, base_only=True, **kwargs
    )


def mobilenet_v2_140(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.4,
    scope: str | None = "MobilenetV2",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v2 of width 1.4; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals())


mobilenet_v2_140.default_image_size = 224


def mobilenet_v2_050(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 0.50,
    scope: str | None = "MobilenetV2",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = True,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v2 of width 0.50; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals())


mobilenet_v2_050.default_image_size = 224


def mobilenet_v2_035(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 0.35,
    scope: str | None = "MobilenetV2",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = True,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v2 of width 0.35; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals())


mobilenet_v2_035.default_image_size = 224


@slim.add_arg_scope
def mobilenet_base_group_norm(
    input_tensor: tf.Tensor, depth_multiplier: float = 1.0, **kwargs: Any
) -> NetOutputs:
    """Builds `mobilenet_base` with group normalization, for small batches."""
    return mobilenet_base(
        input_tensor, depth_multiplier, **{"conv_defs": V2_DEF_GROUP_NORM, **kwargs}
    )
