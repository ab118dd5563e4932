"""Inference graphs: written as a GraphDef, frozen with a checkpoint, and read."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deployment import text
from deployment.models import checkpoint
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from tf_slim_compat import tf

# Names of nodes: the images; the scores, where the network has no predictions of its
# own that are the task's; and a constant, the JSON of the model's specification.
INPUT_NAME = "input"
SCORES_NAME = "scores"
SPEC_NAME = "model_spec"
# Arguments that TensorFlow's freezing function requires.
_FREEZE_DEFAULTS = {
    "input_saver": "",
    "restore_op_name": None,
    "filename_tensor_name": None,
    "clear_devices": True,
    "initializer_nodes": "",
}
_VARIABLE_OPS = {"VarHandleOp", "Variable", "VariableV2"}


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
            with contextlib.suppress(AttributeError, UnicodeDecodeError, ValueError):
                value = tf.make_ndarray(node.attr["value"].tensor).item()
                return ModelSpec.from_json(value.decode())
    return None


def write_graph(graph_def: tf.GraphDef, path: str, as_text: bool = False) -> None:
    """Writes a GraphDef atomically, creating its folder if need be.

    Raises:
      ValueError: if the file cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = f".{name}.{os.getpid()}"
    try:
        tf.gfile.MakeDirs(folder)
        tf.train.write_graph(graph_def, folder, temporary, as_text=as_text)
        tf.gfile.Rename(os.path.join(folder, temporary), path, overwrite=True)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path!r} cannot be written: {error.message.split(';')[-1].strip()}."
        ) from error


def load_graph_def(path: str, is_binary: bool = True) -> tf.GraphDef:
    """Reads a GraphDef from a binary or text file.

    Raises:
      ValueError: if the file is missing or not such a GraphDef.
    """
    if not tf.gfile.Exists(path) or tf.gfile.IsDirectory(path):
        raise ValueError(f"There is no graph file {path!r}.")
    graph_def = tf.GraphDef()
    try:
        with tf.gfile.Open(path, "rb") as file:
            if is_binary:
                graph_def.ParseFromString(file.read())
            else:
                text_format.Merge(file.read(), graph_def)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        kind = "binary" if is_binary else "text"
        raise ValueError(
            f"{path!r} is not a {kind} GraphDef, or it is truncated"
            + ("." if is_binary else "; for a binary one, give --input_binary=true.")
        ) from error
    if not graph_def.node:
        raise ValueError(f"The graph {path!r} is empty.")
    return graph_def


def find_outputs(graph_def: tf.GraphDef) -> list[str]:
    """Returns the names of a network's output nodes.

    Outputs are nodes that depend on the input and that no other node reads: the
    scores of the task if there are any, else the predictions, else all of them.
    """
    read, fed = set(), set()
    for node in graph_def.node:  # Nodes are in topological order.
        sources = {name.split(":")[0].lstrip("^") for name in node.input}
        read |= sources
        if node.op == "Placeholder" or sources & fed:
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


def freeze(
    output_graph: str,
    output_node_names: str = "",
    *,
    input_graph: str = "",
    input_binary: bool = True,
    input_checkpoint: str = "",
    input_meta_graph: str = "",
    input_saved_model_dir: str = "",
    **options: Any,
) -> tf.GraphDef:
    """Freezes a graph with TensorFlow's own function, after checking its arguments.

    Args:
      output_graph: the file to write.
      output_node_names: comma-separated nodes to keep; if empty, those that
        `find_outputs` finds in `input_graph`.
      input_graph: a GraphDef file. Its model specification is kept.
      input_binary: whether the input files are binary.
      input_checkpoint: a checkpoint or a folder of them; not for a SavedModel.
      input_meta_graph: a MetaGraphDef file, in place of `input_graph`.
      input_saved_model_dir: a SavedModel folder, in place of `input_graph`.
      **options: further arguments of `tensorflow.python.tools.freeze_graph`.

    Raises:
      ValueError: if a file is missing or of another kind, a node is unknown, or the
        checkpoint does not fit the graph.
    """
    if not output_graph:
        raise ValueError("Give the file to write: --output_graph=frozen.pb.")
    if sum(map(bool, (input_graph, input_meta_graph, input_saved_model_dir))) != 1:
        raise ValueError(
            "Give one graph to freeze: --input_graph, --input_meta_graph or "
            "--input_saved_model_dir."
        )
    if not input_saved_model_dir:
        if not input_checkpoint:
            raise ValueError("Give the weights to freeze: --input_checkpoint=run.")
        input_checkpoint = checkpoint.find_prefix(input_checkpoint)
    spec = None
    if input_graph:
        graph_def = load_graph_def(input_graph, input_binary)
        names = [n for n in output_node_names.replace(" ", "").split(",") if n]
        check_nodes(graph_def, names, input_graph)
        output_node_names = ",".join(names or find_outputs(graph_def))
        _check_weights(graph_def, input_checkpoint, input_graph)
        spec = find_spec(graph_def)
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.python.tools import freeze_graph as tf_freeze_graph

    with tf.Graph().as_default():
        frozen = tf_freeze_graph.freeze_graph(
            input_graph=input_graph,
            input_binary=input_binary,
            output_node_names=output_node_names,
            output_graph="",
            input_checkpoint=input_checkpoint,
            input_meta_graph=input_meta_graph,
            input_saved_model_dir=input_saved_model_dir,
            **{**_FREEZE_DEFAULTS, **options},
        )
    if spec is not None:
        add_spec(frozen, spec)
    write_graph(frozen, output_graph)
    return frozen


def has_variables(graph_def: tf.GraphDef) -> bool:
    """Returns whether a graph lacks its weights, because it is not frozen."""
    return any(node.op in _VARIABLE_OPS for node in graph_def.node)


def _check_weights(graph_def: tf.GraphDef, checkpoint_path: str, path: str) -> None:
    """Raises ValueError if a variable is missing or misshapen in the checkpoint."""
    variables = Checkpoint(checkpoint_path).variables
    shapes = {name: variable.shape for name, variable in variables.items()}
    if not has_variables(graph_def):
        raise ValueError(f"The graph {path!r} has no variables: it is already frozen.")
    for node in graph_def.node:
        if node.op not in _VARIABLE_OPS:
            continue
        if node.op == "VarHandleOp":
            raise ValueError(
                f"The graph {path!r} has resource variables, which cannot be frozen "
                "from a GraphDef: write it with export_inference_graph.py, or freeze "
                "the run's .meta file with --input_meta_graph."
            )
        expected = [dim.size for dim in node.attr["shape"].shape.dim]
        found = shapes.get(node.name)
        if found is None:
            raise ValueError(
                f"The checkpoint {checkpoint_path!r} does not contain {node.name}, "
                f"which the graph {path!r} needs: it is of another network."
            )
        if list(found) != expected:
            raise ValueError(
                f"{node.name} has the shape {expected} in the graph {path!r}, but "
                f"{list(found)} in the checkpoint {checkpoint_path!r}: export the "
                "graph with the dataset and --labels_offset of the training run."
            )
