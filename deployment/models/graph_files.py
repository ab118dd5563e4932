"""Inference graphs: built, written as a GraphDef, read, and searched."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deployment import files, text
from deployment.models import subgraphs
from deployment.models.spec import ModelSpec
from tf_slim_compat import tf

# Names of nodes: the images; the scores, where the network has no predictions of its
# own that are the task's; and a constant, the JSON of the model's specification.
INPUT_NAME = "input"
SCORES_NAME = "scores"
SPEC_NAME = "model_spec"
VARIABLE_OPS = {"VarHandleOp", "Variable", "VariableV2"}


def build_inference_graph(
    network_fn: Callable, input_shape: Sequence[int | None]
) -> tf.GraphDef:
    """Builds the graph of a network that reads a placeholder named 'input'.

    Args:
      network_fn: adds the network: float32 images to `(logits, end_points)`.
      input_shape: the placeholder's shape, [batch, height, width, channels] or, for
        video networks, [batch, frames, height, width, channels]; None where unknown.
        The images are preprocessed, float32.
    """
    # Reference variables, which TensorFlow 1's tools expect and freezing needs. The
    # checkpoint is the same with either kind.
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        network_fn(tf.placeholder(tf.float32, input_shape, name=INPUT_NAME))
        return graph.as_graph_def()


def add_spec(graph_def: tf.GraphDef, spec: ModelSpec) -> None:
    """Adds a model's specification to its graph, in place, as a constant."""
    node = graph_def.node.add(name=SPEC_NAME, op="Const")
    tensor = tf.make_tensor_proto(spec.to_json())
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def find_spec(graph_def: tf.GraphDef) -> ModelSpec | None:
    """Returns the specification that `add_spec` added; None if there is none."""
    for node in graph_def.node:
        if node.name == SPEC_NAME and node.op == "Const":
            # A node of this name that someone else wrote is no error.
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
                value = tf.make_ndarray(node.attr["value"].tensor).item()
                return ModelSpec.from_json(value.decode())
    return None


def write_graph(graph_def: tf.GraphDef, path: str, as_text: bool = False) -> None:
    """Writes a GraphDef atomically, creating its folder if need be.

    Raises:
      OSError: if the file cannot be written.
    """
    files.make_folder(os.path.dirname(os.path.abspath(path)))
    if as_text:
        files.write_text(path, text_format.MessageToString(graph_def))
    else:
        files.write_bytes(path, graph_def.SerializeToString(deterministic=True))


def load_graph_def(path: str, is_binary: bool = True) -> tf.GraphDef:
    """Reads a GraphDef from a binary or text file.

    Raises:
      ValueError: if the file is missing or not such a GraphDef.
    """
    graph_def = parse_file(path, tf.GraphDef(), is_binary)
    if not graph_def.node:
        raise ValueError(f"The graph {path!r} is empty.")
    return graph_def


def find_outputs(graph_def: tf.GraphDef) -> list[str]:
    """Returns the names of a network's output nodes.

    Outputs are nodes that depend on the input and that no other node reads: the
    scores of the task if there are any, else the predictions, else all of them.
    """
    known = {node.name for node in graph_def.node}
    sources = {
        node.name: known.intersection(map(subgraphs.get_node_name, node.input))
        for node in graph_def.node
    }
    read, fed = set().union(*sources.values()), set()
    for node in subgraphs.sort(graph_def.node, sources):
        if node.op == "Placeholder" or sources[node.name] & fed:
            fed.add(node.name)
    ends = [node.name for node in graph_def.node if node.name in fed - read]
    if SCORES_NAME in ends:
        return [SCORES_NAME]
    return [name for name in ends if "predictions" in name.lower()] or ends


def check_nodes(graph_def: tf.GraphDef, names: Iterable[str], path: str) -> None:
    """Raises ValueError with the nearest names if a node is not in the graph."""
    known = [node.name for node in graph_def.node]
    for name in names:
        if name not in known:
            near = text.nearest(name, known, cutoff=0.4)
            raise ValueError(
                f"The graph {path!r} has no node {name!r}; the nearest: "
                f"{', '.join(near) or 'none'}."
            )


def has_variables(graph_def: tf.GraphDef) -> bool:
    """Returns whether a graph lacks its weights, because it is not frozen."""
    return any(node.op in VARIABLE_OPS for node in graph_def.node)


def find_input_size(graph_def: tf.GraphDef) -> list[int]:
    """Returns the fixed ones of height and width of the images that a graph reads."""
    for node in graph_def.node:
        if node.name == INPUT_NAME and node.op == "Placeholder":
            sizes = [dim.size for dim in node.attr["shape"].shape.dim][-3:-1]
            return [size for size in sizes if size > 0]
    return []


def parse_file(path: str, message: Any, is_binary: bool) -> Any:
    """Reads a protocol buffer from a binary or text file into `message`.

    Raises:
      ValueError: if the file is missing or not such a message.
    """
    kind = type(message).__name__
    if not tf.gfile.Exists(path) or tf.gfile.IsDirectory(path):
        raise ValueError(f"There is no graph file {path!r}: give the path of a {kind}.")
    try:
        with tf.gfile.Open(path, "rb") as file:
            if is_binary:
                message.ParseFromString(file.read())
            else:
                text_format.Merge(file.read(), message)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        form = "binary" if is_binary else "text"
        raise ValueError(
            f"{path!r} is not a {form} {kind}, or it is truncated"
            + ("." if is_binary else "; for a binary one, give --input_binary=true.")
        ) from error
    return message
