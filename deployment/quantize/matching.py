"""Finds the layers of a graph that can be quantized, by their nodes."""

import dataclasses
from collections.abc import Callable

from deployment.quantize import graph_edits
from deployment.quantize.batch_norm import BatchNorm, find_batch_norm
from tf_slim_compat import tf

ADDITIONS = ("Add", "AddV2")
RELUS = ("Relu", "Relu6")
_LAYERS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer.

    Attributes:
      op: the convolution or matrix product.
      clone: the name scope around the network that its variables do not have, such as
        "clone_1/"; or "".
      batch_to_space: what puts the outputs of a dilated convolution together, or None.
      bias: the addition of the biases, or None.
      batch_norm: what follows, or None.
    """

    op: tf.Operation
    clone: str
    batch_to_space: tf.Operation | None
    bias: tf.Operation | None
    batch_norm: BatchNorm | None

    @property
    def scope(self) -> str:
        return graph_edits.parent_scope(self.op.name)

    @property
    def channel_axes(self) -> int:
        """The number of last axes of the weights that are the output channels."""
        return 2 if self.op.type == "DepthwiseConv2dNative" else 1

    @property
    def outputs(self) -> tf.Tensor:
        """The tensor after the biases and batch normalization, before activation."""
        if self.batch_norm is not None:
            return self.batch_norm.outputs
        return (self.bias or self.batch_to_space or self.op).outputs[0]

    def spread_channels(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns a tensor of shape [channels] that multiplies the weights."""
        shape = self.op.inputs[1].shape[-self.channel_axes :]
        return vector if len(shape) == 1 else tf.reshape(vector, shape)


@dataclasses.dataclass(frozen=True)
class Activation:
    """What follows a layer.

    Attributes:
      outputs: the activated tensor; that before an identity, which is an activation
        that changes nothing.
      last: what other layers read: `outputs`, or the identity's.
      bypass: the addition between the layer and its activation, or None.
      is_relu: whether the outputs are never negative.
    """

    outputs: tf.Tensor
    last: tf.Tensor
    bypass: tf.Operation | None = None
    is_relu: bool = False


def list_operations(graph: tf.Graph) -> list[tf.Operation]:
    """Returns all convolutions and matrix products of a graph."""
    return [op for op in graph.get_operations() if op.type in _LAYERS]


def find_layers(
    graph: tf.Graph, is_chosen: Callable[[tf.Operation], bool]
) -> list[Layer]:
    """Returns the layers whose weights are a variable, in the graph's order."""
    found = []
    for op in filter(is_chosen, list_operations(graph)):
        variable = graph_edits.find_variable(op.inputs[1])
        transposed = op.type == "MatMul" and op.get_attr("transpose_b")
        if variable is None or transposed:
            continue
        found.append(_complete(op, _find_clone(op.name, variable.name)))
    return found


def _complete(op: tf.Operation, clone: str) -> Layer:
    """Returns the layer of a convolution or matrix product."""
    outputs = op.outputs[0]
    batch_to_space = graph_edits.find_consumer(outputs, ("BatchToSpaceND",))
    if batch_to_space is not None:
        outputs = batch_to_space.outputs[0]
    bias = graph_edits.find_consumer(outputs, ("BiasAdd",))
    if bias is not None:
        outputs = bias.outputs[0]
    return Layer(op, clone, batch_to_space, bias, find_batch_norm(outputs))


def _find_clone(node: str, variable: str) -> str:
    """Returns the scopes of a node before the first scope of its variable."""
    scopes, first = node.split("/"), variable.split("/")[0]
    depth = scopes.index(first) if first in scopes else 0
    return "".join(f"{scope}/" for scope in scopes[:depth])


def choose_clone(node: str, clones: set[str]) -> str:
    """Returns the scope among those of the clones that a node is in."""
    return max(
        (clone for clone in clones if node.startswith(clone)), key=len, default=""
    )


def find_activation(
    outputs: tf.Tensor, is_free: Callable[[tf.Operation], bool]
) -> Activation:
    """Returns what follows the outputs of a layer.

    Args:
      outputs: the layer's outputs.
      is_free: whether a sum can be the layer's bypass.
    """
    found = _activate(outputs, None)
    if found is not None and found.is_relu:
        return found
    sums = [
        _activate(op.outputs[0], op)
        for op in graph_edits.list_consumers(outputs)
        if op.type in ADDITIONS and is_free(op)
    ]
    activated = [after for after in sums if after is not None]
    return (activated or [found or Activation(outputs, outputs)])[0]


def _activate(tensor: tf.Tensor, bypass: tf.Operation | None) -> Activation | None:
    """Returns the ReLU or identity that reads a tensor, or None."""
    if (relu := find_relu(tensor)) is not None:
        return Activation(relu.outputs[0], relu.outputs[0], bypass, is_relu=True)
    if (identity := graph_edits.find_consumer(tensor, ("Identity",))) is not None:
        return Activation(tensor, identity.outputs[0], bypass)
    return None


def find_relu(tensor: tf.Tensor) -> tf.Operation | None:
    """Returns the ReLU that reads a tensor, also through an identity, or None."""
    consumers = graph_edits.list_consumers(tensor)
    if len(consumers) == 1 and consumers[0].type == "Identity":
        return find_relu(consumers[0].outputs[0])
    return graph_edits.find_consumer(tensor, RELUS)


def is_fused(op: tf.Operation) -> bool:
    """Whether all that reads the outputs of a sum is one ReLU."""
    consumers = graph_edits.list_consumers(op.outputs[0])
    return len(consumers) == 1 and find_relu(op.outputs[0]) is not None
