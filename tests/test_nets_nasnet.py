"""NASNet and PNASNet beyond the reference: configurations, drop path, end points."""

import numpy as np
import pytest

from nets.nasnet import nasnet, nasnet_utils, pnasnet
from tf_slim_compat import slim, tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        yield graph


def images(size=32):
    values = np.random.RandomState(0).uniform(-1, 1, (2, size, size, 3))
    return tf.constant(values, tf.float32)


def tiny_config(**changes):
    """Three cells of 4 filters at first; the second and the third come at reductions."""
    config = nasnet.cifar_config()
    for name, value in {"num_cells": 3, "num_conv_filters": 4, **changes}.items():
        config.set_hparam(name, value)
    return config


def names():
    return {variable.op.name for variable in tf.global_variables()}


def run(fetches, feed=None):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed)


def test_drop_path_keeps_the_expectation_and_drops_whole_examples():
    net = tf.ones([2000, 2, 2, 3])
    dropped = run(nasnet_utils.drop_path(net, 0.75))
    of_example = dropped.reshape(2000, -1)
    assert (of_example == of_example[:, :1]).all()
    assert np.allclose(np.unique(of_example), [0, 1 / 0.75])
    assert abs(dropped.mean() - 1) < 0.05


def test_drop_path_outside_training_is_nothing():
    net = tf.ones([2, 2, 2, 3])
    assert nasnet_utils.drop_path(net, 0.5, is_training=False) is net


def test_drop_path_takes_an_unknown_batch():
    net = tf.placeholder(tf.float32, [None, 2, 2, 3])
    dropped = nasnet_utils.drop_path(net, 0.5)
    assert dropped.shape.as_list() == [None, 2, 2, 3]
    assert run(dropped, {net: np.ones([5, 2, 2, 3])}).shape == (5, 2, 2, 3)


@pytest.fixture
def keep_probs(monkeypatch):
    """Records each keep probability that the cells pass to drop_path."""
    found = []

    @slim.add_arg_scope
    def drop_path(net, keep_prob, is_training=True):
        found.append(keep_prob)
        return net

    monkeypatch.setattr(nasnet_utils, "drop_path", drop_path)
    return found


def test_drop_path_comes_with_depth_and_with_steps(keep_probs):
    config = tiny_config(drop_path_keep_prob=0.6, total_training_steps=100)
    step = tf.placeholder(tf.int64, [])
    nasnet.build_nasnet_cifar(images(), 10, config=config, current_step=step)
    assert len(keep_probs) == 3 * 8 + 2 * 9  # Identity has no path to drop.
    first, last = keep_probs[0], keep_probs[-1]
    for at_step, progress in (0, 0), (50, 0.5), (100, 1), (1000, 1):
        values = run([first, last], {step: at_step})
        expected = [1 - 0.4 * progress / 5, 1 - 0.4 * progress]
        assert np.allclose(values, expected), at_step


def test_drop_path_follows_the_global_step(keep_probs):
    step = tf.train.create_global_step()
    nasnet.build_nasnet_cifar(images(), 10, config=tiny_config())
    assert [name for name in names() if "global_step" in name] == ["global_step"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(keep_probs[-1]) == 1
        session.run(step.assign(937500))
        assert np.isclose(session.run(keep_probs[-1]), 0.6)


@pytest.mark.parametrize(
    "changes, is_training", [({}, False), ({"drop_path_keep_prob": 1.0}, True)]
)
def test_no_drop_path(keep_probs, changes, is_training):
    nasnet.build_nasnet_cifar(images(), 10, is_training, tiny_config(**changes))
    assert not keep_probs
    assert not any("global_step" in name for name in names())


def test_config_refuses_what_it_does_not_have():
    config = nasnet.large_imagenet_config()
    with pytest.raises(ValueError, match="'num_cell'.* Nearest: num_cells"):
        config.set_hparam("num_cell", 3)
    with pytest.raises(AttributeError):
        config.num_cell = 3


def test_config_is_heeded_and_not_changed():
    config = tiny_config(num_cells=2, filter_scaling_rate=3, drop_path_keep_prob=0.5)
    before = nasnet_utils.Config(**{k: getattr(config, k) for k in config.__slots__})
    _, end_points = nasnet.build_nasnet_cifar(images(), 10, False, config)
    assert config == before
    shapes = {name: net.shape.as_list() for name, net in end_points.items()}
    assert shapes["Reduction_Cell_0"] == [2, 16, 16, 4 * 4 * 3]
    assert shapes["Cell_1"] == [2, 8, 8, 6 * 4 * 9]
    assert "Cell_2" not in shapes


@pytest.mark.parametrize(
    "num_cells, reductions, expected",
    [(18, 2, [6, 12]), (12, 2, [4, 8]), (9, 2, [3, 6]), (10, 3, [2, 5, 7]), (4, 0, [])],
)
def test_calc_reduction_layers(num_cells, reductions, expected):
    assert nasnet_utils.calc_reduction_layers(num_cells, reductions) == expected


@pytest.mark.parametrize(
    "build, last",
    [
        (nasnet.build_nasnet_mobile, "Stem"),
        (nasnet.build_nasnet_large, "Reduction_Cell_0"),
        (pnasnet.build_pnasnet_mobile, "Cell_0"),
    ],
)
def test_final_endpoint_builds_nothing_after_it(build, last):
    net, end_points = build(images(), 10, final_endpoint=last, config=tiny_config())
    assert net is end_points[last]
    assert list(end_points)[-1] == last
    assert "AuxLogits" not in end_points
    assert not [name for name in names() if name.startswith(("cell_1", "final_layer"))]


def test_final_endpoint_logits_are_the_logits():
    config = tiny_config(num_cells=1, num_reduction_layers=0)
    net, _ = pnasnet.build_pnasnet_mobile(
        images(), 10, final_endpoint="Logits", config=config
    )
    assert net.op.name == "final_layer/FC/BiasAdd"


def test_unknown_final_endpoint():
    config = tiny_config(num_cells=1, num_reduction_layers=0)
    with pytest.raises(ValueError, match="'cell_0'.* Nearest: Cell_0"):
        nasnet.build_nasnet_mobile(images(), 10, final_endpoint="cell_0", config=config)


def test_auxiliary_classifier_of_a_small_picture():
    _, end_points = nasnet.build_nasnet_cifar(images(8), 10, config=tiny_config())
    assert end_points["AuxLogits"].shape.as_list() == [2, 10]
    assert "aux_1/aux_logits/FC/weights" in names()


@pytest.mark.parametrize(
    "num_classes, changes",
    [(10, {"use_aux_head": 0}), (10, {"num_reduction_layers": 1}), (None, {})],
)
def test_no_auxiliary_classifier(num_classes, changes):
    config = tiny_config(num_cells=2, **changes)
    net, end_points = nasnet.build_nasnet_cifar(images(), num_classes, config=config)
    assert "AuxLogits" not in end_points
    assert not [name for name in names() if name.startswith("aux")]
    assert net is end_points["Logits" if num_classes else "global_pool"]


@pytest.mark.parametrize("skips", [False, True])
def test_second_input_of_a_cell_of_pnasnet_that_reduces(skips):
    config = tiny_config(skip_reduction_layer_input=skips)
    pnasnet.build_pnasnet_large(images(), 10, final_endpoint="Cell_1", config=config)
    # Of the cells before the last, the nearer has the size of the input already.
    assert ("cell_1/prev_1x1/weights" in names()) == skips
    assert ("cell_1/path1_conv/weights" in names()) == (not skips)


def test_layouts_compute_the_same():
    results = []
    for data_format in "NHWC", "NCHW":
        config = tiny_config(num_cells=2, data_format=data_format)
        with tf.Graph().as_default(), tf.variable_scope("", reuse=tf.AUTO_REUSE):
            tf.set_random_seed(1)
            logits, end_points = nasnet.build_nasnet_cifar(images(9), 10, False, config)
            results.append((run(logits), end_points["Cell_0"].shape.as_list()))
    (logits, shape), (transposed_logits, transposed_shape) = results
    assert shape == [2, 5, 5, 48] and transposed_shape == [2, 48, 5, 5]
    assert np.allclose(logits, transposed_logits, atol=1e-4 * np.abs(logits).max())


@pytest.mark.parametrize("bounded", [False, True])
def test_bounded_activation(bounded):
    config = tiny_config(use_bounded_activation=bounded)
    net, _ = pnasnet.build_pnasnet_mobile(
        1000 * images(), 10, False, final_endpoint="Stem", config=config
    )
    assert (np.abs(run(net)).max() <= 6) == bounded


def test_images_of_unknown_size():
    unknown = tf.placeholder(tf.float32, [None, None, 32, 3])
    with pytest.raises(ValueError, match="only the batch unknown"):
        nasnet.build_nasnet_mobile(unknown, 10)
