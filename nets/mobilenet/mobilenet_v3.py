"""MobileNet v3, its minimalistic variants, and MobileNet-EdgeTPU.

A. Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
The minimalistic networks do without squeeze-and-excite, hard swish and 5x5 kernels, for
hardware that is slow at these; EdgeTPU's convolve fully in their first blocks.

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes work too. Output: logits
[batch, classes]; the last map is [batch, 7, 7, 960] in the large networks, 576 channels
in the small ones and 1280 in EdgeTPU's.

| network                         | function           | parameters | top-1  |
|---------------------------------|--------------------|------------|--------|
| mobilenet_v3_large              | large              | 5,484,313  | 75.2 % |
| mobilenet_v3_small              | small              | 2,543,881  | 67.5 % |
| mobilenet_v3_large_minimalistic | large_minimalistic | 3,925,569  | 72.3 % |
| mobilenet_v3_small_minimalistic | small_minimalistic | 2,045,761  | 61.9 % |
| mobilenet_edgetpu               | edge_tpu           | 4,092,713  | 75.6 % |
| mobilenet_edgetpu_075           | edge_tpu_075       | 2,989,441  | 73.5 % |

The parameters are those with 1,001 classes, the accuracies the published ones at 224
pixels (EdgeTPU's in 8 bit).
"""

from nets.mobilenet import mobilenet as lib
from nets.mobilenet.conv_blocks import (
    expand_input_by_factor,
    expanded_conv,
    fused_expanded_conv,
    squeeze_excite,
)
from nets.mobilenet.conv_defs import op, with_group_norm, with_unscaled_last_layer
from nets.net_utils import reduced_kernel_size, variant
from tf_slim_compat import slim, tf


def hard_swish(x):
    """`x * relu6(x + 3) / 6`, the activation of the deeper layers."""
    with tf.name_scope("hard_swish"):
        return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def reduce_to_1x1(input_tensor, default_size=7, **kwargs):
    """Averages a square map to one place.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      default_size: int, the side of the window where the map is not square or its size
        is unknown; less where the map is smaller.
      **kwargs: for `slim.avg_pool2d`.
    """
    height, width = input_tensor.shape.as_list()[1:3]
    side = height if height == width and height is not None else default_size
    kernel_size = reduced_kernel_size(input_tensor, [side, side])
    return slim.avg_pool2d(input_tensor, kernel_size, **kwargs)


def _gate(x):
    """A piecewise linear sigmoid, 0 below -3 and 1 above 3."""
    # The published networks have a sixth of five digits here, and a full one in
    # hard_swish; the difference is 3e-4 of the largest logit.
    return tf.nn.relu6(x + 3.0) * 0.16667


def _excite(expansion_tensor, input_tensor):
    return squeeze_excite(expansion_tensor, squeeze_factor=4, gating_fn=_gate)


def mbv3_op(ef, n, k, s=1, act=tf.nn.relu, se=None, **kwargs):
    """Returns a block's row in a table.

    Args:
      ef: float, the expansion factor.
      n: int, channels of the result.
      k: int, the side of the kernel.
      s: int, the stride.
      act: callable, the inner activation.
      se: what `expanded_conv` takes as expansion_transform, or None.
      **kwargs: for `expanded_conv`.
    """
    return op(
        expanded_conv,
        expansion_size=expand_input_by_factor(ef),
        kernel_size=(k, k),
        stride=s,
        num_outputs=n,
        inner_activation_fn=act,
        expansion_transform=se,
        **kwargs,
    )


def mbv3_fused(ef, n, k, s=1, **kwargs):
    """As `mbv3_op`, with a full convolution in place of expansion and depthwise one."""
    return mbv3_op(ef, n, k, s, **kwargs)._replace(op=fused_expanded_conv)


DEFAULTS = {
    (expanded_conv,): {"normalizer_fn": slim.batch_norm},
    (slim.conv2d, slim.fully_connected, slim.separable_conv2d): {
        "normalizer_fn": slim.batch_norm,
        "activation_fn": tf.nn.relu,
    },
    (slim.batch_norm,): {"center": True, "scale": True},
}

RE, HS, SE = tf.nn.relu, hard_swish, _excite

# The blocks as in tables 1 and 2 of the paper, in the order of `mbv3_op`'s arguments.
_LARGE_BLOCKS = [
    (1, 16, 3, 1, RE),
    (4, 24, 3, 2, RE),
    (3, 24, 3, 1, RE),
    (3, 40, 5, 2, RE, SE),
    (3, 40, 5, 1, RE, SE),
    (3, 40, 5, 1, RE, SE),
    (6, 80, 3, 2, HS),
    (2.5, 80, 3, 1, HS),
    (184 / 80, 80, 3, 1, HS),
    (184 / 80, 80, 3, 1, HS),
    (6, 112, 3, 1, HS, SE),
    (6, 112, 3, 1, HS, SE),
    (6, 160, 5, 2, HS, SE),
    (6, 160, 5, 1, HS, SE),
    (6, 160, 5, 1, HS, SE),
]
_SMALL_BLOCKS = [
    (1, 16, 3, 2, RE, SE),
    (72 / 16, 24, 3, 2, RE),
    (88 / 24, 24, 3, 1, RE),
    (4, 40, 5, 2, HS, SE),
    (6, 40, 5, 1, HS, SE),
    (6, 40, 5, 1, HS, SE),
    (3, 48, 5, 1, HS, SE),
    (3, 48, 5, 1, HS, SE),
    (6, 96, 5, 2, HS, SE),
    (6, 96, 5, 1, HS, SE),
    (6, 96, 5, 1, HS, SE),
]


def _minimalistic(blocks):
    return [(ef, n, 3, s, RE) for ef, n, _, s, *_ in blocks]


def _conv(n, k=1, s=1, act=RE, **kwargs):
    """Returns a convolution's row in a table; the arguments are as in `mbv3_op`."""
    return op(
        slim.conv2d,
        num_outputs=n,
        kernel_size=(k, k),
        stride=s,
        activation_fn=act,
        **kwargs,
    )


def _conv_defs(blocks, depth, last_depth, act=HS):
    """Returns a table: the first convolution, the blocks, and what follows the last."""
    return {
        "defaults": DEFAULTS,
        "spec": [
            _conv(16, k=3, s=2, act=act),
            *[mbv3_op(*block) for block in blocks],
            _conv(depth, act=act),
            op(reduce_to_1x1, default_size=7, stride=1),
            _conv(last_depth, act=act, normalizer_fn=None),
        ],
    }


V3_LARGE = _conv_defs(_LARGE_BLOCKS, 960, 1280)
V3_SMALL = _conv_defs(_SMALL_BLOCKS, 576, 1024)
V3_LARGE_MINIMALISTIC = _conv_defs(_minimalistic(_LARGE_BLOCKS), 960, 1280, RE)
V3_SMALL_MINIMALISTIC = _conv_defs(_minimalistic(_SMALL_BLOCKS), 576, 1024, RE)
V3_EDGETPU = {
    "defaults": DEFAULTS,
    "spec": [
        _conv(32, k=3, s=2),
        mbv3_fused(1, 16, 3),
        mbv3_fused(8, 32, 3, 2),
        *[mbv3_fused(4, 32, 3)] * 3,
        mbv3_fused(8, 48, 3, 2),
        *[mbv3_fused(4, 48, 3)] * 3,
        mbv3_op(8, 96, 3, 2),
        *[mbv3_op(4, 96, 3)] * 3,
        mbv3_op(8, 96, 3, residual=False),
        *[mbv3_op(4, 96, 3)] * 3,
        mbv3_op(8, 160, 5, 2),
        *[mbv3_op(4, 160, 5)] * 3,
        mbv3_op(8, 192, 3),
        _conv(1280),
    ],
}

training_scope = lib.training_scope


@slim.add_arg_scope
def mobilenet(
    input_tensor,
    num_classes=1001,
    depth_multiplier=1.0,
    scope="MobilenetV3",
    conv_defs=None,
    finegrain_classification_mode=False,
    use_groupnorm=False,
    **kwargs,
):
    """Builds a MobileNet v3 as a classifier.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_classes: int; 0 or None gives the pooled features [batch, 1, 1, channels].
      depth_multiplier: float > 0, the factor of all depths.
      scope: name of the variable scope.
      conv_defs: table of layers, see `conv_defs.py`; None for `V3_LARGE`.
      finegrain_classification_mode: whether the last layer keeps its depth whatever
        `depth_multiplier`, which pays with many classes.
      use_groupnorm: group normalisation in place of batch normalisation.
      **kwargs: for `mobilenet` and `mobilenet_base` in `mobilenet.py`: is_training,
        final_endpoint, output_stride, use_explicit_padding, base_only, reuse and more.

    Returns:
      `(logits, end_points)`.

    Raises:
      ValueError: `input_tensor` is not of rank 4, or another argument is out of range.
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
mobilenet_base = lib.define_base(mobilenet)

large = variant(mobilenet, "large", conv_defs=V3_LARGE)
small = variant(mobilenet, "small", conv_defs=V3_SMALL)
large_minimalistic = variant(
    mobilenet, "large_minimalistic", conv_defs=V3_LARGE_MINIMALISTIC
)
small_minimalistic = variant(
    mobilenet, "small_minimalistic", conv_defs=V3_SMALL_MINIMALISTIC
)
edge_tpu = variant(
    mobilenet, "edge_tpu", scope="MobilenetEdgeTPU", conv_defs=V3_EDGETPU
)
edge_tpu_075 = variant(
    mobilenet,
    "edge_tpu_075",
    scope="MobilenetEdgeTPU",
    conv_defs=V3_EDGETPU,
    depth_multiplier=0.75,
    finegrain_classification_mode=True,
)
