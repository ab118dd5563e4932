"""ResNet v2: output strides, fully convolutional use and features."""

import numpy as np
import probe_weights
import pytest

from nets import nets_factory, resnet_v2
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")

TINY_BLOCKS = [
    ("block1", 1, 2, 2),
    ("block2", 2, 2, 2),
    ("block3", 4, 2, 2),
    ("block4", 8, 2, 1),
]


def tiny_resnet(images, **kwargs):
    blocks = [resnet_v2.resnet_v2_block(*row) for row in TINY_BLOCKS]
    with slim.arg_scope(resnet_v2.resnet_arg_scope()):
        return resnet_v2.resnet_v2(images, blocks, is_training=False, **kwargs)


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32, None])
def test_output_stride(output_stride):
    net, _ = tiny_resnet(
        tf.zeros([2, 65, 65, 3]), output_stride=output_stride, global_pool=False
    )
    side = -(-65 // (output_stride or 32))
    assert net.shape.as_list() == [2, side, side, 32]


@pytest.mark.parametrize("output_stride", [6, 64])
def test_rejects_an_unreachable_output_stride(output_stride):
    with pytest.raises(ValueError, match="output_stride"):
        tiny_resnet(tf.zeros([2, 65, 65, 3]), output_stride=output_stride)


def test_dilated_features_contain_the_strided_ones():
    images = tf.random_uniform([1, 65, 65, 3], seed=1)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        dense, _ = tiny_resnet(images, output_stride=4, global_pool=False, scope="net")
        coarse, _ = tiny_resnet(images, global_pool=False, scope="net")
    with tf.Session() as session:
        probe_weights.initialize(session)
        dense, coarse = session.run([dense, coarse])
    probe_weights.assert_varied(coarse[0, 0])
    assert np.abs(dense[:, ::8, ::8] - coarse).max() < 1e-4 * np.abs(coarse).max()


def test_logits_at_each_location():
    images = tf.placeholder(tf.float32, [None, None, None, 3])
    logits, end_points = tiny_resnet(
        images, num_classes=7, global_pool=False, spatial_squeeze=False
    )
    assert logits.shape.as_list() == [None, None, None, 7]
    assert "global_pool" not in end_points


def test_without_root_block():
    net, _ = tiny_resnet(
        tf.zeros([2, 32, 32, 8]), include_root_block=False, global_pool=False
    )
    assert net.shape.as_list() == [2, 4, 4, 32]


def test_no_classes_gives_features():
    net, end_points = nets_factory.get_network_fn("resnet_v2_50", 0)(
        tf.zeros([2, 32, 32, 3])
    )
    assert net.shape.as_list() == [2, 1, 1, 2048]
    assert "predictions" not in end_points
