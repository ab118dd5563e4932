"""Folding batch normalization keeps results, names, and what cannot be folded."""

import collections

import numpy as np
import probe_weights
import pytest

from deployment.models import graph_files, graph_folding, subgraphs
from nets import nets_factory
from tf_slim_compat import slim, tf


def freeze(build, shape):
    """Returns a frozen GraphDef with probe weights, and the names of its outputs."""
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        outputs = build(tf.placeholder(tf.float32, shape, name="input"))
        names = [tensor.op.name for tensor in outputs]
        with tf.Session() as session:
            probe_weights.initialize(session)
            graph_def = tf.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), names
            )
    return graph_def, names


def run(graph_def, names, images):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def, name="")
        return session.run([f"{name}:0" for name in names], {"input:0": images})


def fold(build, shape=(None, 8, 8, 3)):
    """Folds, compares the results, and returns the number of each operation."""
    graph_def, names = freeze(build, shape)
    before = graph_def.SerializeToString()
    folded = graph_folding.optimize(graph_def, names)
    assert graph_def.SerializeToString() == before
    sizes = [2, *shape[1:]]
    images = np.random.RandomState(1).uniform(-1, 1, sizes).astype(np.float32)
    for found, expected in zip(
        run(folded, names, images), run(graph_def, names, images), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        probe_weights.assert_varied(expected)
    return collections.Counter(node.op for node in folded.node)


def norm(inputs, **kwargs):
    return slim.batch_norm(inputs, is_training=False, **kwargs)


CONVOLUTIONS = {
    "scaled": lambda x: slim.conv2d(
        x, 4, 3, normalizer_fn=norm, normalizer_params={"scale": True}
    ),
    "unscaled": lambda x: slim.conv2d(x, 4, 3, normalizer_fn=norm),
    "depthwise": lambda x: slim.separable_conv2d(
        x, None, 3, depth_multiplier=2, normalizer_fn=norm
    ),
    "with bias": lambda x: norm(slim.conv2d(x, 4, 3, activation_fn=None)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_normalization_is_folded_into_its_convolution(name):
    ops = fold(lambda images: [CONVOLUTIONS[name](images)])
    assert ops["FusedBatchNormV3"] == 0 and ops["BiasAdd"] >= 1


def test_a_video_convolution():
    ops = fold(
        lambda images: [slim.conv3d(images, 4, 3, normalizer_fn=norm)],
        (None, 4, 8, 8, 3),
    )
    assert ops["FusedBatchNormV3"] == 0


def test_weights_shared_by_two_convolutions():
    def build(images):
        return [
            slim.conv2d(images + i, 4, 3, normalizer_fn=norm, scope="c", reuse=i > 0)
            for i in range(2)
        ]

    assert fold(build)["FusedBatchNormV3"] == 0


def test_normalization_before_a_convolution_stays():
    ops = fold(lambda x: [slim.conv2d(tf.nn.relu(norm(x)), 4, 3, normalizer_fn=norm)])
    assert ops["FusedBatchNormV3"] == 1 and ops["BiasAdd"] == 1


def test_normalization_by_the_batch_stays():
    def build(images):
        convolved = slim.conv2d(images, 4, 3, activation_fn=None)
        scale = tf.constant([1.0, 2.0, 3.0, 4.0])
        given = {"mean": tf.zeros([4]), "variance": tf.ones([4])}
        normalized = tf.nn.fused_batch_norm(
            convolved, scale, scale, exponential_avg_factor=0.5, **given
        )
        return [normalized[0]]

    assert fold(build)["FusedBatchNormV3"] == 1


def test_a_convolution_with_other_readers_stays():
    def build(images):
        convolved = slim.conv2d(
            images, 4, 3, activation_fn=None, biases_initializer=None
        )
        return [norm(convolved) + convolved]

    assert fold(build)["FusedBatchNormV3"] == 1


def test_a_convolution_that_is_an_output_stays():
    def build(images):
        convolved = slim.conv2d(
            images, 4, 3, activation_fn=None, biases_initializer=None
        )
        return [norm(convolved), convolved]

    assert fold(build)["FusedBatchNormV3"] == 1


def test_training_nodes_are_removed_except_outputs():
    def build(images):
        dropped = slim.dropout(images * 2.0, is_training=False)
        return [tf.identity(tf.stop_gradient(dropped) + 1.0, name="result")]

    ops = fold(build)
    assert (ops["Identity"], ops["StopGradient"]) == (1, 0)


@pytest.mark.parametrize(
    ("name", "size", "outputs"),  # Outputs that are Identity operations stay.
    [("mobilenet_v1_025", 64, 0), ("mobilenet_v3_small", 32, 1), ("lenet", 28, 0)],
)
def test_networks(name, size, outputs):
    def build(images):
        logits, end_points = nets_factory.get_network_fn(name, 5)(images)
        return [logits, end_points["Predictions"]]

    ops = fold(build, (None, size, size, 3))
    assert (ops["FusedBatchNormV3"], ops["Identity"]) == (0, outputs)


def test_pruning_removes_devices_and_colocation():
    with tf.Graph().as_default() as graph:
        first = tf.constant(1.0, name="first")
        with tf.device("/gpu:0"), graph.colocate_with(first.op):
            tf.identity(tf.constant(2.0), name="second")
    pruned = subgraphs.extract(graph.as_graph_def(), ["second"])
    assert "first" not in [node.name for node in pruned.node]
    assert not any(node.device or "_class" in node.attr for node in pruned.node)
    assert graph_files.find_outputs(pruned) == []
