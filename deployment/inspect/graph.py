"""Reports on a graph: operations, likely inputs and outputs, single nodes."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf import text_format

from deployment import files
from deployment.inspect.graph_loading import GraphFile, list_inputs
from deployment.models import graph_guard, subgraphs
from deployment.text import format_bytes, format_shape, format_table, nearest
from tf_slim_compat import tf

_SOURCES = {
    "Placeholder", "PlaceholderWithDefault", "IteratorGetNext", "QueueDequeueV2",
    "QueueDequeueManyV2", "QueueDequeueUpToV2", "ParseExampleV2",
}  # fmt: skip
_RESULT_NAME = re.compile(r"predict|logits|prob|softmax|output|score|result", re.I)
_RESULT_OPS = {"Softmax", "Sigmoid", "ArgMax", "TopKV2"}
_REASONS = {
    3: "named like a result, and nothing reads it",
    2: "nothing reads it",
    1: "a result by its name or operation",
}
_NO_RESULTS = re.compile(
    r"(Assign\w*|\w*Summary\w*|Save\w*|Restore\w*|NoOp|Assert|\w*Iterator\w*"
    r"|\w*Dataset\w*|Const|Print\w*|Unpack|Shape)$"
)
_TRAINING_SCOPES = re.compile(r"(save(_\d+)?|gradients|Momentum|RMSProp|Adam)/")
_MAX_LINES = 30  # Of the table of operations.
_MAX_CANDIDATES = 8


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A node that may be an input or output of a graph.

    Attributes:
      name: the node's name.
      op: its operation.
      dtype: the type of its output; "?" if unknown.
      shape: the shape of its output, as text.
      reason: why it may be an input or output.
    """

    name: str
    op: str
    dtype: str
    shape: str
    reason: str


def find_candidates(graph: GraphFile) -> tuple[list[Candidate], list[Candidate]]:
    """Finds the likely inputs and outputs of an unknown graph.

    Inputs are nodes whose values come from outside. Outputs are nodes that depend on an
    input and that either nothing reads, or that have the name or operation of a result.

    Returns:
      `(inputs, outputs)`, the likeliest first.
    """
    nodes = graph.graph_def.node
    describer = _Describer(graph.graph_def)
    sources = {node.name: list_inputs(node) for node in nodes}
    used = {source for names in sources.values() for source in names}
    inputs = [
        describer.describe(
            node, "fed from outside" if node.op[:5] == "Place" else "read from data"
        )
        for node in nodes
        if node.op in _SOURCES
        and not _TRAINING_SCOPES.match(node.name)
        and node.name in used
    ]
    outputs = []
    for number, node in enumerate(_list_ends(nodes, sources)):
        rank = _rank_output(node, node.name in used)
        if rank:
            found = describer.describe(node, _REASONS[rank])
            # A scalar is a step or a loss rather than a result.
            outputs.append((found.shape == "[]", -rank, -number, found))
    outputs.sort(key=lambda item: item[:3])
    return inputs, [found for *_, found in outputs[:_MAX_CANDIDATES]]


def _list_ends(nodes: Iterable[Any], sources: Mapping[str, list[str]]) -> list[Any]:
    """Lists the nodes that depend on an input and may be results."""
    fed = {node.name for node in nodes if node.op in _SOURCES}
    for node in subgraphs.sort(nodes, sources):
        if any(name in fed for name in sources[node.name]):
            fed.add(node.name)
    return [
        node
        for node in nodes
        if node.name in fed
        and node.op not in _SOURCES
        and not _NO_RESULTS.match(node.op)
        and not _TRAINING_SCOPES.match(node.name)
    ]


def _rank_output(node: Any, is_used: bool) -> int:
    """Returns how likely a node is an output: a key of `_REASONS`, or 0."""
    last = "/".join(node.name.split("/")[-2:])
    named = node.op in _RESULT_OPS or _RESULT_NAME.search(last)
    if not is_used:
        return 3 if named else 2
    is_end = node.op in {*_RESULT_OPS, "Squeeze", "Reshape", "BiasAdd", "Identity"}
    return 1 if named and is_end and not node.name.endswith("/read") else 0


class _Describer:
    """Describes nodes, with the dtypes and shapes that TensorFlow infers."""

    def __init__(self, graph_def: Any):
        self._graph = import_graph(graph_def)

    def describe(self, node: Any, reason: str) -> Candidate:
        dtype, shape = "?", "?"
        if self._graph is not None:
            outputs = self._graph.get_operation_by_name(node.name).outputs
            if outputs:
                dtype = outputs[0].dtype.base_dtype.name
                known = outputs[0].shape.rank is not None
                shape = format_shape(outputs[0].shape.as_list() if known else None)
        elif "shape" in node.attr:
            shape = _format_proto_shape(node.attr["shape"].shape)
        return Candidate(node.name, node.op, dtype, shape, reason)


def import_graph(graph_def: Any) -> tf.Graph | None:
    """Returns a GraphDef as a graph.

    Returns None if TensorFlow lacks one of its operations, or if importing it could do
    more than compute.
    """
    if graph_guard.may_run_on_import(graph_def):
        return None
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(graph_def, name="")
        except (KeyError, TypeError, ValueError, tf.errors.OpError):
            return None
    return graph


def get_node(graph: GraphFile, name: str) -> Any:
    """Returns a node (a NodeDef) by its name, or by that of one of its outputs.

    Raises:
      ValueError: if there is none; the message gives the nearest names.
    """
    by_name = {node.name: node for node in graph.graph_def.node}
    wanted = name.split(":")[0]
    if wanted not in by_name:
        raise ValueError(
            f"The graph {graph.path!r} has no node {name!r}; the nearest: "
            f"{', '.join(nearest(wanted, by_name)) or 'none'}."
        )
    return by_name[wanted]


def describe_node(graph: GraphFile, name: str) -> Iterator[str]:
    """Generates a report on one node: its inputs, consumers, values and attributes.

    Raises:
      ValueError: if there is no such node.
    """
    node = get_node(graph, name)
    found = _Describer(graph.graph_def).describe(node, "")
    readers = [n.name for n in graph.graph_def.node if node.name in list_inputs(n)]
    yield f"{node.name}: {node.op}, {found.dtype} {found.shape}"
    yield from (f"  reads {source}" for source in node.input)
    yield from (f"  read by {reader}" for reader in readers)
    for key, value in sorted(node.attr.items()):
        if value.HasField("tensor"):
            yield f"  values: {tf.make_ndarray(value.tensor)}"
        elif not key.startswith("_"):
            text = text_format.MessageToString(value, as_one_line=True)
            yield f"  {key}: {text[:100]}"


def describe_graph(graph: GraphFile) -> Iterator[str]:
    """Generates a report: size, operations, signatures, likely inputs and outputs."""
    yield from _describe_size(graph)
    yield ""
    yield from _count_operations(graph.graph_def)
    for name, signature in sorted(graph.signatures.items()):
        yield ""
        yield from _describe_signature(name, signature)
    for title, found in zip(
        ("Likely inputs:", "Likely outputs:"), find_candidates(graph), strict=True
    ):
        yield ""
        yield title if found else f"{title} none found"
        rows = [[f"  {c.name}", c.op, c.dtype, c.shape, c.reason] for c in found]
        if rows:
            yield format_table(["  node", "operation", "type", "shape", "why"], rows)


def _describe_size(graph: GraphFile) -> Iterator[str]:
    nodes = graph.graph_def.node
    functions = graph.graph_def.library.function
    size = graph.graph_def.ByteSize()
    kind = graph.kind + (f" (tags {', '.join(graph.tags)})" if graph.tags else "")
    yield f"{graph.path}: {kind}, {len(nodes):,} nodes, {format_bytes(size)}"
    if functions:
        inside = sum(len(function.node_def) for function in functions)
        yield f"  functions: {len(functions)}, with {inside:,} more nodes"
    constants = sum(
        node.attr["value"].tensor.ByteSize() for node in nodes if node.op == "Const"
    )
    yield f"  constants: {format_bytes(constants)}"


def _count_operations(graph_def: Any) -> Iterator[str]:
    counts = collections.Counter(node.op for node in graph_def.node)
    for function in graph_def.library.function:
        counts.update(node.op for node in function.node_def)
    rows = [[op, f"{count:,}"] for op, count in counts.most_common(_MAX_LINES)]
    yield format_table(["operation", "count"], rows, {1})
    if len(counts) > _MAX_LINES:
        yield f"and {len(counts) - _MAX_LINES} less frequent operations"


def _describe_signature(name: str, signature: Any) -> Iterator[str]:
    yield f"Signature {name} ({signature.method_name}):"
    for title, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for key, info in sorted(tensors.items()):
            yield (
                f"  {title} {key}: {info.name}, {_format_dtype(info.dtype)} "
                f"{_format_proto_shape(info.tensor_shape)}"
            )


def _format_dtype(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except TypeError:  # Unknown, or damaged.
        return f"type {number}"


def _format_proto_shape(shape: Any) -> str:
    """Returns a TensorShapeProto as text."""
    return format_shape(None if shape.unknown_rank else [dim.size for dim in shape.dim])


def write_names(graph: GraphFile, path: str) -> None:
    """Writes the names of all nodes to a text file, one per line.

    Raises:
      OSError: if the file cannot be written.
    """
    files.write_text(path, "".join(f"{node.name}\n" for node in graph.graph_def.node))
