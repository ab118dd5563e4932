"""Builds a network as the reference did and lists the differences.

The reference folder's README.md describes the facts. Every graph has a placeholder
"input" of the reference's shape and 1,001 classes; the training graph has a weight
decay of 4e-5.
"""

import contextlib
import functools
import json

import numpy as np
from conftest import REFERENCE
from probe_weights import probe_value

from deployment.models import graph_files
from nets import nets_factory
from tf_slim_compat import slim, tf

NUM_CLASSES = 1001
WEIGHT_DECAY = 4e-5
# Layers whose arguments users set in arg scopes around a network.
LAYERS = [
    *(slim.conv2d, slim.separable_conv2d, slim.max_pool2d, slim.avg_pool2d),
    *(slim.conv3d, slim.max_pool3d, slim.avg_pool3d),
]
PROBE_TOLERANCE = 1e-3  # of the largest absolute value of the tensor
# Optimizing a graph that runs once takes longer than running it.
SESSION_CONFIG = tf.ConfigProto()
SESSION_CONFIG.graph_options.rewrite_options.disable_meta_optimizer = True


def reference_names():
    """Returns the sorted names of the networks in the reference."""
    return sorted(path.stem for path in (REFERENCE / "networks").glob("*.json"))


def estimate_cost(name):
    """Returns a number that grows with the time it takes to build a network.

    It is the size of the network's facts, since these list its variables; 0 without
    facts.
    """
    path = REFERENCE / "networks" / f"{name}.json"
    return path.stat().st_size if path.exists() else 0


@functools.cache
def load_nodes():
    """Returns network name -> the nodes and the tensors of end points."""
    return json.loads((REFERENCE / "networks_nodes.json").read_text())


def load_reference(name):
    """Returns the facts about one network."""
    return json.loads((REFERENCE / "networks" / f"{name}.json").read_text())


class BuiltNetwork:
    """A network in its own graph and session; a context manager."""

    def __init__(self, name, input_shape, is_training):
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.set_random_seed(1)
            self.images = tf.placeholder(tf.float32, input_shape, name="input")
            network_fn = nets_factory.get_network_fn(
                name, NUM_CLASSES, WEIGHT_DECAY, is_training
            )
            users_scope = contextlib.nullcontext()
            if not is_training:
                # What the networks state themselves overrides it.
                users_scope = slim.arg_scope(LAYERS, padding="SAME", stride=1)
            with users_scope:
                self.logits, self.end_points = network_fn(self.images)
            self.variables = {v.op.name: v for v in tf.global_variables()}
            self.trainable = {v.op.name for v in tf.trainable_variables()}
            self.model_variables = {v.op.name for v in slim.get_model_variables()}
            self.update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            self.regularization_losses = tf.losses.get_regularization_losses()
        self.session = tf.Session(graph=self.graph, config=SESSION_CONFIG)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def initial_values(self):
        """Returns variable name -> a fresh initial value."""
        return self.session.run(
            {name: v.initializer.inputs[1] for name, v in self.variables.items()}
        )

    def load_probe_weights(self, cache):
        """Sets every variable to its probe weights.

        Args:
          cache: dict from variable name to array; missing values are added.
        """
        feed = {}
        for name, variable in self.variables.items():
            if name not in cache:
                cache[name] = probe_value(name, variable.shape.as_list())
            feed[variable.initializer.inputs[1]] = cache[name]
        self.session.run([v.initializer for v in self.variables.values()], feed)


def differences(name):
    """Returns the differences from the reference, one sentence each."""
    reference = load_reference(name)
    shape, weights = reference["input_shape"], {}
    with BuiltNetwork(name, shape, is_training=True) as network:
        found = [
            *_variable_differences(network, reference),
            *_training_differences(network, reference, weights),
        ]
    with BuiltNetwork(name, shape, is_training=False) as network:
        found += _evaluation_differences(name, network, reference)
        found += _probe_differences(network, reference, weights)
    return found


def _variable_differences(network, reference):
    theirs = {facts["name"]: facts for facts in reference["variables"]}
    yield from _compare_names("variables in training", network.variables, theirs)
    size = sum(
        network.variables[name].shape.num_elements() for name in network.trainable
    )
    yield from _compare("trainable parameters", size, reference["params_trainable"])
    values = network.initial_values()
    for name in sorted(theirs.keys() & network.variables.keys()):
        facts, value = theirs[name], values[name]
        yield from _compare(f"shape of {name}", list(value.shape), facts["shape"])
        yield from _compare(
            f"trainability of {name}", name in network.trainable, facts["trainable"]
        )
        yield from _compare(
            f"whether {name} is a model variable",
            name in network.model_variables,
            facts["model_variable"],
        )
        # Six standard errors of the difference of two samples; the facts are rounded
        # to five decimals.
        std = facts["init_std"]
        tolerance = 6 * std / np.sqrt(value.size) + 1e-5
        for label, ours in ("mean", np.mean(value)), ("std", np.std(value)):
            yield from _compare(
                f"initial {label} of {name}",
                float(ours),
                facts[f"init_{label}"],
                tolerance * (np.sqrt(2) if label == "mean" else 1),
            )


def _training_differences(network, reference, weights):
    theirs = reference["train"]
    for label, ours, key in (
        ("trainable variables", network.trainable, "trainable"),
        ("update operations", network.update_ops, "update_ops"),
        ("regularization losses", network.regularization_losses, "regularized"),
    ):
        yield from _compare(f"number of {label}", len(ours), theirs[key])
    yield from _compare_names(
        "end points in training", network.end_points, theirs["end_points"]
    )
    network.load_probe_weights(weights)
    ours = float(sum(network.session.run(network.regularization_losses)))
    expected = theirs["regularization_loss"]
    yield from _compare("regularization loss", ours, expected, 1e-4 * expected)


def _evaluation_differences(name, network, reference):
    yield from _compare_names(
        "variables in evaluation", network.variables, reference["eval_variables"]
    )
    yield from _compare("logits_op", network.logits.op.name, reference["logits_op"])
    predictions = network.end_points.get("Predictions")
    yield from _compare(
        "predictions_op",
        None if predictions is None else predictions.op.name,
        reference["predictions_op"],
    )
    # ResNets write it small.
    output = network.end_points.get("predictions", predictions)
    yield from _compare(
        "outputs found for export",
        graph_files.find_outputs(network.graph.as_graph_def()),
        [(network.logits if output is None else output).op.name],
    )
    yield from _compare_names(
        "end points in evaluation", network.end_points, reference["end_points"]
    )
    nodes = {node.name for node in network.graph.as_graph_def().node}
    for node in load_nodes()[name]["nodes"]:
        if node not in nodes:
            yield f"no node {node}"
    for key, tensor in load_nodes()[name]["end_points"].items():
        if key in network.end_points:
            yield from _compare(
                f"tensor of end point {key}", network.end_points[key].name, tensor
            )
    for key, shape in reference["end_points"].items():
        if key in network.end_points:
            ours = network.end_points[key].shape.as_list()
            yield from _compare(f"shape of end point {key}", ours, shape)


def _probe_differences(network, reference, weights):
    theirs = reference["probe"]
    network.load_probe_weights(weights)
    probe = np.random.RandomState(1234).uniform(-1, 1, reference["input_shape"])
    end_points, logits = network.session.run(
        [network.end_points, network.logits], {network.images: probe.astype(np.float32)}
    )
    # In order of computation: the first difference is where the fault is.
    for key in reference["end_points"]:
        if key in end_points:
            yield from _compare_statistics(
                f"probe at end point {key}", end_points[key], theirs["end_points"][key]
            )
    yield from _compare_statistics("probe logits", logits, theirs["logits"])
    tolerance = PROBE_TOLERANCE * theirs["logits"]["absmax"]
    for number, expected in enumerate(theirs["logits_first"]):
        ours = float(logits.flat[number])
        yield from _compare(f"probe logit {number}", ours, expected, tolerance)
    l2 = float(np.linalg.norm(logits.astype(np.float64)))
    yield from _compare("probe logits_l2", l2, theirs["logits_l2"], tolerance)


def _compare(label, ours, theirs, tolerance=None):
    """Yields a sentence if the two differ (by more than `tolerance`, if given)."""
    same = ours == theirs if tolerance is None else abs(ours - theirs) <= tolerance
    if not same:
        yield f"{label}: {ours}, the reference has {theirs}"


def _compare_names(label, ours, theirs):
    ours, theirs = set(ours), set(theirs)
    if theirs - ours:
        yield f"{label}: missing {', '.join(sorted(theirs - ours))}"
    if ours - theirs:
        yield f"{label}: not in the reference {', '.join(sorted(ours - theirs))}"


def _compare_statistics(label, value, theirs):
    value = value.astype(np.float64)
    tolerance = PROBE_TOLERANCE * theirs["absmax"]
    for key, ours in (
        ("mean", value.mean()),
        ("std", value.std()),
        ("absmax", np.abs(value).max()),
    ):
        yield from _compare(f"{label}, {key}", float(ours), theirs[key], tolerance)
