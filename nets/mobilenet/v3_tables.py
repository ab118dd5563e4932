"""Tables of MobileNet v3, its minimalistic variants, and MobileNet-EdgeTPU.

A. Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
"""

from collections.abc import Callable, Sequence
from typing import Any

from nets.mobilenet.conv_blocks import (
    expand_input_by_factor,
    expanded_conv,
    fused_expanded_conv,
    squeeze_excite,
)
from nets.mobilenet.conv_defs import ConvDefs, Op, op
from nets.net_utils import reduced_kernel_size
from tf_slim_compat import slim, tf


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """Returns `x * relu6(x + 3) / 6`, the activation of the deeper layers."""
    with tf.name_scope("hard_swish"):
        return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def reduce_to_1x1(
    input_tensor: tf.Tensor, default_size: int = 7, **kwargs: Any
) -> tf.Tensor:
    """Averages a square feature map over all locations.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      default_size: side of the pooling window if the feature map is not square or its
        size is unknown; reduced if the feature map is smaller.
      **kwargs: arguments of `slim.avg_pool2d`.
    """
    height, width = input_tensor.shape.as_list()[1:3]
    side = height if height == width and height is not None else default_size
    kernel_size = reduced_kernel_size(input_tensor, [side, side])
    kwargs = {"stride": 2, "padding": "VALID", **kwargs}
    return slim.avg_pool2d(input_tensor, kernel_size, **kwargs)


def _gate(x: tf.Tensor) -> tf.Tensor:
    """Returns the hard sigmoid: 0 below -3, 1 above 3, and linear between."""
    # The public checkpoints were trained with 0.16667 here and 1 / 6 in hard_swish; the
    # difference is 3e-4 of the largest logit.
    return tf.nn.relu6(x + 3.0) * 0.16667


def _excite(expansion_tensor: tf.Tensor, input_tensor: tf.Tensor) -> tf.Tensor:
    return squeeze_excite(expansion_tensor, squeeze_factor=4, gating_fn=_gate)


def mbv3_op(
    ef: float,
    n: int,
    k: int,
    s: int = 1,
    act: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu,
    se: Callable[..., tf.Tensor] | None = None,
    **kwargs: Any,
) -> Op:
    """Returns a table row of an inverted residual block.

    Args:
      ef: expansion factor.
      n: number of output channels.
      k: height and width of the kernel.
      s: stride.
      act: inner activation.
      se: `expansion_transform` of `expanded_conv`.
      **kwargs: arguments of `expanded_conv`.
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


def mbv3_fused(ef: float, n: int, k: int, s: int = 1, **kwargs: Any) -> Op:
    """Returns a table row of a block with one full convolution as its expansion.

    It replaces the 1x1 expansion and the depthwise convolution of `mbv3_op`, which has
    the same arguments.
    """
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

# The blocks of tables 1 and 2 of the paper, as arguments of `mbv3_op`.
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


def _minimalistic(blocks: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Returns the blocks with 3x3 kernels and ReLU, without squeeze-and-excite."""
    return [(ef, n, 3, s, RE) for ef, n, _, s, *_ in blocks]


def _conv(
    n: int,
    k: int = 1,
    s: int = 1,
    act: Callable[[tf.Tensor], tf.Tensor] = RE,
    **kwargs: Any,
) -> Op:
    """Returns a table row of a convolution; see `mbv3_op` for the arguments."""
    return op(
        slim.conv2d,
        num_outputs=n,
        kernel_size=(k, k),
        stride=s,
        activation_fn=act,
        **kwargs,
    )


def _conv_defs(
    blocks: Sequence[tuple[Any, ...]],
    depth: int,
    last_depth: int,
    act: Callable[[tf.Tensor], tf.Tensor] = HS,
) -> ConvDefs:
    """Returns a table of the first convolution, the blocks, and the last layers."""
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


def _with_half_of_last_stage(
    blocks: Sequence[tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    """Returns the blocks with half the channels in the last three (section 6.3)."""
    return [*blocks[:-3], *[(ef, n // 2, *rest) for ef, n, *rest in blocks[-3:]]]


V3_LARGE = _conv_defs(_LARGE_BLOCKS, 960, 1280)
V3_SMALL = _conv_defs(_SMALL_BLOCKS, 576, 1024)
V3_LARGE_MINIMALISTIC = _conv_defs(_minimalistic(_LARGE_BLOCKS), 960, 1280, RE)
V3_SMALL_MINIMALISTIC = _conv_defs(_minimalistic(_SMALL_BLOCKS), 576, 1024, RE)
# For detection, which needs fewer channels than 1,000 classes.
V3_LARGE_DETECTION = _conv_defs(_with_half_of_last_stage(_LARGE_BLOCKS), 480, 1280)
V3_SMALL_DETECTION = _conv_defs(_with_half_of_last_stage(_SMALL_BLOCKS), 288, 1024)
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
