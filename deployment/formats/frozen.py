"""Frozen graphs: a binary GraphDef whose variables are constants.

The input is the placeholder `input`, preprocessed images: float32 [n, height, width,
channels]. The outputs keep the names that the network gives its logits and predictions,
such as `MobilenetV1/Predictions/Reshape_1`; scores that the network does not compute
itself are the node `scores`. The specification is the constant `model_spec`.
"""

from deployment import files
from deployment.formats import base
from deployment.formats.freezing import FrozenModel
from deployment.models import graph_files, graph_guard, subgraphs
from deployment.models.spec import ModelSpec
from deployment.predict import predictor
from tf_slim_compat import tf


class FrozenPredictor(predictor.GraphPredictor):
    """A frozen graph as a `Predictor`.

    Args:
      path: a binary GraphDef with its weights, as freeze_graph.py writes it.
      output: node of the scores or logits; None finds it.
      spec: the model's specification, if the graph contains none.
      trust: whether the graph may do more than compute.

    Raises:
      ValueError: if the file cannot be read, is not a frozen graph, or lacks the node.
    """

    def __init__(
        self,
        path: str,
        output: str | None = None,
        spec: ModelSpec | None = None,
        trust: bool = False,
    ):
        graph_def = graph_files.load_graph_def(path)
        if graph_files.has_variables(graph_def):
            raise ValueError(
                f"{path!r} is not frozen: its variables have no values. Freeze it with "
                "a checkpoint: see freeze_graph.py."
            )
        name = _find_output(graph_def, output, path)
        graph = _import_graph(graph_def, name, path, trust)
        scores = graph.get_operation_by_name(name).outputs[0]
        if not scores.dtype.is_floating:
            raise ValueError(
                f"The node {name!r} of {path!r} is {scores.dtype.name}; scores are "
                "floating point."
            )
        images = _find_input(graph, path)
        spec = graph_files.find_spec(graph_def) or spec
        super().__init__(predictor.load_frozen(images, scores), spec)


def write(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes a frozen graph."""
    del options
    graph_def = tf.GraphDef()
    graph_def.CopyFrom(model.graph_def)
    graph_files.add_spec(graph_def, model.spec)
    files.write_bytes(path, graph_def.SerializeToString(deterministic=True))


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes any file; other types are asked first."""
    del head
    return path if tf.gfile.Exists(path) else None


def _import_graph(
    graph_def: tf.GraphDef, output: str, path: str, trust: bool
) -> tf.Graph:
    """Imports what an output depends on, once it is known to be safe."""
    invalid = f"{path!r} is not a valid graph"
    try:
        graph_def = subgraphs.extract(graph_def, [output])
    except ValueError as error:
        raise ValueError(f"{invalid}: {error}.") from error
    if not trust:
        graph_guard.check(graph_def, path)
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(graph_def, name="")
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            reason = getattr(error, "message", str(error)).split("\n")[0].rstrip(".")
            raise ValueError(f"{invalid}: {reason}.") from error
    return graph


def _find_input(graph: tf.Graph, path: str) -> tf.Tensor:
    placeholders = [op for op in graph.get_operations() if op.type == "Placeholder"]
    named = [op for op in placeholders if op.name == graph_files.INPUT_NAME]
    chosen = named or placeholders
    if len(chosen) != 1:
        names = ", ".join(op.name for op in placeholders) or "none"
        raise ValueError(
            f"{path!r} should have one placeholder for images, named "
            f"{graph_files.INPUT_NAME!r}; its placeholders: {names}."
        )
    tensor = chosen[0].outputs[0]
    if tensor.shape.rank != 4:
        raise ValueError(
            f"The input {tensor.name!r} of {path!r} has the shape {tensor.shape}; "
            "images need [batch, height, width, channels]."
        )
    return tensor


def _find_output(graph_def: tf.GraphDef, output: str | None, path: str) -> str:
    if output:
        graph_files.check_nodes(graph_def, [output], path)
        return output
    return base.choose_output(None, graph_files.find_outputs(graph_def)[:8], path)


FILE_TYPE = base.FileType(
    name="frozen graph",
    recognize=recognize,
    open_predictor=lambda path, output, _, spec, trust: FrozenPredictor(
        path, output, spec, trust
    ),
    is_guarded=True,
    endings=(".pb",),
    formats=(base.Format("frozen", "frozen_graph.pb", write, runs_in_tensorflow=True),),
)
