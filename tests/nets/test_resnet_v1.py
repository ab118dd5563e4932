"""ResNet v1: output strides, end points and custom blocks."""

import numpy as np
import probe_weights
import pytest

from nets import resnet_utils, resnet_v1
from nets.nets_factory import get_network_fn
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")


def images(size, channels=3, batch=2):
    return tf.zeros([batch, size, size, channels])


def shapes(end_points):
    return {name: tensor.shape.as_list() for name, tensor in end_points.items()}


TINY_BLOCKS = [
    ("block1", 1, 2, 2),
    ("block2", 2, 1, 2),
    ("block3", 4, 1, 2),
    ("block4", 8, 1, 1),
]


def tiny_resnet(inputs, **kwargs):
    blocks = [resnet_v1.resnet_v1_block(*row) for row in TINY_BLOCKS]
    with slim.arg_scope(resnet_v1.resnet_arg_scope()):
        return resnet_v1.resnet_v1(inputs, blocks, is_training=False, **kwargs)


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32])
def test_output_stride(output_stride):
    net, end_points = tiny_resnet(
        images(65), output_stride=output_stride, global_pool=False, scope="net"
    )
    side = -(-65 // output_stride)
    assert net.shape.as_list() == [2, side, side, 32]
    # Each block strides in its last unit, up to the output stride.
    assert shapes(end_points)["net/block1"][1] == -(-65 // min(8, output_stride))


@pytest.mark.parametrize("output_stride", [6, 64])
def test_rejects_an_unreachable_output_stride(output_stride):
    with pytest.raises(ValueError, match="output_stride"):
        tiny_resnet(images(65), output_stride=output_stride)


def test_dilated_features_contain_the_strided_ones(graph):
    inputs = tf.random_uniform([1, 65, 65, 3], seed=1)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        dense, _ = tiny_resnet(inputs, output_stride=4, global_pool=False, scope="net")
        coarse, _ = tiny_resnet(inputs, global_pool=False, scope="net")
    with tf.Session() as session:
        probe_weights.initialize(session)
        dense, coarse = session.run([dense, coarse])
    probe_weights.assert_varied(coarse[0, 0])
    assert np.abs(dense[:, ::8, ::8] - coarse).max() < 1e-4 * np.abs(coarse).max()


def test_logits_at_each_location():
    inputs = tf.placeholder(tf.float32, [None, None, None, 3])
    logits, end_points = tiny_resnet(
        inputs,
        num_classes=7,
        global_pool=False,
        output_stride=8,
        spatial_squeeze=False,
        scope="net",
    )
    assert logits.shape.as_list() == [None, None, None, 7]
    assert "global_pool" not in end_points
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        value = session.run(logits, {inputs: [[[[0.0] * 3] * 41] * 81]})
    assert value.shape == (1, 11, 6, 7)


def test_stores_feature_maps_before_striding():
    _, strided = tiny_resnet(images(64), scope="strided")
    net, end_points = tiny_resnet(
        images(64), store_non_strided_activations=True, global_pool=False, scope="net"
    )
    assert shapes(strided)["strided/block1"] == [2, 8, 8, 4]
    assert shapes(end_points)["net/block1"] == [2, 16, 16, 4]
    assert net.shape.as_list() == [2, 2, 2, 32]


def test_without_root_block():
    net, _ = tiny_resnet(images(32, 8), include_root_block=False, global_pool=False)
    assert net.shape.as_list() == [2, 4, 4, 32]


def test_depth_multiplier():
    fn = get_network_fn("resnet_v1_50", None)
    _, end_points = fn(images(32), depth_multiplier=0.25, min_base_depth=20)
    assert end_points["resnet_v1_50/block1"].shape[-1] == 4 * 20
    assert end_points["resnet_v1_50/block4"].shape[-1] == 512


def test_conv2d_same_equals_a_dense_convolution_subsampled():
    inputs = tf.random_uniform([1, 8, 9, 2], seed=1)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        strided = resnet_utils.conv2d_same(inputs, 3, 3, stride=2, scope="conv")
        dense = slim.conv2d(inputs, 3, 3, scope="conv")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        ours, theirs = session.run([strided, resnet_utils.subsample(dense, 2)])
    assert ours == pytest.approx(theirs, abs=1e-5)
