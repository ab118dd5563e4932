"""The registry, and arguments that networks have in common."""

import dataclasses
import importlib.util
import inspect

import pytest

from nets import (
    inception_v3,
    mobilenet_v1,
    nets_factory,
    network_table,
    resnet_utils,
)
from nets.nets_factory import Network, get_network_fn
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def registry(monkeypatch):
    """Undoes registrations after the test."""
    monkeypatch.setattr(nets_factory, "_registry", dict(nets_factory._registry))


@pytest.fixture
def short_inception_v3(monkeypatch):
    """Removes repeated blocks, so graphs build faster."""
    repeated = ("5c", "5d", "6b", "6c", "6d", "7b")
    layers = inception_v3.LAYERS.items()
    short = {name: layer for name, layer in layers if not name.endswith(repeated)}
    monkeypatch.setattr(inception_v3, "LAYERS", short)


def images(size, channels=3, batch=2):
    return tf.zeros([batch, size, size, channels])


def tiny(images, num_classes=2, is_training=False, width=4):
    """Builds a small network."""
    net = slim.conv2d(images, width, 3, scope="conv")
    net = slim.flatten(net)
    if not num_classes:
        return net, {}
    logits = slim.fully_connected(net, num_classes, activation_fn=None, scope="logits")
    return logits, {"Logits": logits}


def tiny_arg_scope(weight_decay=0.0):
    with slim.arg_scope(
        [slim.conv2d], weights_regularizer=slim.l2_regularizer(weight_decay)
    ) as scope:
        return scope


# The registry


def test_unknown_network_lists_nearest_then_all_names():
    with pytest.raises(ValueError, match="'mobilenet_v1_25'. Nearest: ") as error:
        get_network_fn("mobilenet_v1_25", 5)
    nearest, everything = str(error.value).split(" All: ")
    assert "mobilenet_v1_025" in nearest
    assert everything.rstrip(".").split(", ") == nets_factory.list_networks()


def test_maps_contain_every_network():
    assert sorted(nets_factory.networks_map) == nets_factory.list_networks()
    assert sorted(nets_factory.arg_scopes_map) == nets_factory.list_networks()
    assert nets_factory.networks_map["mobilenet_v1"] is mobilenet_v1.mobilenet_v1
    scope = nets_factory.arg_scopes_map["resnet_v1_50"]
    assert scope is resnet_utils.resnet_arg_scope
    assert "no_such_network" not in nets_factory.networks_map
    assert nets_factory.networks_map.get("no_such_network") is None


def test_network_names_are_unique():
    names = [row.name for row in network_table.ROWS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", nets_factory.list_networks())
def test_network_record(name):
    network = nets_factory.get_network(name)
    assert network.name == name
    assert network.default_image_size == network.build.default_image_size
    assert "weight_decay" in inspect.signature(network.arg_scope).parameters
    assert network.preprocessing and network.paper
    assert network.top1 is None or 40 < network.top1 < 90
    fn = get_network_fn(name, 5)
    assert fn.default_image_size == network.default_image_size
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.name = "other"


@pytest.mark.parametrize(
    "name, size",
    [
        ("lenet", 4),
        ("lenet5", 13),
        ("cifarnet", 4),
        ("alexnet", 67),
        ("alexnet_v2", 67),
        ("overfeat", 71),
        ("vgg_a", 32),
        ("vgg_16", 32),
        ("vgg_19", 32),
        pytest.param("inception_v3", 75, marks=pytest.mark.slow),
        pytest.param("inception_v4", 75, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", 75, marks=pytest.mark.slow),
        pytest.param("densenet_121", 29, marks=pytest.mark.slow),
        pytest.param("nasnet_mobile", 3, marks=pytest.mark.slow),
        pytest.param("pnasnet_mobile", 3, marks=pytest.mark.slow),
    ],
)
def test_the_smallest_image_size_is_that_of_the_record(name, size):
    fn = get_network_fn(name, 5)
    assert nets_factory.get_network(name).min_image_size == size
    with tf.Graph().as_default():
        fn(images(size))
    said = f"{name} takes images of {size} pixels or more, but the image size is "
    with tf.Graph().as_default(), pytest.raises(ValueError, match=said):
        fn(images(size - 1))


def test_other_networks_take_images_of_any_size():
    small = [
        name
        for name in nets_factory.list_networks()
        if nets_factory.get_network(name).min_image_size == 1
    ]
    assert {"mobilenet_v1", "resnet_v1_50", "mobilenet_v2", "inception_v1"} <= {*small}
    for name in ("simple_cnn", "softmax_regression", "mobilenet_v1_025"):
        with tf.Graph().as_default():
            get_network_fn(name, 5)(images(1))


def test_images_for_a_video_network_are_an_error():
    with pytest.raises(
        ValueError, match="i3d takes videos .*, but its input has the s"
    ):
        get_network_fn("i3d", 5)(images(32))


def test_register(registry):
    nets_factory.register(Network("tiny", tiny, tiny_arg_scope, 16))
    assert "tiny" in nets_factory.list_networks()
    assert nets_factory.networks_map["tiny"] is tiny
    fn = get_network_fn("tiny", 3, weight_decay=0.1, is_training=True)
    assert fn.default_image_size == 16
    logits, _ = fn(images(16), width=8)
    assert logits.shape.as_list() == [2, 3]
    assert len(tf.losses.get_regularization_losses()) == 1


def test_register_from_a_user_module(registry, tmp_path):
    path = tmp_path / "my_networks.py"
    path.write_text(
        "from nets import lenet, nets_factory\n"
        "def my_lenet(images, num_classes=10, is_training=False):\n"
        "    return lenet.lenet(images, num_classes, is_training, scope='MyLeNet')\n"
        "nets_factory.register(nets_factory.Network(\n"
        "    'my_lenet', my_lenet, lenet.lenet_arg_scope, default_image_size=20))\n"
    )
    spec = importlib.util.spec_from_file_location("my_networks", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    fn = get_network_fn("my_lenet", 3)
    logits, _ = fn(images(fn.default_image_size, 1))
    assert logits.shape.as_list() == [2, 3]
    assert tf.global_variables()[0].op.name == "MyLeNet/conv1/weights"
    with pytest.raises(
        ValueError, match="Unknown network 'my_lent'.*Nearest: my_lenet"
    ):
        get_network_fn("my_lent", 3)


def test_register_rejects_a_name_that_is_taken(registry):
    with pytest.raises(ValueError, match="'lenet' is already registered; choose"):
        nets_factory.register(Network("lenet", tiny, tiny_arg_scope, 16))


# Arguments of network functions


@pytest.mark.parametrize(
    "name, num_classes, size, channels, features",
    [
        ("lenet", 0, 28, 1, [2, 1024]),
        ("lenet", None, 28, 1, [2, 1024]),
        ("cifarnet", 0, 32, 3, [2, 192]),
        ("mobilenet_v1_025", None, 64, 3, [2, 1, 1, 256]),
        ("inception_v3", 0, 107, 3, [2, 1, 1, 2048]),
        ("resnet_v1_50", None, 64, 3, [2, 1, 1, 2048]),
    ],
)
@pytest.mark.usefixtures("short_inception_v3")
def test_no_classes_gives_features(name, num_classes, size, channels, features):
    net, end_points = get_network_fn(name, num_classes)(images(size, channels))
    assert net.shape.as_list() == features
    assert not {"Logits", "AuxLogits", "Predictions"} & end_points.keys()
    assert not [v for v in tf.global_variables() if "ogits" in v.op.name]


def test_weight_decay_reaches_the_arg_scope():
    get_network_fn("lenet", 10, weight_decay=0.0)(images(28, 1))
    assert not tf.losses.get_regularization_losses()


def test_is_training_reaches_batch_norm_and_dropout(graph):
    get_network_fn("mobilenet_v1_025", 5, is_training=False)(images(32))
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    kinds = {op.type for op in graph.get_operations()}
    assert "FusedBatchNormV3" in kinds
    assert not kinds & {"RandomUniform", "BiasAddV1"}


def test_reuse_shares_all_variables():
    fn = get_network_fn("mobilenet_v1_025", 5)
    fn(images(32))
    count = len(tf.global_variables())
    fn(images(32), reuse=True)
    assert len(tf.global_variables()) == count


@pytest.mark.usefixtures("short_inception_v3")
def test_small_images_reduce_the_last_kernels():
    with slim.arg_scope(inception_v3.inception_v3_arg_scope()):
        _, end_points = inception_v3.inception_v3(images(107), 5)
    assert end_points["Mixed_7c"].shape.as_list() == [2, 2, 2, 2048]
    assert end_points["AvgPool_1a"].shape.as_list() == [2, 1, 1, 2048]
    assert end_points["AuxLogits"].shape.as_list() == [2, 5]
    _, end_points = mobilenet_v1.mobilenet_v1(images(96), 5)
    assert end_points["AvgPool_1a"].shape.as_list() == [2, 1, 1, 1024]


@pytest.mark.usefixtures("short_inception_v3")
@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_v1_025"])
def test_height_and_width_may_be_unknown(name):
    inputs = tf.placeholder(tf.float32, [None, None, None, 3])
    fn = get_network_fn(name, 5)
    logits, _ = fn(inputs, global_pool=True)
    assert logits.shape.as_list() == [None, 5]


# Base networks


@pytest.mark.parametrize(
    "endpoint, shape",
    [
        ("Conv2d_0", [2, 112, 112, 32]),
        ("Conv2d_2_depthwise", [2, 56, 56, 64]),
        ("Conv2d_13_pointwise", [2, 7, 7, 1024]),
    ],
)
def test_mobilenet_v1_base_stops_at_final_endpoint(endpoint, shape, graph):
    net, end_points = mobilenet_v1.mobilenet_v1_base(images(224), endpoint)
    assert net is end_points[endpoint] and list(end_points)[-1] == endpoint
    assert net.shape.as_list() == shape
    # The graph ends with that layer.
    assert f"/{endpoint}/" in graph.get_operations()[-1].name


@pytest.mark.parametrize("endpoint", ["Conv2d_1a_3x3", "MaxPool_5a_3x3", "Mixed_6a"])
def test_inception_v3_base_stops_at_final_endpoint(endpoint, graph):
    net, end_points = inception_v3.inception_v3_base(images(107), endpoint)
    assert net is end_points[endpoint] and list(end_points)[-1] == endpoint
    assert f"/{endpoint}/" in graph.get_operations()[-1].name


def test_unknown_final_endpoint():
    with pytest.raises(ValueError, match="Unknown final_endpoint 'Conv_3'.*Nearest"):
        mobilenet_v1.mobilenet_v1_base(images(32), final_endpoint="Conv_3")


@pytest.mark.parametrize(
    "base, endpoint, table_depth",
    [
        (mobilenet_v1.mobilenet_v1_base, "Conv2d_3_pointwise", 128),
        (inception_v3.inception_v3_base, "Conv2d_4a_3x3", 192),
    ],
)
def test_depth_multiplier(base, endpoint, table_depth):
    def depth(**kwargs):
        net, _ = base(images(107), endpoint, scope="net", **kwargs)
        return net.shape[-1]

    with tf.variable_scope("half"):
        assert depth(depth_multiplier=0.5) == table_depth // 2
    with tf.variable_scope("least"):
        assert depth(depth_multiplier=0.001, min_depth=3) == 3
    with pytest.raises(ValueError, match="depth_multiplier must be greater than 0"):
        depth(depth_multiplier=0.0)


def test_mobilenet_v1_accepts_another_table():
    table = [
        mobilenet_v1.Conv(kernel=[3, 3], stride=2, depth=8),
        mobilenet_v1.DepthSepConv(kernel=[3, 3], stride=2, depth=16),
    ]
    logits, end_points = mobilenet_v1.mobilenet_v1(
        images(32), 5, conv_defs=table, global_pool=True
    )
    assert end_points["Conv2d_1_pointwise"].shape.as_list() == [2, 8, 8, 16]
    assert logits.shape[-1] == 5


# Fully convolutional


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_mobilenet_v1_output_stride(output_stride, explicit):
    net, end_points = mobilenet_v1.mobilenet_v1_base(
        images(224), output_stride=output_stride, use_explicit_padding=explicit
    )
    assert net.shape.as_list() == [2, 224 // output_stride, 224 // output_stride, 1024]
    assert end_points["Conv2d_5_pointwise"].shape.as_list() == [2, 28, 28, 256]


def test_mobilenet_v1_rejects_other_output_strides():
    with pytest.raises(ValueError, match="output_stride must be None, 8, 16 or 32"):
        mobilenet_v1.mobilenet_v1_base(images(224), output_stride=10)


def test_networks_are_added_in_tf_slims_way(registry):
    def bare(images, num_classes=None, is_training=False):
        return tf.reduce_mean(images, [1, 2])[:, :num_classes], {}

    nets_factory.networks_map["mine"] = bare
    network = nets_factory.get_network("mine")
    assert (network.default_image_size, network.preprocessing) == (224, "inception")
    assert get_network_fn("mine", 2)(images(8))[0].shape == [2, 2]
    assert "mine" in nets_factory.list_networks()
    nets_factory.arg_scopes_map["mine"] = lambda weight_decay: {}
    bare.default_image_size = 8
    nets_factory.networks_map["inception_v3"] = bare
    network = nets_factory.get_network("inception_v3")
    assert (network.default_image_size, network.scope) == (8, "InceptionV3")
    assert get_network_fn("inception_v3", 3)(images(8))[0].shape == [2, 3]
    nets_factory.arg_scopes_map["half"] = lambda weight_decay: {}
    with pytest.raises(ValueError, match="none in networks_map"):
        get_network_fn("half", 2)(images(8))
    del nets_factory.networks_map["mine"]
    assert "mine" not in nets_factory.arg_scopes_map
