"""MobileNet v3, its minimalistic variants, and MobileNet-EdgeTPU.

A. Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
The minimalistic networks have no squeeze-and-excite, hard swish or 5x5 kernels, which
are slow on some hardware. The EdgeTPU networks have full convolutions in their first
blocks.

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes also work. Output: logits
[batch, classes]; the last feature map is [batch, 7, 7, 960] in the large networks, and
has 576 channels in the small and 1280 in the EdgeTPU networks.

| network                         | function           | parameters | top-1  |
|---------------------------------|--------------------|------------|--------|
| mobilenet_v3_large              | large              | 5,484,313  | 75.2 % |
| mobilenet_v3_small              | small              | 2,543,881  | 67.5 % |
| mobilenet_v3_large_minimalistic | large_minimalistic | 3,925,569  | 72.3 % |
| mobilenet_v3_small_minimalistic | small_minimalistic | 2,045,761  | 61.9 % |
| mobilenet_edgetpu               | edge_tpu           | 4,092,713  | 75.6 % |
| mobilenet_edgetpu_075           | edge_tpu_075       | 2,989,441  | 73.5 % |

Parameters are those with 1,001 classes; accuracies are the published ones on ImageNet
at 224 pixels (EdgeTPU: quantized to 8 bits).
"""

from typing import Any

from nets.mobilenet import mobilenet as lib
from nets.mobilenet.conv_blocks import expand_input_by_factor
from nets.mobilenet.conv_defs import (
    ConvDefs,
    with_group_norm,
    with_unscaled_last_layer,
)
from nets.mobilenet.v3_tables import (
    DEFAULTS,
    V3_EDGETPU,
    V3_LARGE,
    V3_LARGE_DETECTION,
    V3_LARGE_MINIMALISTIC,
    V3_SMALL,
    V3_SMALL_DETECTION,
    V3_SMALL_MINIMALISTIC,
    hard_swish,
    mbv3_fused,
    mbv3_op,
    reduce_to_1x1,
)
from nets.net_utils import NetOutputs
from tf_slim_compat import slim, tf

__all__ = [
    "DEFAULTS",
    "V3_EDGETPU",
    "V3_LARGE",
    "V3_LARGE_DETECTION",
    "V3_LARGE_MINIMALISTIC",
    "V3_SMALL",
    "V3_SMALL_DETECTION",
    "V3_SMALL_MINIMALISTIC",
    "edge_tpu",
    "edge_tpu_075",
    "expand_input",
    "hard_swish",
    "large",
    "large_minimalistic",
    "mbv3_fused",
    "mbv3_op",
    "mobilenet",
    "mobilenet_base",
    "op",
    "reduce_to_1x1",
    "small",
    "small_minimalistic",
    "training_scope",
]

training_scope = lib.training_scope
op = lib.op
expand_input = expand_input_by_factor


@slim.add_arg_scope
def mobilenet(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV3",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v3 from a table.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      depth_multiplier: positive factor of all numbers of channels.
      scope: name of the variable scope.
      conv_defs: table of layers, see `conv_defs.py`; None for `V3_LARGE`.
      finegrain_classification_mode: whether `depth_multiplier` leaves the last layer
        unscaled, which helps with many classes.
      use_groupnorm: whether to use group instead of batch normalization.
      **kwargs: arguments of `mobilenet` and `mobilenet_base` in `mobilenet.py`:
        is_training, final_endpoint, output_stride, use_explicit_padding, base_only,
        reuse and others.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `input_tensor` is not of rank 4, or another argument is invalid.
    """
    conv_defs = V3_LARGE if conv_defs is None else conv_defs
    if use_groupnorm:
        conv_defs = with_group_norm(conv_defs)
    if finegrain_classification_mode:
        conv_defs = with_unscaled_last_layer(conv_defs)
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
    """Builds MobileNet v3 without pool and logits.

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


def large(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV3",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v3 large; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_LARGE)


large.default_image_size = 224


def small(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV3",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v3 small; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_SMALL)


small.default_image_size = 224


def large_minimalistic(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV3",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v3 large, minimalistic; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_LARGE_MINIMALISTIC)


large_minimalistic.default_image_size = 224


def small_minimalistic(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetV3",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet v3 small, minimalistic; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_SMALL_MINIMALISTIC)


small_minimalistic.default_image_size = 224


def edge_tpu(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    scope: str | None = "MobilenetEdgeTPU",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = False,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet-EdgeTPU; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_EDGETPU)


edge_tpu.default_image_size = 224


def edge_tpu_075(
    input_tensor: tf.Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 0.75,
    scope: str | None = "MobilenetEdgeTPU",
    conv_defs: ConvDefs | None = None,
    finegrain_classification_mode: bool = True,
    use_groupnorm: bool = False,
    **kwargs: Any,
) -> NetOutputs:
    """Builds MobileNet-EdgeTPU of width 0.75; see `mobilenet` for the arguments."""
    return lib.build_variant(mobilenet, locals(), V3_EDGETPU)


edge_tpu_075.default_image_size = 224
