"""A frozen graph made smaller and faster for inference; its results stay the same.

Batch normalization after a convolution is a scale and an offset of each channel, both
known once the graph is frozen: the scale goes into the convolution's weights, and a
`BiasAdd` of the offset takes the normalization's place and its name. Where it comes
first, as in ResNet v2 and DenseNet, it stays as it is.
"""

import collections
import dataclasses

import numpy as np

from tf_slim_compat import tf

_NORMALIZATIONS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_CONVOLUTIONS = {"Conv2D", "Conv3D", "DepthwiseConv2dNative"}
# What is only there for gradients, or stands where something was in training.
_PASSING = {"CheckNumerics", "Identity", "PreventGradient", "Snapshot", "StopGradient"}


def optimize(graph_def, outputs):
    """Folds batch normalization and leaves out what inference does not need.

    Args:
      graph_def: a frozen `tf.GraphDef`; it is not changed.
      outputs: names of the nodes whose values are wanted.

    Returns:
      A new `tf.GraphDef`, in which the outputs, the placeholders that they need and
      what is left of the other nodes have their names. The values of normalized
      convolutions before their normalization are not in it any more.
    """
    result = prune(graph_def, outputs)
    _bypass(result, outputs)
    _fold_all(result, outputs)
    return prune(result, outputs)


def prune(graph_def, outputs):
    """The part of a graph that some nodes depend on, without places and neighbours.

    Args:
      graph_def: a `tf.GraphDef`; it is not changed.
      outputs: names of nodes.

    Returns:
      A new `tf.GraphDef`, with the nodes in their order.
    """
    nodes = {node.name: node for node in graph_def.node}
    needed, waiting = set(), list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(map(get_node_name, nodes[name].input))
    result = tf.GraphDef(versions=graph_def.versions, library=graph_def.library)
    result.node.extend(node for node in graph_def.node if node.name in needed)
    for node in result.node:
        node.device = ""
        node.attr.pop("_class", None)  # May name a node that is gone.
    return result


def get_node_name(source):
    """The node of an input, such as 'conv' of 'conv:0' and '^conv'."""
    return source.lstrip("^").split(":")[0]


def set_constant(node, value):
    """Makes a node a constant, under the name that it has."""
    tensor = tf.make_tensor_proto(value)
    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def _bypass(graph_def, outputs):
    """Has nodes read directly what they got through an Identity."""
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
    """Nodes by name, and by how many inputs each is read."""

    nodes: dict
    uses: collections.Counter
    outputs: frozenset

    def get(self, source, ops):
        """The node of an input if it is one of `ops` and gives its only value."""
        node = self.nodes[get_node_name(source)]
        is_first = source.removesuffix(":0") == node.name
        return node if is_first and node.op in ops else None

    def get_constant(self, source):
        """The value of an input as an array, None if it is not constant."""
        node = self.get(source, {"Const"})
        return None if node is None else tf.make_ndarray(node.attr["value"].tensor)

    def is_private(self, node):
        """Whether one node alone sees the value."""
        return self.uses[node.name] == 1 and node.name not in self.outputs


def _fold_all(graph_def, outputs):
    sources = [source for node in graph_def.node for source in node.input]
    graph = _Graph(
        nodes={node.name: node for node in graph_def.node},
        uses=collections.Counter(map(get_node_name, sources)),
        outputs=frozenset(outputs),
    )
    # Only the first value of a normalization can be replaced.
    others = {get_node_name(s) for s in sources if ":" in s and not s.endswith(":0")}
    constants = {}
    for node in graph_def.node:
        if node.op in _NORMALIZATIONS and node.name not in others:
            _fold(node, graph, constants)
    rest = list(graph_def.node)
    del graph_def.node[:]
    for name, value in constants.items():
        set_constant(graph_def.node.add(name=name), value)
    graph_def.node.extend(rest)


def _fold(norm, graph, constants):
    """Folds one normalization if it can be; adds its constants to `constants`."""
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


def _make_bias_add(norm, source, offset_name):
    controls = [name for name in norm.input if name.startswith("^")]
    kind, data_format = norm.attr["T"].type, norm.attr["data_format"].s
    norm.op = "BiasAdd"
    del norm.input[:]
    norm.input.extend([source, offset_name, *controls])
    norm.attr.clear()
    norm.attr["T"].type = kind
    # To BiasAdd, all that counts is whether channels are the last axis.
    is_first = data_format.startswith(b"NC")
    norm.attr["data_format"].s = b"NCHW" if is_first else b"NHWC"
