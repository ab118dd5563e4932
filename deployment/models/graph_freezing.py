"""Freezes graphs: replaces their variables by the values of a checkpoint."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from deployment import text
from deployment.models import (
    checkpoint,
    checksums,
    graph_files,
    graph_guard,
    meta_graphs,
    subgraphs,
)
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from tf_slim_compat import tf


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
    trust: bool = False,
    **options: Any,
) -> tf.GraphDef:
    """Freezes a graph, after checking that it only computes.

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
      trust: whether the graph may do more than compute.
      **options: further arguments of `tensorflow.python.tools.freeze_graph`.

    Raises:
      ValueError: if a file is missing or of another kind, a node is unknown, the
        checkpoint does not fit the graph, or the graph would do more than compute.
      OSError: if the file cannot be written.
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
    names = _split(output_node_names)
    if input_graph:
        graph_def = graph_files.load_graph_def(input_graph, input_binary)
        graph_files.check_nodes(graph_def, names, input_graph)
        names = names or graph_files.find_outputs(graph_def)
        remedy = "export the graph with the settings of the training run"
        if train_dir:
            remedy = (
                "export the graph again with export_inference_graph.py "
                f"--checkpoint_path={train_dir} --output_file={input_graph}"
            )
        if spec is not None:
            _check_spec(graph_def, spec, input_graph, remedy)
        _check_weights(graph_def, input_checkpoint, input_graph, remedy)
        spec = spec or graph_files.find_spec(graph_def)
    _check_options(input_checkpoint, input_binary, **options)
    if input_saved_model_dir:
        frozen = _freeze_saved_model(input_saved_model_dir, names, trust, **options)
    else:
        if input_meta_graph:
            meta_graph = tf.MetaGraphDef()
            graph_files.parse_file(input_meta_graph, meta_graph, input_binary)
        else:
            meta_graph = tf.MetaGraphDef(graph_def=graph_def)
        path = input_meta_graph or input_graph
        frozen = _freeze_checkpoint(
            meta_graph, path, names, input_checkpoint, input_binary, trust, **options
        )
    if spec is not None and input_graph:
        graph_files.add_spec(frozen, spec)
    folder, name = os.path.split(output_graph)
    checksums.forget(folder, [name])
    graph_files.write_graph(frozen, output_graph)
    return frozen


def _freeze_saved_model(
    folder: str,
    names: Sequence[str],
    trust: bool,
    saved_model_tags: str = "serve",
    variable_names_whitelist: str = "",
    variable_names_denylist: str = "",
    **_: Any,
) -> tf.GraphDef:
    meta_graph = meta_graphs.read_saved_model(folder, _split(saved_model_tags))
    _check_names(meta_graph.graph_def, names, folder)
    with tf.Session(graph=tf.Graph()) as session:
        wanted = [*names, *_list_reads(meta_graph.graph_def)]
        graph_def = meta_graphs.load(session, folder, meta_graph, wanted, trust)
        with _naming(folder):
            return tf.graph_util.convert_variables_to_constants(
                session,
                graph_def,
                names,
                _split(variable_names_whitelist) or None,
                _split(variable_names_denylist) or None,
            )


def _freeze_checkpoint(
    meta_graph: tf.MetaGraphDef,
    path: str,
    names: Sequence[str],
    checkpoint_path: str,
    is_binary: bool,
    trust: bool,
    input_saver: str = "",
    initializer_nodes: str = "",
    clear_devices: bool = True,
    **options: Any,
) -> tf.GraphDef:
    """Freezes a graph, or a MetaGraphDef with its saver, with TensorFlow's function."""
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.python.tools import freeze_graph as tf_freeze_graph

    graph_def, saver = meta_graph.graph_def, meta_graph.saver_def
    _check_names(graph_def, [*names, *_split(initializer_nodes)], path)
    if input_saver:
        graph_files.parse_file(input_saver, saver, is_binary)
    wanted = [*names, *_split(initializer_nodes), *_list_reads(graph_def)]
    restore = [saver.restore_op_name] if saver.restore_op_name else []
    with _naming(path):
        parts = [
            subgraphs.extract(graph_def, part)
            for part in (wanted, restore, [*wanted, *restore])
        ]
    if not trust:
        graph_guard.check(parts[0], path)
        graph_guard.check_reading(parts[1], [saver.filename_tensor_name], path)
    is_meta_graph = restore and not input_saver
    restored = tf.MetaGraphDef(graph_def=parts[2], saver_def=saver)
    with _naming(path), tf.Graph().as_default():
        return tf_freeze_graph.freeze_graph_with_def_protos(
            input_graph_def=None if is_meta_graph else parts[2],
            input_meta_graph_def=restored if is_meta_graph else None,
            input_saver_def=saver if input_saver else None,
            input_checkpoint=checkpoint_path,
            output_node_names=",".join(names),
            output_graph="",
            clear_devices=clear_devices,
            initializer_nodes=initializer_nodes,
            restore_op_name=None,
            filename_tensor_name=None,
            variable_names_whitelist=options.get("variable_names_whitelist", ""),
            variable_names_denylist=options.get("variable_names_denylist", ""),
            checkpoint_version=options.get("checkpoint_version", 2),
        )


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Turns TensorFlow's errors into a ValueError that names the graph."""
    try:
        yield
    except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        reason = getattr(error, "message", str(error)).strip().split("\n")[0]
        raise ValueError(
            f"The graph {path!r} cannot be frozen: {reason.rstrip('.')}."
        ) from error


def _list_reads(graph_def: tf.GraphDef) -> list[str]:
    """Returns the nodes by which TensorFlow's function reads resource variables."""
    names = {node.name for node in graph_def.node}
    handles = [node.name for node in graph_def.node if node.op == "VarHandleOp"]
    return [read for n in handles if (read := f"{n}/Read/ReadVariableOp") in names]


def _split(names: str) -> list[str]:
    return [name for name in names.replace(" ", "").split(",") if name]


def _check_names(graph_def: tf.GraphDef, names: Sequence[str], path: str) -> None:
    """Raises ValueError unless there are nodes to freeze, and they exist."""
    if not names:
        raise ValueError(
            f"Give the nodes of {path!r} to keep: --output_node_names=Predictions."
        )
    graph_files.check_nodes(graph_def, names, path)


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
    sizes = graph_files.find_input_size(graph_def)
    if sizes and set(sizes) != {spec.image_size}:
        raise ValueError(
            f"The graph {path!r} takes images of {sizes[0]} pixels, but the run was "
            f"trained with {spec.image_size}: {remedy}."
        )
    own = graph_files.find_spec(graph_def) or ModelSpec(
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
        graph_files.parse_file(input_saver, tf.train.SaverDef(), is_binary)
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
    if not graph_files.has_variables(graph_def):
        raise ValueError(f"The graph {path!r} has no variables: it is already frozen.")
    for node in graph_def.node:
        if node.op not in graph_files.VARIABLE_OPS:
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
