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
    graph_def = _parse_file(path, tf.GraphDef(), is_binary)
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
    spec: ModelSpec | None = None,
    train_dir: str = "",
    **options: Any,
) -> tf.GraphDef:
    """Freezes a graph with TensorFlow's own function, after checking its arguments.

    Args:
      output_graph: the file to write.
      output_node_names: comma-separated nodes to keep; if empty, those that
        `find_outputs` finds in `input_graph`.
      input_graph: a GraphDef file.
      input_binary: whether the input files are binary.
      input_checkpoint: a checkpoint or a folder of them; not for a SavedModel.
      input_meta_graph: a MetaGraphDef file, in place of `input_graph`.
      input_saved_model_dir: a SavedModel folder, in place of `input_graph`.
      spec: the specification to write into the file, which must fit `input_graph`; None
        keeps the graph's own.
      train_dir: the training folder that `spec` is of, for error messages.
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
    if input_graph:
        graph_def = load_graph_def(input_graph, input_binary)
        names = [n for n in output_node_names.replace(" ", "").split(",") if n]
        check_nodes(graph_def, names, input_graph)
        output_node_names = ",".join(names or find_outputs(graph_def))
        remedy = "export the graph with the settings of the training run"
        if train_dir:
            remedy = (
                "export the graph again with export_inference_graph.py "
                f"--checkpoint_path={train_dir} --output_file={input_graph}"
            )
        if spec is not None:
            _check_spec(graph_def, spec, input_graph, remedy)
        _check_weights(graph_def, input_checkpoint, input_graph, remedy)
        spec = spec or find_spec(graph_def)
    else:
        _check_inputs(input_meta_graph, input_saved_model_dir, input_binary)
    _check_options(input_checkpoint, input_binary, **options)
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
    if spec is not None and input_graph:
        add_spec(frozen, spec)
    write_graph(frozen, output_graph)
    return frozen


def has_variables(graph_def: tf.GraphDef) -> bool:
    """Returns whether a graph lacks its weights, because it is not frozen."""
    return any(node.op in _VARIABLE_OPS for node in graph_def.node)


def find_input_size(graph_def: tf.GraphDef) -> list[int]:
    """Returns the fixed ones of height and width of the images that a graph reads."""
    for node in graph_def.node:
        if node.name == INPUT_NAME and node.op == "Placeholder":
            sizes = [dim.size for dim in node.attr["shape"].shape.dim][-3:-1]
            return [size for size in sizes if size > 0]
    return []


def _check_spec(
    graph_def: tf.GraphDef, spec: ModelSpec, path: str, remedy: str
) -> None:
    """Raises ValueError if a graph is not that of a trained model.

    Args:
      graph_def: the graph, with or without a specification of its own.
      spec: the specification of the trained model.
      path: the graph's file, for the error message.
      remedy: what the user can do, likewise.
    """
    sizes = find_input_size(graph_def)
    if sizes and set(sizes) != {spec.image_size}:
        raise ValueError(
            f"The graph {path!r} takes images of {sizes[0]} pixels, but the run was "
            f"trained with {spec.image_size}: {remedy}."
        )
    own = find_spec(graph_def) or ModelSpec(
        model_name=spec.model_name, num_outputs=spec.num_outputs
    )
    for what, ours, theirs in (
        ("is of the network", own.model_name, spec.model_name),
        ("has the number of outputs", own.num_outputs, spec.num_outputs),
        ("computes the scores of the task", own.task, spec.task),
    ):
        if ours != theirs:
            raise ValueError(
                f"The graph {path!r} {what} {ours}, but in the run it is {theirs}: "
                f"{remedy}."
            )
    if own.task_state != spec.task_state:
        raise ValueError(
            f"The graph {path!r} contains another {' or '.join(spec.task_state)} than "
            f"the run: {remedy}."
        )


def _parse_file(path: str, message: Any, is_binary: bool) -> Any:
    """Reads a protocol buffer from a binary or text file into `message`."""
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


def _check_inputs(meta_graph: str, saved_model_dir: str, is_binary: bool) -> None:
    """Raises ValueError if a MetaGraphDef or SavedModel cannot be read."""
    if meta_graph:
        _parse_file(meta_graph, tf.MetaGraphDef(), is_binary)
    names = ("saved_model.pb", "saved_model.pbtxt")
    if saved_model_dir and not any(
        tf.gfile.Exists(os.path.join(saved_model_dir, name)) for name in names
    ):
        raise ValueError(
            f"{saved_model_dir!r} is not the folder of a SavedModel: give the one that "
            f"contains {names[0]}."
        )


def _check_options(
    checkpoint_path: str,
    is_binary: bool,
    input_saver: str = "",
    variable_names_whitelist: str = "",
    variable_names_denylist: str = "",
    **_: Any,
) -> None:
    """Raises ValueError if an option names a file or variables that do not exist."""
    if input_saver:
        _parse_file(input_saver, tf.train.SaverDef(), is_binary)
    names = f"{variable_names_whitelist},{variable_names_denylist}"
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or not checkpoint_path:
        return
    known = Checkpoint(checkpoint_path).variables
    for name in wanted:
        if name not in known:
            near = ", ".join(text.nearest(name, known)) or text.shorten(known)
            raise ValueError(
                f"The checkpoint {checkpoint_path!r} has no variable {name!r} to "
                f"freeze or to leave; the nearest: {near}."
            )


def _check_weights(
    graph_def: tf.GraphDef, checkpoint_path: str, path: str, remedy: str
) -> None:
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
                f"which the graph {path!r} needs, as it is of another network: "
                f"{remedy}."
            )
        if list(found) != expected:
            raise ValueError(
                f"{node.name} has the shape {expected} in the graph {path!r}, but "
                f"{list(found)} in the checkpoint {checkpoint_path!r}: {remedy}."
            )
