"""Stochastic depth: residual units that are left out at random in training."""

import numpy as np
import pytest

from nets import nets_factory, resnet_v1, resnet_v2
from nets.stochastic_depth import at_depth, drop_residual
from tf_slim_compat import slim, stateless_dropout, tf


def build(build_fn, drop_path, is_training=True):
    """Returns the nodes and variables of a network, and the rate of each residual."""
    with tf.Graph().as_default() as graph, stateless_dropout(1, tf.constant(0)):
        build_fn(drop_path, is_training)
        operations = graph.get_operations()
        masks = [op for op in operations if op.type == "Floor"]
        rates = [1 - tf.get_static_value(m.inputs[0].op.inputs[1]) for m in masks]
        names = [op.name for op in operations]
        return names, [v.op.name for v in tf.global_variables()], rates


def network(name, size):
    def build_fn(drop_path, is_training):
        network_fn = nets_factory.get_network_fn(
            name, 5, is_training=is_training, drop_path=drop_path
        )
        network_fn(tf.zeros([2, size, size, 3]))

    return build_fn


def small_resnet(build_resnet, block_fn):
    """Returns a function that builds a ResNet of three units."""
    blocks = [block_fn("block1", 2, 2, 1), block_fn("block2", 2, 1, 1)]

    def build_fn(drop_path, is_training):
        with slim.arg_scope([drop_residual], rate=drop_path if is_training else 0.0):
            build_resnet(tf.zeros([2, 32, 32, 3]), blocks, 5, is_training)

    return build_fn


NUM_LAYERS_V3_SMALL = 15
# Each network, and the depths of its residuals. A MobileNet has layers without.
NETWORKS = {
    "resnet_v1": (
        small_resnet(resnet_v1.resnet_v1, resnet_v1.resnet_v1_block),
        np.arange(1, 4) / 3,
    ),
    "resnet_v2": (
        small_resnet(resnet_v2.resnet_v2, resnet_v2.resnet_v2_block),
        np.arange(1, 4) / 3,
    ),
    "mobilenet_v3_small": (
        network("mobilenet_v3_small", 32),
        np.array([4, 6, 7, 9, 11, 12]) / NUM_LAYERS_V3_SMALL,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_residual_is_dropped_at_a_rate_that_grows_with_depth(name):
    build_fn, depths = NETWORKS[name]
    _, variables, rates = build(build_fn, 0.5)
    np.testing.assert_allclose(rates, 0.5 * depths, atol=1e-6)
    _, plain_variables, none = build(build_fn, 0.0)
    assert variables == plain_variables and not none
    assert build(build_fn, 0.5, False) == build(build_fn, 0.0, False)


def test_all_residuals_of_inception_resnet_v2_are_dropped():
    *_, rates = build(network("inception_resnet_v2", 75), 0.4)
    np.testing.assert_allclose(rates, 0.01 * np.arange(1, 41), atol=1e-6)


def test_networks_without_residuals_are_refused():
    with pytest.raises(ValueError, match="lenet has no residual units"):
        build(network("lenet", 28), 0.2)
    build(network("lenet", 28), 0.0)


def test_examples_are_dropped_by_themselves_and_reproducibly():
    residual = np.ones([1000, 1, 1, 2], np.float32)

    def drop(step):
        with (
            tf.Graph().as_default(),
            tf.Session() as session,
            stateless_dropout(3, step),
            slim.arg_scope([drop_residual], rate=0.4),
            at_depth(1, 2),
        ):
            return session.run(drop_residual(tf.constant(residual)))

    found = drop(7)
    assert set(np.unique(found)) == {0, np.float32(1 / 0.8)}
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    assert found.mean() == pytest.approx(1, abs=0.06)
    np.testing.assert_array_equal(found, drop(7))
    assert not np.array_equal(found, drop(8))
