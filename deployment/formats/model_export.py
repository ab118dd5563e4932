"""A checkpoint as files to ship: frozen graph, SavedModel, TFLite and ONNX.

Each has the network for inference, with batch normalization folded into the
convolutions, and the weights' moving averages where training kept them.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable

import numpy as np
from absl import logging

from deployment import files
from deployment.formats import (
    graph_folding,
    onnx_export,
    saved_model_export,
    tflite_export,
)
from deployment.models import checkpoints, graph_files
from tf_slim_compat import slim, tf

LABELS_NAME = "labels.txt"
# Formats, and what they are called in the folder.
FILE_NAMES = {
    "frozen": "frozen_graph.pb",
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "onnx": "model.onnx",
}
_VARIABLE_OPS = {"Variable", "VariableV2"}


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What a checkpoint is of.

    Attributes:
      network_fn: adds the network for inference: float32 images to
        `(logits, end_points)`.
      preprocessing_fn: prepares one picture as evaluation does: called as
        `fn(image, height, width)` with a uint8 [height, width, channels] image.
      image_size: height and width of the images, in pixels.
      use_grayscale: whether images have one channel.
      class_names: the names of the network's outputs; None names them by number.
      moving_average_decay: given where training kept moving averages of the weights:
        they are exported.
    """

    network_fn: Callable
    preprocessing_fn: Callable
    image_size: int
    use_grayscale: bool = False
    class_names: tuple | None = None
    moving_average_decay: float | None = None


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """A network with its weights, folded.

    Attributes:
      graph_def: a `tf.GraphDef` that reads a placeholder named 'input'.
      image_shape: (height, width, channels) of the images.
      picture_channels: 1 where pictures are decoded as grey, 3 as colour.
      logits: the name of a tensor, float [n, ..., num_classes].
      predictions: the same for the probabilities, None if the network has none.
      class_names: the names of the outputs, a tuple.
      path: the checkpoint's prefix.
    """

    graph_def: tf.GraphDef
    image_shape: tuple
    picture_channels: int
    logits: str
    predictions: str | None
    class_names: tuple
    path: str

    def build(self, images, name=""):
        """Adds the network to the default graph, below the name scope `name`.

        Args:
          images: float32 [n, height, width, channels]. Where the graph has the
            network's weights already, they are shared.

        Returns:
          `(logits, probabilities)`, float32 [n, num_classes].
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
        wanted = [self.logits, self.predictions or self.logits]
        tensors = tf.import_graph_def(rest, given, wanted, name=name)
        shape = [-1, len(self.class_names)]
        logits, predictions = (
            t if t.shape.rank == 2 else tf.reshape(t, shape) for t in tensors
        )
        return logits, predictions if self.predictions else tf.nn.softmax(predictions)

    def build_graph(self, batch_size=None):
        """The network from its input to probabilities as a graph of its own.

        Args:
          batch_size: of the input; None for any.

        Returns:
          `(graph, images, probabilities)`: a `tf.Graph` and two tensors in it.
        """
        with tf.Graph().as_default() as graph:
            images = tf.placeholder(
                tf.float32, [batch_size, *self.image_shape], graph_files.INPUT_NAME
            )
            _, probabilities = self.build(images)
        return graph, images, probabilities


def freeze(config, checkpoint_path):
    """The folded network of a checkpoint.

    Args:
      config: an `ExportConfig`.
      checkpoint_path: a checkpoint, or a folder, of which the newest is taken.

    Returns:
      A `FrozenModel`.

    Raises:
      ValueError: if there is no checkpoint, or it does not fit the network.
    """
    path = checkpoints.get_checkpoint_path(checkpoint_path)
    if config.moving_average_decay:
        _check_averages(path)
    # Preprocessing keeps the one channel of grey pictures where the network is for
    # such, and only the weights tell.
    first = None
    for channels in (1,) if config.use_grayscale else (3, 1):
        graph, logits, predictions = _build_network(config, channels)
        outputs = [t.op.name for t in (logits, predictions) if t is not None]
        graph_def = graph_folding.prune(graph.as_graph_def(), outputs)
        fitted = _fit(path, graph, graph_def, config.moving_average_decay)
        first = first or fitted
        if not fitted.misshapen:
            break
    checkpoints.check_fit(
        first if fitted.misshapen else fitted,
        "Give the --model_name, classes (--num_classes) and --moving_average_decay "
        "that the network was trained with.",
    )
    _set_weights(graph_def, fitted)
    return FrozenModel(
        graph_def=graph_folding.optimize(graph_def, outputs),
        image_shape=(config.image_size, config.image_size, channels),
        picture_channels=3 if config.use_grayscale else channels,
        logits=logits.name,
        predictions=None if predictions is None else predictions.name,
        class_names=_name_classes(config.class_names, logits),
        path=path,
    )


def export_checkpoint(config, checkpoint_path, output_dir):
    """Writes frozen graph, SavedModel and labels: the whole folder, or nothing.

    Args:
      config: an `ExportConfig`.
      checkpoint_path: a checkpoint, or a folder, of which the newest is taken.
      output_dir: the folder; an older export in it is replaced.

    Raises:
      ValueError: if there is no checkpoint, or it does not fit the network.
      OSError: if the folder cannot be written.
    """
    model = freeze(config, checkpoint_path)
    with _replacing_folder(output_dir) as partial:
        export(model, partial, ("frozen", "saved_model"), config.preprocessing_fn)


def export(model, output_dir, formats, preprocessing_fn, calibration_images=None):
    """Writes a model in some formats, each file whole or not at all, and the labels.

    Args:
      model: a `FrozenModel`.
      output_dir: the folder; it is made if there is none.
      formats: keys of FILE_NAMES.
      preprocessing_fn: see `ExportConfig`.
      calibration_images: float32 [n, height, width, channels], preprocessed real
        images, for tflite_int8.

    Returns:
      A dict from the formats to paths.

    Raises:
      ValueError: if a format is unknown, the network cannot be had in it, or onnx is
        asked for without the packages that it needs.
      OSError: if the folder cannot be written.
    """
    check_formats(formats)
    files.make_folder(output_dir)
    paths = {}
    for name in formats:
        paths[name] = os.path.join(output_dir, FILE_NAMES[name])
        if name == "frozen":
            graph_files.write_graph(model.graph_def, paths[name])
        elif name == "saved_model":
            with _replacing_folder(paths[name]) as partial:
                saved_model_export.write(model, partial, preprocessing_fn)
        elif name == "onnx":
            _write_bytes(paths[name], onnx_export.convert(model))
        else:
            content = tflite_export.convert(model, name, calibration_images)
            _write_bytes(paths[name], content)
        logging.info("Wrote %s.", paths[name])
    lines = (f"{i}:{name}\n" for i, name in enumerate(model.class_names))
    files.write_text(os.path.join(output_dir, LABELS_NAME), "".join(lines))
    return paths


def check_formats(formats):
    """Raises ValueError unless all formats are known, and there are some."""
    unknown = [name for name in formats if name not in FILE_NAMES]
    if unknown or not formats:
        what = f"has {unknown[0]!r}" if unknown else "is empty"
        raise ValueError(
            f"--formats {what}: give some of {', '.join(FILE_NAMES)}, separated by "
            "commas."
        )
    if "onnx" in formats:
        onnx_export.check_packages()


def _build_network(config, channels):
    shape = [None, config.image_size, config.image_size, channels]
    # Reference variables: single nodes, which become constants where they stand.
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        images = tf.placeholder(tf.float32, shape, name=graph_files.INPUT_NAME)
        logits, end_points = config.network_fn(images)
    named = {key.lower(): value for key, value in end_points.items()}
    predictions = named.get("predictions")
    if predictions is not None and not predictions.dtype.is_floating:
        predictions = None  # Such as the number of the best class.
    return graph, logits, predictions


def _check_averages(path):
    names = checkpoints.open_checkpoint(path).get_variable_to_shape_map()
    if not any(name.endswith("/ExponentialMovingAverage") for name in names):
        raise ValueError(
            f"The checkpoint {path!r} holds no moving averages of the weights: it was "
            "trained without --moving_average_decay; leave that flag out."
        )


def _fit(path, graph, graph_def, moving_average_decay):
    """How a checkpoint fits the variables that a part of the graph has."""
    names = {node.name for node in graph_def.node if node.op in _VARIABLE_OPS}
    with graph.as_default():
        variables = {v.op.name: v for v in slim.get_model_variables()}
        if moving_average_decay:
            averages = tf.train.ExponentialMovingAverage(moving_average_decay)
            variables = averages.variables_to_restore(list(variables.values()))
        others = {v.op.name: v for v in tf.global_variables()}
    known = {variable.op.name for variable in variables.values()}
    variables |= {name: v for name, v in others.items() if name not in known}
    return checkpoints.fit(
        path, {key: v for key, v in variables.items() if v.op.name in names}
    )


def _set_weights(graph_def, fitted):
    """Puts the checkpoint's values in the place of variables."""
    sources = {variable.op.name: key for key, variable in fitted.restored.items()}
    reader = checkpoints.open_checkpoint(fitted.path)
    for node in graph_def.node:
        if node.op in _VARIABLE_OPS:
            kind = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype
            value = np.asarray(reader.get_tensor(sources[node.name]), kind)
            graph_folding.set_constant(node, value)


def _name_classes(class_names, logits):
    count = logits.shape[-1]
    if class_names is None:
        return tuple(map(str, range(count)))
    if len(class_names) != count:
        raise ValueError(
            f"The network tells {count} classes apart, but there are names for "
            f"{len(class_names)}: give with --label_path and --labels_offset those of "
            "the training data."
        )
    return tuple(class_names)


def _write_bytes(path, content):
    partial = files.partial_path(path)
    try:
        with tf.gfile.Open(partial, "wb") as file:
            file.write(content)
    except tf.errors.OpError as error:
        raise OSError(f"{path!r} cannot be written: {error.message}") from error
    files.rename(partial, path)


@contextlib.contextmanager
def _replacing_folder(path):
    """Yields the path of a folder that takes the place of `path` once it is whole."""
    path = path.rstrip("/")
    partial, old = files.partial_path(path), files.partial_path(f"{path}.old")
    try:
        for leftover in (partial, old):
            if tf.gfile.Exists(leftover):
                tf.gfile.DeleteRecursively(leftover)
        files.make_folder(os.path.dirname(path) or ".")
        yield partial
        if tf.gfile.Exists(path):
            tf.gfile.Rename(path, old)
        tf.gfile.Rename(partial, path)
        if tf.gfile.Exists(old):
            tf.gfile.DeleteRecursively(old)
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0].split(";")[-1].strip()
        raise OSError(f"{path!r} cannot be written: {reason}.") from error
    finally:
        if tf.gfile.Exists(partial):
            tf.gfile.DeleteRecursively(partial)
