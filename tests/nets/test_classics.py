"""Networks without a reference: parameter counts, layer shapes and training."""

import numpy as np
import pytest

from nets import densenet, nets_factory, stack_utils
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")


def count_parameters():
    return sum(v.shape.num_elements() for v in tf.trainable_variables())


@pytest.mark.parametrize(
    "name, size, channels, num_classes, parameters",
    [
        ("softmax_regression", 28, 1, 10, 7_850),
        ("softmax_regression", 32, 3, 10, 30_730),
        ("lenet5", 32, 1, 10, 61_706),
        ("simple_cnn", 32, 3, 10, 3_784_714),
        ("alexnet", 227, 3, 1000, 62_378_344),
        pytest.param("densenet_121", 224, 3, 1000, 7_978_856, marks=pytest.mark.slow),
        pytest.param("densenet_161", 224, 3, 1000, 28_681_000, marks=pytest.mark.slow),
        pytest.param("densenet_169", 224, 3, 1000, 14_149_480, marks=pytest.mark.slow),
        pytest.param("densenet_201", 224, 3, 1000, 20_013_928, marks=pytest.mark.slow),
    ],
)
def test_published_parameter_count(name, size, channels, num_classes, parameters):
    fn = nets_factory.get_network_fn(name, num_classes, is_training=True)
    logits, _ = fn(tf.zeros([2, size, size, channels]))
    assert logits.shape.as_list() == [2, num_classes]
    assert count_parameters() == parameters
    scope = nets_factory.get_network(name).scope
    assert all(v.op.name.startswith(f"{scope}/") for v in tf.global_variables())


def tiny_densenet(images, **kwargs):
    """Builds a DenseNet with two small blocks."""
    with slim.arg_scope(densenet.densenet_arg_scope(weight_decay=0.0)):
        return densenet.densenet(images, blocks=(2, 2), growth=4, **kwargs)


def network(name):
    return lambda images, **kwargs: nets_factory.get_network_fn(name, 4, 0.0, True)(
        images, **kwargs
    )


@pytest.mark.parametrize(
    "build, size, channels, options",
    [
        pytest.param(network("softmax_regression"), 8, 3, {}, id="softmax_regression"),
        pytest.param(network("lenet5"), 32, 1, {}, id="lenet5"),
        pytest.param(
            network("simple_cnn"), 32, 3, {"dropout_keep_prob": 1.0}, id="simple_cnn"
        ),
        pytest.param(
            network("alexnet"), 67, 3, {"dropout_keep_prob": 1.0}, id="alexnet"
        ),
        pytest.param(tiny_densenet, 32, 3, {"num_classes": 4}, id="densenet"),
    ],
)
def test_training_step_reduces_the_loss(build, size, channels, options):
    images = tf.constant(
        np.random.RandomState(1).uniform(-1, 1, (8, size, size, channels)), tf.float32
    )
    logits, _ = build(images, **options)
    loss = tf.losses.sparse_softmax_cross_entropy([0, 1, 2, 3] * 2, logits)
    step = tf.train.GradientDescentOptimizer(0.001).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(loss)
        session.run(step)
        assert session.run(loss) < before


def test_alexnet_has_the_layer_shapes_of_its_paper():
    fn = nets_factory.get_network_fn("alexnet", 1000)
    _, end_points = fn(tf.zeros([1, 227, 227, 3]))
    shapes = {name: layer.shape.as_list()[1:] for name, layer in end_points.items()}
    assert shapes["alexnet/conv1"] == shapes["alexnet/norm1"] == [55, 55, 96]
    assert shapes["alexnet/conv2"] == [27, 27, 256]
    assert shapes["alexnet/conv5"] == [13, 13, 256]
    assert shapes["alexnet/pool5"] == [6, 6, 256]
    assert shapes["alexnet/fc8"] == [1000]


def test_alexnet_has_the_initial_weights_of_its_paper():
    fn = nets_factory.get_network_fn("alexnet", 4, is_training=True)
    fn(tf.zeros([1, 67, 67, 3]))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run({v.op.name: v for v in tf.trainable_variables()})
    for layer, bias in {
        "conv1": 0,
        "conv2": 1,
        "conv3": 0,
        "conv4": 1,
        "conv5": 1,
        "fc6": 1,
        "fc7": 1,
        "fc8": 0,
    }.items():
        assert np.all(values[f"alexnet/{layer}/biases"] == bias), layer
        std = values[f"alexnet/{layer}/weights"].std()
        assert std == pytest.approx(0.01, rel=0.05), layer


def test_local_norm_follows_the_formula_of_the_alexnet_paper():
    maps = np.random.RandomState(1).uniform(0, 20, 9)
    table = {"norm1": stack_utils.LocalNorm()}
    layers = stack_utils.build_layers(
        tf.constant(maps.reshape([1, 1, 1, 9]), tf.float32), table, stack_utils.OPS
    )
    ((_, norm),) = layers
    with tf.Session() as session:
        ours = session.run(norm).ravel()
    for i, value in enumerate(maps):
        near = maps[max(0, i - 2) : i + 3]
        expected = value / (2 + 1e-4 * np.sum(near**2)) ** 0.75
        assert ours[i] == pytest.approx(expected, rel=1e-5)


def test_lenet5_has_the_layers_of_its_paper():
    _, end_points = nets_factory.get_network_fn("lenet5", 10)(tf.zeros([1, 32, 32, 1]))
    shapes = [layer.shape.as_list()[1:] for layer in end_points.values()]
    assert shapes == [
        [28, 28, 6],  # C1
        [14, 14, 6],  # S2
        [10, 10, 16],  # C3
        [5, 5, 16],  # S4
        [400],
        [120],  # C5
        [84],  # F6
        [10],
        [10],
    ]
    kinds = {name: layer.op.type for name, layer in end_points.items()}
    assert kinds["conv1"] == kinds["conv2"] == kinds["fc3"] == kinds["fc4"] == "Tanh"
    assert kinds["pool1"] == kinds["pool2"] == "AvgPool"


def test_densenet_halves_the_resolution_between_blocks():
    net, end_points = tiny_densenet(tf.zeros([2, 64, 64, 3]), num_classes=0)
    shapes = {name: layer.shape.as_list()[1:] for name, layer in end_points.items()}
    assert shapes["densenet/pool1"] == [16, 16, 8]
    assert shapes["densenet/dense_block1/conv_block2"] == [16, 16, 16]
    assert shapes["densenet/transition_block1"] == [8, 8, 8]
    assert shapes["densenet/final_block"] == [8, 8, 16]
    assert net.shape.as_list() == [2, 1, 1, 16]


def test_densenet_variable_names_match_the_public_checkpoints():
    tiny_densenet(tf.zeros([2, 32, 32, 3]), scope="densenet121")
    names = {v.op.name for v in tf.global_variables()}
    assert {
        "densenet121/conv1/weights",
        "densenet121/BatchNorm/gamma",
        "densenet121/dense_block1/conv_block1/x1/BatchNorm/moving_mean",
        "densenet121/dense_block2/conv_block2/x2/Conv/weights",
        "densenet121/transition_block1/blk/Conv/weights",
        "densenet121/final_block/BatchNorm/beta",
        "densenet121/logits/weights",
        "densenet121/logits/biases",
    } <= names
    assert [name for name in names if name.endswith("biases")] == [
        "densenet121/logits/biases"
    ]


def test_densenet_predicts_at_each_location():
    images = tf.placeholder(tf.float32, [None, None, None, 3])
    logits, _ = tiny_densenet(
        images, num_classes=5, global_pool=False, spatial_squeeze=False
    )
    assert logits.shape.as_list() == [None, None, None, 5]


@pytest.mark.parametrize("name, features", [("lenet5", 84), ("simple_cnn", 64)])
def test_flat_networks_without_classes_give_features(name, features):
    channels = 1 if name == "lenet5" else 3
    net, end_points = nets_factory.get_network_fn(name, 0)(
        tf.zeros([2, 32, 32, channels])
    )
    assert net.shape.as_list() == [2, features]
    assert not {"Logits", "Predictions"} & end_points.keys()
