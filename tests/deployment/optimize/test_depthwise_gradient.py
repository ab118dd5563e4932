import itertools

import numpy as np
import pytest

from deployment.optimize import depthwise_gradient
from tf_slim_compat import slim, tf

SIZES = [(7, 7), (8, 9), (5, 12)]
FILTERS = [(1, 1), (3, 3), (5, 5), (2, 3), (7, 7)]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_equals_the_gradient_of_tensorflow(graph, padding):
    random = np.random.default_rng(0)
    pairs = []
    for size, shape, stride in itertools.product(SIZES, FILTERS, (1, 2, 3)):
        if padding == "VALID" and (shape[0] > size[0] or shape[1] > size[1]):
            continue
        inputs = [
            tf.constant(random.normal(size=[2, *size, 3])),
            tf.constant(random.normal(size=[*shape, 3, 1])),
        ]
        strides = [1, stride, stride, 1]
        expected = tf.nn.depthwise_conv2d(*inputs, strides, padding)
        with depthwise_gradient.by_forward_kernel():
            actual = tf.nn.depthwise_conv2d(*inputs, strides, padding)
        weights = tf.constant(random.normal(size=expected.shape))
        pairs += zip(
            tf.gradients(actual, inputs, weights),
            tf.gradients(expected, inputs, weights),
            strict=True,
        )
    assert len(pairs) > 80
    with tf.Session() as session:
        for actual, expected in session.run(pairs):
            np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [[2, 6, 6, 3], [2, None, None, 3]])
@pytest.mark.parametrize("depth_multiplier", [1, 2])
def test_other_convolutions_keep_the_kernel_of_tensorflow(
    graph, shape, depth_multiplier
):
    images = tf.placeholder(tf.float32, shape)
    with depthwise_gradient.by_forward_kernel():
        net = slim.separable_conv2d(
            images, None, 3, depth_multiplier=depth_multiplier, stride=2
        )
    tf.gradients(net, images)
    kinds = {op.type for op in graph.get_operations()}
    is_own = None not in shape and depth_multiplier == 1
    assert ("DepthwiseConv2dNativeBackpropInput" in kinds) != is_own
