"""Layers, parameters and costs of networks, against published values."""

import functools

import pytest
from conftest import needs_reference
from reference_networks import load_reference

from deployment.inspect import network
from nets import nets_factory
from tf_slim_compat import slim, tf

# Millions of multiply-adds for one image, as published.
COSTS = {
    "mobilenet_v1_025": 41,  # arXiv:1704.04861, table 7
    "mobilenet_v3_small_minimalistic": None,
    "inception_v3": 5713,  # arXiv:1512.00567: about 5 billion
    "vgg_16": 15470,
}


@functools.cache
def summarize(name, num_classes=1001, shape=None):
    network_fn = nets_factory.get_network_fn(name, num_classes, is_training=True)
    size = network_fn.default_image_size
    return network.summarize(network_fn, shape or (size, size, 3))


@needs_reference
@pytest.mark.parametrize("name", COSTS)
def test_totals_are_those_of_the_reference(name):
    summary = summarize(name)
    reference = load_reference(name)
    assert summary.parameters == reference["params_trainable"]
    assert summary.shapes == {
        v["name"]: tuple(v["shape"])
        for v in reference["variables"]
        if v["model_variable"]
    }
    if COSTS[name]:
        assert summary.multiply_adds / 1e6 == pytest.approx(COSTS[name], rel=0.01)


def test_layers_of_a_separable_network():
    summary = summarize("mobilenet_v1_025", 6, (128, 128, 3))
    first = summary.layers[0]
    assert (first.name, first.kind) == ("MobilenetV1/Conv2d_0", "conv")
    assert first.output_shape == [64, 64, 8]
    # 3 x 3 x 3 x 8 weights, beta and gamma; moving mean and variance.
    assert (first.parameters, first.statistics) == (216 + 16, 16)
    assert first.multiply_adds == 64 * 64 * 216
    assert [layer.kind for layer in summary.layers].count("depthwise conv") == 13
    assert summary.layers[-2].end_point == "Logits"
    lines = "\n".join(network.describe_summary(summary)).splitlines()
    assert lines[2].split()[:2] == ["MobilenetV1/Conv2d_0", "conv"]
    assert lines[-1].startswith(
        f"{summary.parameters:,} trainable parameters (214.6 k)"
    )


def test_layers_of_training_only_are_marked_and_not_counted():
    summary = summarize("inception_v3")
    aside = {layer.name for layer in summary.layers if not layer.in_prediction}
    assert aside and all("AuxLogits" in name for name in aside)
    assert "* used in training only" in list(network.describe_summary(summary))[-1]
    mixed = [layer for layer in summary.layers if layer.name == "InceptionV3/Mixed_5b"]
    assert [(m.kind, m.output_shape) for m in mixed] == [("concat", [35, 35, 256])]


def test_layers_of_a_network_that_is_not_in_slim():
    """Nested scopes, and variables that are shared or belong to no layer."""

    def network_fn(images):
        net = slim.separable_conv2d(images, 4, 3, scope="sep")
        net = slim.batch_norm(net, scope="norm")
        net *= tf.get_variable("scale", [4])
        with tf.variable_scope("twice", reuse=tf.AUTO_REUSE):
            weights = tf.get_variable("weights", [1, 1, 4, 4])
            for _ in range(2):
                net = tf.nn.conv2d(net, weights, 1, "SAME")
        net = tf.reduce_mean(net, [1, 2], name="pool/mean")
        return slim.fully_connected(net, 2, scope="fc"), {"n": 3}

    summary = network.summarize(network_fn, [8, 8, 3])
    found = {}
    for layer in summary.layers:
        found.setdefault(layer.name, []).append((layer.kind, layer.parameters))
    assert found["sep/depthwise"] == [("depthwise conv", 27)]
    assert found["sep/pointwise"] == [("conv", 12 + 4)]
    assert found["norm"] == [("batch norm", 4)]
    assert found["twice"] == [("conv", 16), ("conv", 0)]
    assert found["pool"] == [("mean", 0)]
    assert found["fc"] == [("dense", 10)]
    assert summary.parameters == 27 + 16 + 4 + 4 + 16 + 10
    assert summary.statistics == 8
    assert summary.multiply_adds == 64 * (27 + 12 + 16 + 16) + 8


def test_a_table_of_networks_comes_line_by_line():
    counted = []

    def count(name):
        counted.append(name)
        return summarize(name, 10, (28, 28, 1))

    facts = {
        "lenet": network.Facts(28, "lenet", None, "LeCun"),
        "lenet5": network.Facts(28, "lenet", 99.0, ""),
    }
    lines = network.describe_costs(facts, count)
    assert next(lines).split() == [
        *("network", "parameters", "multiply-adds", "pixels", "preprocessing"),
        *("top-1", "paper"),
    ]
    assert next(lines).split()[:2] == ["lenet", "3,274,634"] and counted == ["lenet"]
    assert "99.0" in next(lines)
    assert "parameters" not in next(network.describe_costs(facts))


def test_its_graph_has_a_named_input():
    network_fn = nets_factory.get_network_fn("lenet", 10)
    graph_def = network.build_graph_def(network_fn, [28, 28, 1])
    assert graph_def.node[0].name == "input"
