"""VGG, AlexNet and OverFeat: arguments and image sizes."""

import pytest

from nets import nets_factory, vgg
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")

# Name, image size that gives a last feature map of 1x1.
NETWORKS = [
    ("vgg_a", 32),
    ("vgg_16", 32),
    ("vgg_19", 32),
    ("alexnet", 67),
    ("alexnet_v2", 67),
    ("overfeat", 71),
]


def build(name, size, num_classes=5, batch=1, **kwargs):
    """Builds on a placeholder; a size of None is unknown."""
    images = tf.placeholder(tf.float32, [batch, size, size, 3])
    return nets_factory.get_network_fn(name, num_classes)(images, **kwargs)


@pytest.mark.parametrize("name, size", NETWORKS)
def test_small_images(name, size):
    logits, end_points = build(name, size)
    assert logits is end_points[f"{name}/fc8"]
    assert logits.shape.as_list() == [1, 5]
    assert end_points[f"{name}/pool5"].shape.as_list()[1:3] == [1, 1]


@pytest.mark.parametrize("name, size", NETWORKS)
def test_no_classes_gives_features(name, size):
    net, end_points = build(name, size, num_classes=0)
    assert net is end_points[f"{name}/fc7"]
    assert net.shape.as_list() == [1, 1, 1, 4096]


@pytest.mark.parametrize("name, size", NETWORKS)
def test_larger_images(name, size):
    larger = nets_factory.get_network(name).default_image_size + 64
    logits, _ = build(name, larger, spatial_squeeze=False)
    assert logits.shape.as_list() == [1, 3, 3, 5]
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        logits, end_points = build(name, larger, global_pool=True)
    assert logits.shape.as_list() == [1, 5]
    assert end_points["global_pool"].shape.as_list() == [1, 1, 1, 4096]


@pytest.mark.parametrize("name, size", NETWORKS)
def test_height_and_width_may_be_unknown(name, size):
    logits, _ = build(name, None, batch=None, global_pool=True)
    assert logits.shape.as_list() == [None, 5]
    kernel = {"alexnet": 6, "alexnet_v2": 5, "overfeat": 6}.get(name, 7)
    with tf.variable_scope("", reuse=True):
        weights = tf.get_variable(f"{name}/fc6/weights")
    assert weights.shape.as_list()[:2] == [kernel, kernel]


def test_vgg_with_logits_at_every_location():
    logits, _ = build("vgg_a", 64, fc_conv_padding="SAME", spatial_squeeze=False)
    assert logits.shape.as_list() == [1, 2, 2, 5]
    (weights,) = slim.get_variables_by_suffix("fc6/weights")
    assert weights.shape.as_list() == [7, 7, 512, 4096]


def test_vgg_reuse():
    build("vgg_a", 32)
    count = len(tf.global_variables())
    build("vgg_a", 32, reuse=True)
    assert len(tf.global_variables()) == count


def test_vgg_is_available_by_the_letters_of_the_paper():
    assert vgg.vgg_d is vgg.vgg_16
    assert vgg.vgg_e is vgg.vgg_19


def test_dropout_only_in_training(graph):
    def get_active_dropouts():
        kinds = [op for op in graph.get_operations() if op.type == "RandomUniform"]
        return {op.name.split("/")[1] for op in kinds if "dropout" in op.name}

    build("vgg_a", 32)
    assert not get_active_dropouts()
    images = tf.placeholder(tf.float32, [1, 32, 32, 3])
    fn = nets_factory.get_network_fn("vgg_a", 5, is_training=True)
    fn(images, scope="training")
    assert get_active_dropouts() == {"dropout6", "dropout7"}
