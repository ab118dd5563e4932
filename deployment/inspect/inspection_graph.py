"""What is in a GraphDef, MetaGraphDef or SavedModel: nodes, inputs, outputs."""

import collections
import dataclasses
import difflib
import os
import re

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deployment import files
from deployment.text import format_bytes, format_shape, format_table
from tf_slim_compat import tf

_TEXT_STARTS = {
    "node": tf.GraphDef,
    "versions": tf.GraphDef,
    "library": tf.GraphDef,
    "meta_info_def": tf.MetaGraphDef,
    "graph_def": tf.MetaGraphDef,
    "saved_model_schema_version": "SavedModel",
    "meta_graphs": "SavedModel",
}
_OTHER_KINDS = {
    b"TFL3": "a TFLite model",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"PK\x03\x04": "a zip archive, as Keras writes",
}
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
_BESIDE = re.compile(r"(save(_\d+)?|gradients|Momentum|RMSProp|Adam)/")
_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")  # Ends checkpoints.
_LONGEST = 30  # Lines of the table of operations.


@dataclasses.dataclass(frozen=True)
class GraphFile:
    """A graph that was read.

    Attributes:
      path: where from.
      kind: "GraphDef", "MetaGraphDef" or "SavedModel".
      graph_def: a `tf.GraphDef`.
      signatures: dict from name to `SignatureDef`.
      tags: of a SavedModel's graph, the first if it has several.
    """

    path: str
    kind: str
    graph_def: object
    signatures: dict
    tags: tuple = ()


def load_graph(path):
    """Reads a graph, binary or text, of whichever of the three kinds it is.

    Args:
      path: a file, or the folder of a SavedModel.

    Returns:
      A `GraphFile`.

    Raises:
      ValueError: if the file is missing, of another kind, or was cut short.
    """
    file_path = path
    if tf.gfile.IsDirectory(path):
        names = ("saved_model.pb", "saved_model.pbtxt")
        found = [n for n in names if tf.gfile.Exists(os.path.join(path, n))]
        if not found:
            raise ValueError(
                f"The folder {path!r} holds no saved_model.pb: give the folder of a "
                "SavedModel, or a .pb or .meta file."
            )
        file_path = os.path.join(path, found[0])
    elif not tf.gfile.Exists(path):
        raise ValueError(f"There is no graph file {path!r}.")
    with tf.gfile.Open(file_path, "rb") as file:
        data = file.read()
    if data[-8:] == _TABLE_MAGIC:
        raise ValueError(
            f"{path!r} is a checkpoint: look at it with --checkpoint_path."
        )
    for place in (data[:4], data[4:8]):
        if place in _OTHER_KINDS:
            raise ValueError(
                f"{path!r} is {_OTHER_KINDS[place]}, not a TensorFlow graph."
            )
    graph = _unpack(path, _parse_text(path, data) or _parse_binary(path, data))
    _check_inputs(graph)
    return graph


def _parse_text(path, data):
    """The message in a text file; None if it is no text."""
    first = re.match(rb"(?:\s|#[^\n]*\n)*(\w+)\s*[:{]", data[:4096])
    kind = _TEXT_STARTS.get(first.group(1).decode()) if first else None
    if kind is None:
        return None
    message = kind() if kind != "SavedModel" else _new_saved_model()
    try:
        return text_format.Merge(data, message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path!r} starts as a graph in text, but was cut short or damaged: "
            f"{str(error).splitlines()[0]}."
        ) from error


def _parse_binary(path, data):
    """The message in a binary file: the kind of which makes sense."""
    for message in (tf.GraphDef(), tf.MetaGraphDef(), _new_saved_model()):
        try:
            message.ParseFromString(data)
        except DecodeError:
            continue
        if _makes_sense(message):
            return message
    likely = (
        "it is text" if _is_text(data) else "it was cut short, or is of another kind"
    )
    raise ValueError(
        f"{path!r} is not a graph: no GraphDef, MetaGraphDef or SavedModel can be read "
        f"from it; {likely}."
    )


def _new_saved_model():
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()


def _is_text(data):
    try:
        return data[:1000].decode().isprintable() or b"\n" in data[:1000]
    except UnicodeDecodeError:
        return False


def _makes_sense(message):
    if isinstance(message, tf.GraphDef):
        nodes = message.node
        return bool(nodes) and all(
            re.fullmatch(r"[\w.>-]+", node.op) and node.name for node in nodes
        )
    if isinstance(message, tf.MetaGraphDef):
        return _makes_sense(message.graph_def)
    return bool(message.meta_graphs) and all(map(_makes_sense, message.meta_graphs))


def _unpack(path, message):
    tags = ()
    if hasattr(message, "meta_graphs"):
        kind, message = "SavedModel", message.meta_graphs[0]
        tags = tuple(message.meta_info_def.tags)
    elif isinstance(message, tf.MetaGraphDef):
        kind = "MetaGraphDef"
    else:
        return GraphFile(path, "GraphDef", message, {})
    return GraphFile(path, kind, message.graph_def, dict(message.signature_def), tags)


def _check_inputs(graph):
    """Raises ValueError if a node reads one that is not there."""
    names = {node.name for node in graph.graph_def.node}
    for node in graph.graph_def.node:
        for source in _sources(node):
            if source not in names:
                raise ValueError(
                    f"{graph.path!r} was cut short or damaged: its node {node.name!r} "
                    f"reads {source!r}, which is not in it."
                )


def _sources(node):
    return [name.lstrip("^").split(":")[0] for name in node.input]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A node that may be an input or output of a graph, and why."""

    name: str
    op: str
    dtype: str
    shape: str
    reason: str


def find_candidates(graph):
    """The likely inputs and outputs of an unknown graph.

    Inputs are where values come in from outside. Outputs are nodes that depend on
    them, and that either nothing reads, or that are named or built like results.

    Args:
      graph: a `GraphFile`.

    Returns:
      (inputs, outputs), two lists of `Candidate`, the likeliest first.
    """
    nodes = graph.graph_def.node
    described = _Describer(graph.graph_def)
    fed, used = {node.name for node in nodes if node.op in _SOURCES}, set()
    sources = {node.name: _sources(node) for node in nodes}
    for node in _in_order(nodes, sources):
        used.update(sources[node.name])
        if any(name in fed for name in sources[node.name]):
            fed.add(node.name)
    inputs = [
        described(
            node, "fed from outside" if node.op[:5] == "Place" else "read from data"
        )
        for node in nodes
        if node.op in _SOURCES and not _BESIDE.match(node.name) and node.name in used
    ]
    ends = [
        node
        for node in nodes
        if node.name in fed
        and node.op not in _SOURCES
        and not _NO_RESULTS.match(node.op)
        and not _BESIDE.match(node.name)
    ]
    outputs = []
    for number, node in enumerate(ends):
        rank = _rank_output(node, node.name in used)
        if rank:
            found = described(node, _REASONS[rank])
            # A scalar is a step or a loss before it is a result.
            outputs.append((found.shape == "[]", -rank, -number, found))
    return inputs, [found for *_, found in sorted(outputs, key=lambda o: o[:3])[:8]]


def _rank_output(node, is_used):
    last = "/".join(node.name.split("/")[-2:])
    named = node.op in _RESULT_OPS or _RESULT_NAME.search(last)
    if not is_used:
        return 3 if named else 2
    is_end = node.op in {*_RESULT_OPS, "Squeeze", "Reshape", "BiasAdd", "Identity"}
    return 1 if named and is_end and not node.name.endswith("/read") else 0


def _in_order(nodes, sources):
    """The nodes, each after those it reads; loops are cut where they are met."""
    by_name = {node.name: node for node in nodes}
    done = set()
    for start in nodes:
        waiting = [(start.name, False)]
        while waiting:
            name, is_ready = waiting.pop()
            if is_ready:
                yield by_name[name]
            elif name not in done:
                done.add(name)
                waiting.append((name, True))
                waiting += [(source, False) for source in sources[name]]


class _Describer:
    """Makes candidates of nodes, with types and shapes as far as they can be told."""

    def __init__(self, graph_def):
        self._graph = import_graph(graph_def)

    def __call__(self, node, reason):
        dtype, shape = "?", "?"
        if self._graph is not None:
            outputs = self._graph.get_operation_by_name(node.name).outputs
            if outputs:
                dtype = outputs[0].dtype.base_dtype.name
                known = outputs[0].shape.rank is not None
                shape = format_shape(outputs[0].shape.as_list() if known else None)
        elif "shape" in node.attr and not node.attr["shape"].shape.unknown_rank:
            shape = format_shape([dim.size for dim in node.attr["shape"].shape.dim])
        return Candidate(node.name, node.op, dtype, shape, reason)


def import_graph(graph_def):
    """The GraphDef as a `tf.Graph`; None where an operation is not known here."""
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(graph_def, name="")
        except (ValueError, tf.errors.OpError):
            return None
    return graph


def get_node(graph, name):
    """The node of a name.

    Raises:
      ValueError: if there is none; the message names the nearest.
    """
    by_name = {node.name: node for node in graph.graph_def.node}
    wanted = name.split(":")[0]
    if wanted not in by_name:
        inside = sorted((n for n in by_name if wanted.lower() in n.lower()), key=len)
        near = inside[:3] or difflib.get_close_matches(wanted, by_name, 3, 0.4)
        raise ValueError(
            f"The graph {graph.path!r} has no node {name!r}; the nearest: "
            f"{', '.join(near) or 'none'}."
        )
    return by_name[wanted]


def describe_node(graph, name):
    """Generates lines on one node: what it reads, what reads it, its attributes."""
    node = get_node(graph, name)
    found = _Describer(graph.graph_def)(node, "")
    readers = [n.name for n in graph.graph_def.node if node.name in _sources(n)]
    yield f"{node.name}: {node.op}, {found.dtype} {found.shape}"
    yield from (f"  reads {source}" for source in node.input)
    yield from (f"  is read by {reader}" for reader in readers)
    for key, value in sorted(node.attr.items()):
        if value.HasField("tensor"):
            yield f"  values: {tf.make_ndarray(value.tensor)}"
        elif not key.startswith("_"):
            text = text_format.MessageToString(value, as_one_line=True)
            yield f"  {key}: {text[:100]}"


def describe_graph(graph):
    """Generates the lines on a graph: its size, operations, inputs and outputs."""
    nodes = graph.graph_def.node
    functions = graph.graph_def.library.function
    size = graph.graph_def.ByteSize()
    kind = graph.kind + (f" (tags {', '.join(graph.tags)})" if graph.tags else "")
    yield f"{graph.path}: {kind}, {len(nodes):,} nodes, {format_bytes(size)}"
    if functions:
        inside = sum(len(function.node_def) for function in functions)
        yield f"  {len(functions)} functions with {inside:,} more nodes"
    weights = sum(
        node.attr["value"].tensor.ByteSize() for node in nodes if node.op == "Const"
    )
    yield f"  constants: {format_bytes(weights)}"
    yield ""
    counts = collections.Counter(node.op for node in nodes)
    for function in functions:
        counts.update(node.op for node in function.node_def)
    rows = [[op, f"{count:,}"] for op, count in counts.most_common(_LONGEST)]
    yield format_table(["operation", "count"], rows, {1})
    if len(counts) > _LONGEST:
        yield f"and {len(counts) - _LONGEST} rarer operations"
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


def _describe_signature(name, signature):
    yield f"Signature {name} ({signature.method_name}):"
    for title, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for key, info in sorted(tensors.items()):
            dims = None
            if not info.tensor_shape.unknown_rank:
                dims = [dim.size for dim in info.tensor_shape.dim]
            yield (
                f"  {title} {key}: {info.name}, {tf.as_dtype(info.dtype).name} "
                f"{format_shape(dims)}"
            )


def write_names(graph, path):
    """Writes the names of all nodes, a line each, in the graph's order."""
    files.write_text(path, "".join(f"{node.name}\n" for node in graph.graph_def.node))
