"""A network's graph without training: written as a GraphDef, or frozen."""

import difflib
import os

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deployment.models import checkpoints
from tf_slim_compat import tf

INPUT_NAME = "input"
# What TensorFlow's freezing function wants to be told in any case.
_FREEZE_DEFAULTS = {
    "input_saver": "",
    "restore_op_name": None,
    "filename_tensor_name": None,
    "clear_devices": True,
    "initializer_nodes": "",
}
_VARIABLE_OPS = {"VarHandleOp", "Variable", "VariableV2"}


def build_inference_graph(network_fn, input_shape):
    """The GraphDef of a network that reads a placeholder named 'input'.

    Args:
      network_fn: adds the network: float32 images to `(logits, end_points)`.
      input_shape: the placeholder's shape, [batch, height, width, channels] or,
        for video networks, [batch, frames, height, width, channels]; None where
        unknown. Its values are preprocessed pixels, float32.

    Returns:
      A `tf.GraphDef`.
    """
    # Reference variables: the nodes that freezing and other tools of TensorFlow 1
    # expect. A checkpoint is the same with either kind.
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        network_fn(tf.placeholder(tf.float32, input_shape, name=INPUT_NAME))
        return graph.as_graph_def()


def write_graph(graph_def, path, as_text=False):
    """Writes a GraphDef whole or not at all; makes the folder if there is none.

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


def load_graph_def(path, is_binary=True):
    """The GraphDef in a file, binary or text.

    Raises:
      ValueError: if the file is missing, or something else.
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
            f"{path!r} holds no {kind} GraphDef, or was cut short"
            + ("." if is_binary else "; for a binary one give --input_binary=true.")
        ) from error
    if not graph_def.node:
        raise ValueError(f"The graph {path!r} is empty.")
    return graph_def


def find_outputs(graph_def):
    """The names of the nodes that hold a network's result.

    These are the nodes that depend on the input and that no other reads: the
    predictions, where a network has some, else all of them.
    """
    read, fed = set(), set()
    for node in graph_def.node:  # In the order of computation.
        sources = {name.split(":")[0].lstrip("^") for name in node.input}
        read |= sources
        if node.op == "Placeholder" or sources & fed:
            fed.add(node.name)
    ends = [node.name for node in graph_def.node if node.name in fed - read]
    return [name for name in ends if "predictions" in name.lower()] or ends


def check_nodes(graph_def, names, path):
    """Raises ValueError, naming the nearest, if a node is not in the graph."""
    known = [node.name for node in graph_def.node]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            raise ValueError(
                f"The graph {path!r} has no node {name!r}; the nearest: "
                f"{', '.join(near) or 'none'}."
            )


def freeze(
    output_graph,
    output_node_names="",
    *,
    input_graph="",
    input_binary=True,
    input_checkpoint="",
    input_meta_graph="",
    input_saved_model_dir="",
    **options,
):
    """Freezes a graph with TensorFlow's own function, and checks what it is given.

    Args:
      output_graph: the file to write.
      output_node_names: comma-separated nodes to keep; empty finds them in
        `input_graph`.
      input_graph: a GraphDef file.
      input_binary: whether the input files are binary.
      input_checkpoint: a checkpoint or a folder of them; not for a SavedModel.
      input_meta_graph: a MetaGraphDef file, in place of `input_graph`.
      input_saved_model_dir: a SavedModel's folder, in place of `input_graph`.
      **options: further arguments of `tensorflow.python.tools.freeze_graph`.

    Returns:
      The frozen `tf.GraphDef`.

    Raises:
      ValueError: if a file is missing or of another kind, a node unknown, or the
        checkpoint does not fit the graph.
    """
    if not output_graph:
        raise ValueError("Say where to write the result: --output_graph=frozen.pb.")
    if sum(map(bool, (input_graph, input_meta_graph, input_saved_model_dir))) != 1:
        raise ValueError(
            "Give one graph to freeze: --input_graph, --input_meta_graph or "
            "--input_saved_model_dir."
        )
    if not input_saved_model_dir:
        if not input_checkpoint:
            raise ValueError("Say where the weights are: --input_checkpoint=run.")
        input_checkpoint = checkpoints.get_checkpoint_path(input_checkpoint)
    if input_graph:
        graph_def = load_graph_def(input_graph, input_binary)
        names = [n for n in output_node_names.replace(" ", "").split(",") if n]
        check_nodes(graph_def, names, input_graph)
        output_node_names = ",".join(names or find_outputs(graph_def))
        _check_weights(graph_def, input_checkpoint, input_graph)
    # Not at the top: it is tf_slim_compat that loads TensorFlow, without its noise.
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
    write_graph(frozen, output_graph)
    return frozen


def has_variables(graph_def):
    """Whether a graph lacks weights: its variables are still variables."""
    return any(node.op in _VARIABLE_OPS for node in graph_def.node)


def _check_weights(graph_def, checkpoint_path, path):
    """Raises ValueError if the checkpoint lacks a variable, or has another shape."""
    shapes = checkpoints.open_checkpoint(checkpoint_path).get_variable_to_shape_map()
    if not has_variables(graph_def):
        raise ValueError(f"The graph {path!r} is frozen already: it has no variables.")
    for node in graph_def.node:
        if node.op not in _VARIABLE_OPS:
            continue
        if node.op == "VarHandleOp":
            raise ValueError(
                f"The graph {path!r} has resource variables, which cannot be frozen "
                "from a GraphDef: write it with export_inference_graph.py, or freeze "
                "the run's .meta file with --input_meta_graph."
            )
        ours = [dim.size for dim in node.attr["shape"].shape.dim]
        theirs = shapes.get(node.name)
        if theirs is None:
            raise ValueError(
                f"The checkpoint {checkpoint_path!r} does not hold {node.name}, which "
                f"the graph {path!r} needs: it is of another network."
            )
        if list(theirs) != ours:
            raise ValueError(
                f"{node.name} has the shape {ours} in the graph {path!r}, but "
                f"{list(theirs)} in the checkpoint {checkpoint_path!r}: export the "
                "graph with the dataset and --labels_offset of the training."
            )
