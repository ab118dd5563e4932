"""Makes frozen graphs smaller and faster for inference without changing results.

Batch normalization after a convolution is a scale and an offset per channel, both
constant once the graph is frozen: the scale is multiplied into the convolution's
weights, and a `BiasAdd` of the offset replaces the normalization under its name.
Normalization before a convolution, as in ResNet v2 and DenseNet, stays as it is.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from deployment.models import subgraphs
from tf_slim_compat import tf

_NORMALIZATIONS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_CONVOLUTIONS = {"Conv2D", "Conv3D", "DepthwiseConv2dNative"}
# Operations that only matter for gradients or training.
_PASSING = {"CheckNumerics", "Identity", "PreventGradient", "Snapshot", "StopGradient"}


def optimize(graph_def: tf.GraphDef, outputs: Sequence[str]) -> tf.GraphDef:
    """Folds batch normalization and removes what inference does not need.

    Args:
      graph_def: a frozen graph; it is not changed.
      outputs: names of the output nodes.

    Returns:
      A new graph, whose nodes keep their names. The value of a folded convolution
      before its normalization is no longer in it.
    """
    result = subgraphs.extract(graph_def, outputs)
    _bypass(result, outputs)
    _fold_all(result, outputs)
    return subgraphs.extract(result, outputs)


def has_normalization(graph_def: tf.GraphDef) -> bool:
    """Returns whether there is batch normalization, which may be foldable."""
    return any(node.op in _NORMALIZATIONS for node in graph_def.node)


def set_constant(node: tf.NodeDef, value: np.ndarray) -> None:
    """Turns a node into a constant of the same name, in place."""
    tensor = tf.make_tensor_proto(value)
    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def _bypass(graph_def: tf.GraphDef, outputs: Sequence[str]) -> None:
    """Connects nodes directly to what they read through an Identity, in place."""
    sources = {
        node.name: node.input[0]
        for node in graph_def.node
        if node.op in _PASSING and len(node.input) == 1 and node.name not in outputs
    }
    for node in graph_def.node:
        for i, source in enumerate(node.input):
            while source.removesuffix(":0") in sources:
                source = sources[source.removesuffix(":0")]
            node.input[i] = source


@dataclasses.dataclass(frozen=True)
class _Graph:
    """Nodes by name, and the number of inputs that read each."""

    nodes: Mapping[str, tf.NodeDef]
    uses: collections.Counter
    outputs: frozenset[str]

    def get(self, source: str, ops: set[str]) -> tf.NodeDef | None:
        """Returns the node whose first value an input is, if it is one of `ops`."""
        node = self.nodes[subgraphs.get_node_name(source)]
        is_first = source.removesuffix(":0") == node.name
        return node if is_first and node.op in ops else None

    def get_constant(self, source: str) -> np.ndarray | None:
        """Returns the value of an input; None if it is not constant."""
        node = self.get(source, {"Const"})
        return None if node is None else tf.make_ndarray(node.attr["value"].tensor)

    def is_private(self, node: tf.NodeDef) -> bool:
        """Returns whether exactly one node reads the value."""
        return self.uses[node.name] == 1 and node.name not in self.outputs


def _fold_all(graph_def: tf.GraphDef, outputs: Sequence[str]) -> None:
    sources = [source for node in graph_def.node for source in node.input]
    graph = _Graph(
        nodes={node.name: node for node in graph_def.node},
        uses=collections.Counter(map(subgraphs.get_node_name, sources)),
        outputs=frozenset(outputs),
    )
    # Only the first value of a normalization can be replaced.
    others = {
        subgraphs.get_node_name(s) for s in sources if ":" in s and not s.endswith(":0")
    }
    constants = {}
    for node in graph_def.node:
        if node.op in _NORMALIZATIONS and node.name not in others:
            _fold(node, graph, constants)
    rest = list(graph_def.node)
    del graph_def.node[:]
    for name, value in constants.items():
        set_constant(graph_def.node.add(name=name), value)
    graph_def.node.extend(rest)


def _fold(norm: tf.NodeDef, graph: _Graph, constants: dict[str, np.ndarray]) -> None:
    """Folds one normalization if possible; adds its constants to `constants`."""
    parameters = [graph.get_constant(source) for source in norm.input[1:5]]
    if norm.attr["is_training"].b or any(value is None for value in parameters):
        return
    source, bias = norm.input[0], 0.0
    adding = graph.get(source, {"BiasAdd"})
    if adding is not None and graph.is_private(adding):
        bias = graph.get_constant(adding.input[1])
        source = adding.input[0]
    conv = graph.get(source, _CONVOLUTIONS)
    if conv is None or bias is None or not graph.is_private(conv):
        return
    weights = graph.get_constant(conv.input[1])
    if weights is None:
        return
    gamma, beta, mean, variance = (value.astype(np.float64) for value in parameters)
    scale = gamma / np.sqrt(variance + norm.attr["epsilon"].f)
    offset = beta + (bias - mean) * scale
    if conv.op == "DepthwiseConv2dNative":  # [height, width, inputs, multiplier]
        scale = scale.reshape(weights.shape[2:])
    weights_name, offset_name = f"{conv.name}/folded_weights", f"{norm.name}/offset"
    constants[weights_name] = (weights * scale).astype(weights.dtype)
    constants[offset_name] = offset.astype(weights.dtype)
    conv.input[1] = weights_name
    _make_bias_add(norm, source, offset_name)


def _make_bias_add(norm: tf.NodeDef, source: str, offset_name: str) -> None:
    controls = [name for name in norm.input if name.startswith("^")]
    kind, data_format = norm.attr["T"].type, norm.attr["data_format"].s
    norm.op = "BiasAdd"
    del norm.input[:]
    norm.input.extend([source, offset_name, *controls])
    norm.attr.clear()
    norm.attr["T"].type = kind
    # BiasAdd only distinguishes whether channels are the last axis.
    is_first = data_format.startswith(b"NC")
    norm.attr["data_format"].s = b"NCHW" if is_first else b"NHWC"
