"""The gradient of depthwise convolutions by their forward kernel.

In bfloat16, TensorFlow's kernel for the gradient with respect to the images is up to 40
times slower than the one that computes the convolution. That gradient is itself a
depthwise convolution: of the incoming gradient, with zeros between its values where the
stride is more than one, and with the filter reversed (Dumoulin and Visin 2016,
arXiv:1603.07285, section 4).
"""

import contextlib
from collections.abc import Iterator

from tf_slim_compat import tf

_GRADIENT_NAME = "DepthwiseConv2dNativeByForwardKernel"
_OP_TYPE = "DepthwiseConv2dNative"


@contextlib.contextmanager
def by_forward_kernel() -> Iterator[None]:
    """Within, depthwise convolutions that are built get this gradient."""
    with tf.get_default_graph().gradient_override_map({_OP_TYPE: _GRADIENT_NAME}):
        yield


@tf.RegisterGradient(_GRADIENT_NAME)
def _build_gradients(op: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor]:
    """Returns the gradients with respect to images and filter."""
    images, weights = op.inputs
    attributes = {
        name: op.get_attr(name)
        for name in (
            "strides",
            "padding",
            "explicit_paddings",
            "data_format",
            "dilations",
        )
    }
    for_weights = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images,
        filter_sizes=tf.shape(weights),
        out_backprop=gradient,
        **attributes,
    )
    if _is_supported(op):
        return [_convolve_gradient(op, gradient), for_weights]
    for_images = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(images),
        filter=weights,
        out_backprop=gradient,
        **attributes,
    )
    return [for_images, for_weights]


def _is_supported(op: tf.Operation) -> bool:
    images, weights, outputs = (
        tensor.shape.as_list() for tensor in (*op.inputs, *op.outputs)
    )
    return (
        None not in [*images[1:], *weights, *outputs[1:]]
        and weights[3] == 1
        and op.get_attr("data_format") == b"NHWC"
        and op.get_attr("padding") in (b"SAME", b"VALID")
        and op.get_attr("dilations") == [1, 1, 1, 1]
    )


def _convolve_gradient(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """Returns the gradient with respect to the images."""
    images, weights = (tensor.shape.as_list() for tensor in op.inputs)
    strides = op.get_attr("strides")[1:3]
    sizes = gradient.shape.as_list()[1:3]
    is_same = op.get_attr("padding") == b"SAME"
    (top, bottom), (left, right) = (
        _compute_padding(*numbers, is_same)
        for numbers in zip(images[1:3], sizes, weights[:2], strides, strict=True)
    )
    spread = _spread(gradient, strides)
    if min(bottom, right) < 0:  # No position of the filter covers the last zeros.
        down, across = (
            size * stride + min(0, room)
            for size, stride, room in zip(sizes, strides, (bottom, right), strict=True)
        )
        spread = spread[:, :down, :across]
        bottom, right = max(0, bottom), max(0, right)
    return tf.nn.depthwise_conv2d(
        spread,
        tf.reverse(op.inputs[1], [0, 1]),
        strides=[1, 1, 1, 1],
        padding=[[0, 0], [top, bottom], [left, right], [0, 0]],
    )


def _compute_padding(images_px, gradient_px, filter_px, stride, is_same):
    """Returns the zeros before and behind the spread gradient; negative to crop it."""
    spread_px = gradient_px * stride
    excess = max(0, spread_px - stride + filter_px - images_px) if is_same else 0
    before = filter_px - 1 - excess // 2
    return before, images_px + filter_px - 1 - spread_px - before


def _spread(gradient: tf.Tensor, strides: list[int]) -> tf.Tensor:
    """Returns the gradient with stride - 1 zeros behind each value."""
    if strides == [1, 1]:
        return gradient
    _, height, width, channels = gradient.shape.as_list()
    down, right = strides
    separate = tf.reshape(gradient, [-1, height, 1, width, 1, channels])
    zeros = [[0, 0], [0, 0], [0, down - 1], [0, 0], [0, right - 1], [0, 0]]
    shape = [-1, height * down, width * right, channels]
    return tf.reshape(tf.pad(separate, zeros), shape)
