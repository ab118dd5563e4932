"""Every quantized network equals what TensorFlow 1's rewriter made of it."""

import collections
import json
import zlib

import numpy as np
import pytest
from conftest import REFERENCE, needs_reference
from probe_weights import probe_value
from reference_networks import NUM_CLASSES, BuiltNetwork

from deployment import quantize
from tf_slim_compat import tf

FOLDER = REFERENCE / "quantize"
FAST = ("cifarnet", "lenet", "mobilenet_v1_025")
QUICK = ("mobilenet_v3_small_minimalistic", "resnet_v1_50")
# The largest first, which balances parallel runs.
NAMES = sorted(
    (path.stem for path in FOLDER.glob("*.json")),
    key=lambda name: (FOLDER / f"{name}.json").stat().st_size,
    reverse=True,
)
TOLERANCE = 1e-2  # of the largest absolute logit
# Rounding, which differs between processors, moves a value at the edge of a step to
# the next step. Of the twelve logits, so many may differ by up to two steps: 3e-7 of
# the input of vgg_16 moves four of its logits by two or three.
AT_AN_EDGE, STEPS = 2, 2


def list_marks(name):
    if name in FAST:
        return ()
    return (pytest.mark.slow, *[pytest.mark.quick] * (name in QUICK))


each_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=list_marks(name)) for name in NAMES]
)


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def list_added(network):
    """Returns name -> variable of what the default graph has beyond the network."""
    return {
        variable.op.name: variable
        for variable in tf.global_variables()
        if variable.op.name not in network.variables
    }


def list_fake_quantization():
    operations = tf.get_default_graph().get_operations()
    return [op for op in operations if op.type.startswith("FakeQuant")]


def probe_limit(name, shape):
    """Returns the limit of a range as in the reference folder's README.md."""
    stream = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    value = stream.uniform(0.5, 1.0, shape)
    value *= 1.0 if "weights_quant" in name else 6.0
    return value if name.endswith("/max") else -value


def run_probe(network, added):
    """Returns the logits at the probe weights and input."""
    tables = ((network.variables, probe_value), (added, probe_limit))
    values, initializers = {}, []
    for variables, probe in tables:
        for name, variable in variables.items():
            initializers.append(variable.initializer)
            values[variable.initializer.inputs[1]] = probe(
                name, variable.shape.as_list()
            )
    network.session.run(initializers, values)
    images = np.random.RandomState(1234).uniform(-1, 1, network.images.shape.as_list())
    return network.session.run(network.logits, {network.images: images})


def measure_step(network, added):
    """Returns the quantization step of the logits."""
    scope = [name for name in added if name.endswith("/act_quant/max")][-1][:-3]
    low, high = network.session.run([added[f"{scope}min"], added[f"{scope}max"]])
    return (high - low) / 255


@needs_reference
@each_network
def test_evaluation(name):
    facts = load(name)
    with (
        BuiltNetwork(name, facts["input_shape"], is_training=False) as network,
        network.graph.as_default(),
    ):
        quantize.create_eval_graph()
        added = list_added(network)
        nodes = list_fake_quantization()
        assert sorted(added) == sorted(facts["eval"]["added_variables"])
        assert sorted(op.name for op in nodes) == facts["eval"]["fake_quant_nodes"]
        counts = collections.Counter(op.type for op in nodes)
        assert counts == facts["eval"]["fake_quant_ops"]
        logits = run_probe(network, added)
        step = measure_step(network, added)
    probe = facts["probe"]
    largest = probe["logits"]["absmax"]
    off = np.abs(logits.flatten()[:12] - probe["logits_first"])
    print(f"{name}: {off.max() / largest:.1e} of the largest logit")
    assert np.sum(off > TOLERANCE * largest) <= AT_AN_EDGE
    assert np.max(off) <= max(TOLERANCE * largest, (STEPS + 0.01) * step)


@needs_reference
@each_network
def test_training(name):
    facts = load(name)
    shape = [8, *facts["input_shape"][1:]]
    with (
        BuiltNetwork(name, shape, is_training=True) as network,
        network.graph.as_default(),
    ):
        labels = tf.one_hot(tf.zeros([8], tf.int32), NUM_CLASSES)
        tf.losses.softmax_cross_entropy(labels, network.logits)
        quantize.create_training_graph(quant_delay=100)
        trainable = {variable.op.name for variable in tf.trainable_variables()}
        added = {
            name: {
                "name": name,
                "shape": variable.shape.as_list(),
                "dtype": variable.dtype.base_dtype.name,
                "trainable": name in trainable,
            }
            for name, variable in list_added(network).items()
        }
        theirs = {found["name"]: found for found in facts["train"]["added_variables"]}
        assert added == theirs
        counts = collections.Counter(op.type for op in list_fake_quantization())
        assert counts == facts["train"]["fake_quant_ops"]
