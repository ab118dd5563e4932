"""Turns a checkpoint into a frozen model, from which every format is written.

It is the network for inference, with batch normalization folded into the convolutions,
the moving averages of the weights if training kept them, and the activation of the
model's task.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from deployment import tasks
from deployment.models import (
    averages,
    graph_files,
    graph_folding,
    restoring,
    subgraphs,
)
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from deployment.quantize import networks
from tf_slim_compat import slim, tf

_VARIABLE_OPS = {"Variable", "VariableV2"}
# Predictions that networks compute themselves are probabilities of classes.
_TASK_OF_NETWORKS = "classification"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The model whose checkpoint is exported.

    Attributes:
      network_fn: adds the network for inference: float32 images to
        `(logits, end_points)`.
      preprocessing_fn: see `base.ExportOptions`.
      spec: the model's specification; `image_size` is required. Outputs without names
        are named by number. The checkpoint may have one channel instead of three.
    """

    network_fn: Callable
    preprocessing_fn: Callable
    spec: ModelSpec


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """A folded network with its weights.

    Attributes:
      graph_def: a graph that reads a placeholder named 'input'.
      image_shape: (height, width, channels) of the input.
      decoded_channels: channels of images before preprocessing: 1 or 3.
      logits: name of a tensor, float [n, ..., num_outputs].
      scores: the same after the activation of the task.
      spec: the model's specification, with output names.
      path: the checkpoint's prefix.
    """

    graph_def: tf.GraphDef
    image_shape: tuple[int, int, int]
    decoded_channels: int
    logits: str
    scores: str
    spec: ModelSpec
    path: str

    def build(self, images: tf.Tensor, name: str = "") -> tuple[tf.Tensor, tf.Tensor]:
        """Adds the network to the default graph.

        Args:
          images: float32 [n, height, width, channels].
          name: name scope. Weights that the graph already has are shared.

        Returns:
          `(logits, scores)`, float32 [n, num_outputs].
        """
        graph = tf.get_default_graph()
        existing = {op.name for op in graph.get_operations() if op.type == "Const"}
        rest = tf.GraphDef(
            versions=self.graph_def.versions, library=self.graph_def.library
        )
        given = {f"{graph_files.INPUT_NAME}:0": images}
        for node in self.graph_def.node:
            if node.op == "Const" and node.name in existing:
                given[f"{node.name}:0"] = graph.get_tensor_by_name(f"{node.name}:0")
            elif node.name != graph_files.INPUT_NAME:
                rest.node.append(node)
        tensors = tf.import_graph_def(
            rest, given, [self.logits, self.scores], name=name
        )
        logits, scores = (_flatten(t, self.spec.num_outputs) for t in tensors)
        return logits, scores

    def build_graph(
        self, batch_size: int | None = None
    ) -> tuple[tf.Graph, tf.Tensor, tf.Tensor]:
        """Builds a graph of the network alone.

        Args:
          batch_size: fixed batch size; None for a variable one.

        Returns:
          `(graph, images, scores)`.
        """
        with tf.Graph().as_default() as graph:
            images = tf.placeholder(
                tf.float32, [batch_size, *self.image_shape], graph_files.INPUT_NAME
            )
            _, scores = self.build(images)
        return graph, images, scores


def freeze(config: ExportConfig, checkpoint_path: str) -> FrozenModel:
    """Freezes and folds the network of a checkpoint.

    Args:
      config: the model.
      checkpoint_path: a checkpoint, or a folder, of which the newest is used.

    Raises:
      ValueError: if there is no checkpoint, or it does not fit the network.
    """
    checkpoint, spec = Checkpoint(checkpoint_path), config.spec
    if spec.moving_average_decay:
        averages.check_averages(checkpoint)
    # Preprocessing may keep one channel for networks trained on grayscale images; only
    # the weights tell.
    first = None
    for channels in (1,) if spec.use_grayscale else (3, 1):
        graph, logits, scores = _build_network(config, channels)
        outputs = [logits.op.name, scores.op.name]
        graph_def = subgraphs.extract(graph.as_graph_def(), outputs)
        fitted = _fit(checkpoint, graph, graph_def, spec.moving_average_decay)
        first = first or fitted
        if not fitted.misshapen:
            break
    restoring.check_fit(
        first if fitted.misshapen else fitted,
        "Give the --model_name, classes (--num_classes) and --moving_average_decay "
        "of the training run.",
    )
    _set_weights(graph_def, fitted)
    graph_def = graph_folding.optimize(graph_def, outputs)
    if spec.output_names is None:
        spec = spec.replace(output_names=tuple(map(str, range(spec.num_outputs))))
    return FrozenModel(
        graph_def=graph_def,
        image_shape=(spec.image_size, spec.image_size, channels),
        decoded_channels=3 if spec.use_grayscale else channels,
        logits=logits.name,
        scores=scores.name,
        spec=spec,
        path=checkpoint.path,
    )


def needs_scores(spec: ModelSpec) -> bool:
    """Returns whether the predictions of networks themselves do not fit the task."""
    return spec.task != _TASK_OF_NETWORKS


def add_scores(
    logits: tf.Tensor, end_points: Mapping[str, tf.Tensor], spec: ModelSpec
) -> tf.Tensor:
    """Returns a network's scores, after adding the activation if need be.

    A classifier's own predictions are used; other scores are a node named 'scores'.

    Args:
      logits: float [n, ..., num_outputs].
      end_points: as the network returns them.
      spec: the model's specification.
    """
    if not needs_scores(spec):
        named = {key.lower(): value for key, value in end_points.items()}
        predictions = named.get("predictions")
        # Some networks call the index of the top-1 class predictions.
        if predictions is not None and predictions.dtype.is_floating:
            return predictions
    task = tasks.get_task(spec.task)
    scores = task.build_scores(_flatten(logits, spec.num_outputs), spec)
    return tf.identity(scores, name=graph_files.SCORES_NAME)


def _flatten(tensor: tf.Tensor, num_outputs: int) -> tf.Tensor:
    return tensor if tensor.shape.rank == 2 else tf.reshape(tensor, [-1, num_outputs])


def _build_network(
    config: ExportConfig, channels: int
) -> tuple[tf.Graph, tf.Tensor, tf.Tensor]:
    size = config.spec.image_size
    # Reference variables: single nodes, which are replaced by constants.
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        # Initial values are never used, but deterministic operations want a seed.
        tf.set_random_seed(0)
        images = tf.placeholder(
            tf.float32, [None, size, size, channels], graph_files.INPUT_NAME
        )
        network_fn = networks.in_evaluation(config.network_fn, config.spec)
        logits, end_points = network_fn(images)
        if logits.shape[-1] != config.spec.num_outputs:
            raise ValueError(
                f"The network has {logits.shape[-1]} outputs, but its specification "
                f"{config.spec.num_outputs}: give the outputs of the training run."
            )
        return graph, logits, add_scores(logits, end_points, config.spec)


def _fit(
    checkpoint: Checkpoint,
    graph: tf.Graph,
    graph_def: tf.GraphDef,
    decay: float | None,
) -> restoring.Fit:
    """Compares a checkpoint with the variables in a part of a graph."""
    names = {node.name for node in graph_def.node if node.op in _VARIABLE_OPS}
    with graph.as_default():
        variables = averages.get_variables_to_restore(slim.get_model_variables(), decay)
        others = {v.op.name: v for v in tf.global_variables()}
    known = {variable.op.name for variable in variables.values()}
    variables |= {name: v for name, v in others.items() if name not in known}
    return restoring.fit(
        checkpoint, {key: v for key, v in variables.items() if v.op.name in names}
    )


def _set_weights(graph_def: tf.GraphDef, fitted: restoring.Fit) -> None:
    """Replaces variables by constants with the checkpoint's values, in place."""
    sources = {variable.op.name: key for key, variable in fitted.restored.items()}
    for node in graph_def.node:
        if node.op in _VARIABLE_OPS:
            dtype = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype
            value = np.asarray(fitted.checkpoint.read(sources[node.name]), dtype)
            graph_folding.set_constant(node, value)
