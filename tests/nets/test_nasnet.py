"""NASNet and PNASNet: configurations, drop path and end points."""

import dataclasses

import numpy as np
import probe_weights
import pytest

from nets.nasnet import cell_network, nasnet, nasnet_utils, pnasnet
from tf_slim_compat import slim, stateless_dropout, tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default(), slim.arg_scope(nasnet.nasnet_mobile_arg_scope()):
        tf.set_random_seed(1)
        yield


def images(size=16):
    values = np.random.RandomState(0).uniform(-1, 1, (2, size, size, 3))
    return tf.constant(values, tf.float32)


def small_config(**changes):
    """Two cells of 4 filters, each at a reduction."""
    config = nasnet_utils.Config(num_cells=2, num_conv_filters=4)
    for name, value in changes.items():
        config.set_hparam(name, value)
    return config


def build(config, num_classes=10, is_training=True, size=16, **kwargs):
    """Builds the smallest network: the cells of the config only."""
    kwargs = {"normal_cell": pnasnet.PNasNetNormalCell, **kwargs}
    return cell_network.build_network(
        images(size), num_classes, is_training, config, has_stem_cells=False, **kwargs
    )


def names(*prefixes):
    """Returns the names of variables with one of these prefixes."""
    names = (variable.op.name for variable in tf.global_variables())
    return [name for name in names if name.startswith(prefixes)]


def run(fetches, feed=None):
    with tf.Session() as session:
        probe_weights.initialize(session)
        return session.run(fetches, feed)


def test_drop_path_preserves_the_mean_and_drops_whole_examples():
    net = tf.ones([2000, 2, 2, 3])
    by_example = run(nasnet_utils.drop_path(net, 0.75)).reshape(2000, -1)
    assert (by_example == by_example[:, :1]).all()
    assert np.allclose(np.unique(by_example), [0, 1 / 0.75])
    assert abs(by_example.mean() - 1) < 0.05


def test_drop_path_is_reproducible_with_stateless_randomness():
    net = tf.ones([50, 1, 1, 1])
    step = tf.placeholder(tf.int64, [])
    with stateless_dropout(1, step):
        paths = [nasnet_utils.drop_path(net, 0.5) for _ in range(2)]
    with tf.Session() as session:
        first, later, again = (session.run(paths, {step: n}) for n in (3, 4, 3))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, later)


def test_drop_path_is_the_identity_in_evaluation():
    net = tf.ones([2, 2, 2, 3])
    assert nasnet_utils.drop_path(net, 0.5, is_training=False) is net


def test_drop_path_accepts_an_unknown_batch_size():
    net = tf.placeholder(tf.float32, [None, 2, 2, 3])
    dropped = nasnet_utils.drop_path(net, 0.5)
    assert run(dropped, {net: np.ones([5, 2, 2, 3])}).shape == (5, 2, 2, 3)


@pytest.fixture
def keep_probs(monkeypatch):
    """Records the keep probabilities that cells pass to drop_path."""
    found = []

    def drop_path(net, keep_prob):
        found.append(keep_prob)
        return net

    monkeypatch.setattr(nasnet_utils, "drop_path", drop_path)
    return found


@pytest.mark.parametrize("cell_num", [0, 4])
def test_drop_path_increases_with_depth_and_steps(keep_probs, cell_num):
    step = tf.placeholder(tf.int64, [])
    cell = nasnet_utils.NasNetANormalCell(4, 0.6, 5, 100)
    cell(images(), scope="cell", cell_num=cell_num, current_step=step)
    assert len(keep_probs) == 8  # Two of the ten operations are the identity.
    for now, progress in (0, 0), (50, 0.5), (100, 1), (1000, 1):
        expected = 1 - 0.4 * progress * (cell_num + 1) / 5
        assert np.allclose(run([keep_probs[0], keep_probs[-1]], {step: now}), expected)


def test_drop_path_follows_the_global_step(keep_probs):
    step = tf.train.create_global_step()
    build(small_config(drop_path_keep_prob=0.6, total_training_steps=10))
    assert names("global_step") and not names("cell_0/comb_iter_0/left/global_step")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([keep_probs[0], keep_probs[-1]]) == [1, 1]
        session.run(step.assign(10))
        assert np.allclose(session.run([keep_probs[0], keep_probs[-1]]), [0.8, 0.6])


@pytest.mark.parametrize("keep_prob, is_training", [(0.6, False), (1.0, True)])
def test_no_drop_path(keep_probs, keep_prob, is_training):
    config = small_config(num_cells=1, drop_path_keep_prob=keep_prob)
    build(config, is_training=is_training, final_endpoint="Cell_0")
    assert not keep_probs
    assert not [name for name in names("") if "global_step" in name]


def test_config_rejects_unknown_attributes():
    config = nasnet.large_imagenet_config()
    with pytest.raises(ValueError, match="'num_cell'.* Nearest: num_cells"):
        config.set_hparam("num_cell", 3)
    with pytest.raises(AttributeError):
        config.num_cell = 3


def test_config_is_used_and_not_modified():
    config = small_config(num_cells=1, num_reduction_layers=1, filter_scaling_rate=3)
    config.drop_path_keep_prob = 0.5
    before = dataclasses.replace(config)
    _, end_points = nasnet.build_nasnet_cifar(images(), 10, False, config)
    assert config == before
    assert end_points["Reduction_Cell_0"].shape.as_list() == [2, 8, 8, 4 * 4 * 3]
    assert end_points["Cell_0"].shape.as_list() == [2, 8, 8, 6 * 4 * 3]
    assert "Cell_1" not in end_points


@pytest.mark.parametrize(
    "num_cells, reductions, expected",
    [(18, 2, [6, 12]), (12, 2, [4, 8]), (9, 2, [3, 6]), (10, 3, [2, 5, 7]), (4, 0, [])],
)
def test_calc_reduction_layers(num_cells, reductions, expected):
    assert nasnet_utils.calc_reduction_layers(num_cells, reductions) == expected


@pytest.mark.parametrize(
    "build_net, last",
    [(nasnet.build_nasnet_large, "Stem"), (pnasnet.build_pnasnet_mobile, "Cell_0")],
)
def test_nothing_is_built_after_final_endpoint(build_net, last):
    config = small_config(skip_reduction_layer_input=True)
    net, end_points = build_net(images(32), 10, final_endpoint=last, config=config)
    assert net is end_points[last]
    assert list(end_points)[-1] == last
    assert not names("reduction_cell", "cell_1", "aux", "final_layer")


def test_final_endpoint_logits_are_the_logits():
    net, _ = build(small_config(num_cells=1), final_endpoint="Logits")
    assert net.op.name == "final_layer/FC/BiasAdd"


def test_unknown_final_endpoint():
    with pytest.raises(ValueError, match="'cell_0'.* Nearest: Cell_0"):
        build(small_config(num_cells=1), final_endpoint="cell_0")


def test_auxiliary_classifier_of_a_small_image():
    _, end_points = build(small_config(), size=4)
    assert end_points["AuxLogits"].shape.as_list() == [2, 10]
    assert "aux_0/aux_logits/FC/weights" in names("aux")


@pytest.mark.parametrize(
    "num_classes, changes",
    [(10, {"use_aux_head": 0}), (10, {"num_reduction_layers": 1}), (None, {})],
)
def test_no_auxiliary_classifier(num_classes, changes):
    net, end_points = build(small_config(**changes), num_classes)
    assert "AuxLogits" not in end_points
    assert not names("aux")
    assert net is end_points["Logits" if num_classes else "global_pool"]


@pytest.mark.parametrize("skips, filters", [(True, 5 * 4), (False, 4)])
def test_second_input_of_a_reducing_cell_of_pnasnet(skips, filters):
    config = small_config(num_cells=3, skip_reduction_layer_input=skips)
    build(config, final_endpoint="Cell_2")
    (weights,) = slim.get_variables_by_name("cell_2/path1_conv/weights")
    assert weights.shape.as_list()[2] == filters  # Of Cell_0, or of the stem.


def test_layouts_give_the_same_results():
    logits, shapes = [], []
    for data_format in "NHWC", "NCHW":
        config = small_config(
            num_cells=1, num_reduction_layers=1, data_format=data_format
        )
        with tf.Graph().as_default():
            tf.set_random_seed(1)
            net, end_points = nasnet.build_nasnet_cifar(images(9), 10, False, config)
            logits.append(run(net))
            shapes.append(end_points["Cell_0"].shape.as_list())
    assert shapes == [[2, 5, 5, 48], [2, 48, 5, 5]]
    probe_weights.assert_varied(logits[0])
    assert np.allclose(*logits, atol=1e-4 * np.abs(logits[0]).max())


@pytest.mark.parametrize("bounded", [False, True])
def test_bounded_activation(bounded):
    cell = pnasnet.PNasNetNormalCell(4, 1.0, 1, 1, use_bounded_activation=bounded)
    with slim.arg_scope([slim.batch_norm], is_training=False):
        net = cell(1000 * images(), scope="cell")
    assert (np.abs(run(net)).max() <= 6) == bounded


def test_channels_of_a_shape_or_a_list():
    for shape in ([2, 4, 5, 3], tf.TensorShape([2, 4, 5, 3])):
        assert nasnet_utils.get_channel_dim(shape) == 3
        assert nasnet_utils.get_channel_dim(shape, "NCHW") == 4


def test_images_of_unknown_size():
    unknown = tf.placeholder(tf.float32, [None, None, 32, 3])
    with pytest.raises(ValueError, match="only the batch unknown"):
        nasnet.build_nasnet_mobile(unknown, 10)
