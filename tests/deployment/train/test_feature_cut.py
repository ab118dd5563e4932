"""Where networks are cut: below, nothing changes while the layers above train."""

import numpy as np
import pytest

from deployment.train import feature_cut
from tf_slim_compat import batch_norm, dropout, slim, tf

SHAPE = [feature_cut.BATCH_SIZE, 6, 6, 3]


def build(middle, images):
    """Adds a network of three layers, with something before the second."""
    net = slim.conv2d(images, 4, 3, scope="first")
    net = slim.conv2d(middle(net), 5, 3, scope="second")
    net = tf.reduce_mean(net, [1, 2], name="pooled")
    return slim.fully_connected(net, 2, scope="last")


def find(outputs, images, scopes):
    trained = [v for v in tf.trainable_variables() if v.op.name.startswith(scopes)]
    changing = feature_cut.list_changing(trained)
    return feature_cut.find_cut(images, outputs, changing)


def normalize_unfused(net):
    return batch_norm(net, fused=False, is_training=True)


@pytest.mark.parametrize(
    ("middle", "scopes", "taps", "num_variables"),
    [
        (tf.identity, "last", {"pooled:0"}, 4),
        (tf.identity, "second", {"Identity:0"}, 2),
        (dropout, "last", {"Dropout/dropout_1/Mul:0"}, 2),
        (lambda net: dropout(net, is_training=False), "last", {"pooled:0"}, 4),
        (slim.batch_norm, "last", {"first/Relu:0"}, 2),
        (normalize_unfused, "last", {"first/Relu:0"}, 2),
        (lambda net: batch_norm(net, is_training=False), "last", {"pooled:0"}, 7),
        (lambda net: net - tf.reduce_mean(net, 0), "last", {"first/Relu:0"}, 2),
        (lambda net: net + tf.random_normal(net.shape), "last", {"first/Relu:0"}, 2),
    ],
)
def test_the_cut_is_as_high_as_nothing_below_changes(
    graph, middle, scopes, taps, num_variables
):
    images = tf.placeholder(tf.float32, SHAPE)
    cut = find([build(middle, images)], images, scopes)
    assert {tap.name for tap in cut.taps} == taps
    assert len(cut.trunk) == num_variables


@pytest.mark.parametrize(
    ("scopes", "reason"),
    [("first", "the first layer changes"), ("none", "no output depends on them")],
)
def test_networks_that_cannot_be_cut(graph, scopes, reason):
    images = tf.placeholder(tf.float32, SHAPE)
    with pytest.raises(ValueError, match=reason):
        find([build(tf.identity, images)], images, scopes)


def test_a_network_gives_the_same_from_the_tensors_at_the_cut(run):
    """Two branches are trained; one reads a layer that the other is built upon."""

    def network(images):
        net = slim.conv2d(images, 4, 3, scope="first")
        branch = slim.fully_connected(slim.flatten(net), 2, scope="branch")
        net = tf.reduce_mean(slim.conv2d(net, 5, 3, scope="second"), [1, 2])
        return slim.fully_connected(net, 2, scope="last"), branch

    images = tf.random.stateless_uniform(SHAPE, [1, 2])
    outputs = network(images)
    cut = find(outputs, images, ("last", "branch"))
    assert [tap.shape for tap in cut.taps] == [(6 * 6 * 4,), (5,)]
    features = feature_cut.pack(images.graph, cut)
    assert features.shape == [feature_cut.BATCH_SIZE, cut.num_values]
    expected = run([*outputs, features])

    never_fed = tf.placeholder(tf.float32, [None, 6, 6, 3])
    with tf.name_scope("again"), tf.variable_scope("", reuse=True):
        outputs = network(never_fed)
    names = [f"again/{tap.name}" for tap in cut.taps]
    cut = cut._replace(
        taps=tuple(t._replace(name=n) for t, n in zip(cut.taps, names, strict=True))
    )
    parts = feature_cut.unpack(tf.constant(expected[2]), cut)
    below = feature_cut.reconnect(cut, parts, never_fed)
    assert not {output.op for output in outputs} & below
    assert images.graph.get_operation_by_name("again/second/Conv2D") in below
    for got, wanted in zip(run(outputs), expected, strict=False):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
