"""A frozen graph as a classifier: found its input and output, run on batches."""

import difflib

import numpy as np
from google.protobuf.message import DecodeError

from deployment import training
from deployment.exporting import INPUT_NAME
from deployment.model_deploy import DeploymentConfig
from tf_slim_compat import tf

_SHAPE_OPS = {"Identity", "Reshape", "Squeeze"}


class FrozenClassifier:
    """A frozen graph that turns preprocessed images into probabilities.

    Attributes:
      image_size: (height, width) of the images that it takes, in pixels; None where
        the graph leaves them open.
      channels: 1 for grey images, 3 for colour.
      scopes: the first parts of its nodes' names, which tell the network.

    Args:
      path: a binary GraphDef with its weights, as freeze_graph.py writes it.
      output_node: the node of the probabilities or logits; None finds it.

    Raises:
      ValueError: if the file cannot be read, is no frozen graph, or lacks the node.
    """

    def __init__(self, path, output_node=None):
        graph_def = load_graph_def(path)
        self._graph = tf.Graph()
        with self._graph.as_default():
            try:
                tf.import_graph_def(graph_def, name="")
            except ValueError as error:
                raise ValueError(f"{path!r} is no usable graph: {error}.") from error
        self._input = _find_input(self._graph, path)
        self._output = _find_output(self._graph, self._input, output_node, path)
        if self._output.dtype != tf.float32:
            raise ValueError(
                f"The node {self._output.op.name!r} of {path!r} holds "
                f"{self._output.dtype.name}, not the scores of classes."
            )
        self.scopes = sorted({node.name.split("/")[0] for node in graph_def.node})
        shape = self._input.shape.as_list()
        self.image_size, self.channels = tuple(shape[1:3]), shape[3] or 3
        self._batch_size = shape[0]
        self._is_softmax = _comes_from_softmax(self._output.op)
        cpu = DeploymentConfig(clone_on_cpu=not tf.config.list_physical_devices("GPU"))
        self._session = tf.Session(
            graph=self._graph, config=training.build_session_config(cpu)
        )

    def classify(self, images):
        """The probabilities of the classes.

        Args:
          images: float32, shape [n, height, width, channels], preprocessed.

        Returns:
          float32, shape [n, num_classes].
        """
        count = len(images)
        if self._batch_size and count != self._batch_size:
            # A graph of fixed batch size: filled up, and cut again.
            if count > self._batch_size:
                raise ValueError(
                    f"This graph takes {self._batch_size} image(s) at a time, "
                    f"but was given {count}."
                )
            images = np.resize(images, (self._batch_size, *images.shape[1:]))
        scores = self._session.run(self._output, {self._input: images})[:count]
        scores = scores.reshape(len(scores), -1)
        return scores if self._is_softmax else _softmax(scores)

    @property
    def max_batch_size(self):
        """How many images `classify` takes at most; None if there is no limit."""
        return self._batch_size


def load_graph_def(path):
    """The GraphDef in a binary file.

    Raises:
      ValueError: if the file is missing or something else.
    """
    if not tf.gfile.Exists(path) or tf.gfile.IsDirectory(path):
        raise ValueError(f"There is no graph file {path!r}.")
    graph_def = tf.GraphDef()
    try:
        with tf.gfile.Open(path, "rb") as file:
            graph_def.ParseFromString(file.read())
    except DecodeError as error:
        raise ValueError(
            f"{path!r} is no binary GraphDef, or was cut short: give the file that "
            "freeze_graph.py wrote."
        ) from error
    if not graph_def.node:
        raise ValueError(f"The graph {path!r} is empty.")
    return graph_def


def _find_input(graph, path):
    placeholders = [op for op in graph.get_operations() if op.type == "Placeholder"]
    named = [op for op in placeholders if op.name == INPUT_NAME]
    chosen = named or placeholders
    if len(chosen) != 1:
        names = ", ".join(op.name for op in placeholders) or "none"
        raise ValueError(
            f"{path!r} should have one placeholder for images, named {INPUT_NAME!r}; "
            f"its placeholders: {names}."
        )
    tensor = chosen[0].outputs[0]
    if tensor.shape.rank != 4:
        raise ValueError(
            f"The input {tensor.name!r} of {path!r} has the shape {tensor.shape}; "
            "images need [batch, height, width, channels]."
        )
    return tensor


def _find_output(graph, input_tensor, output_node, path):
    if output_node:
        try:
            return graph.get_operation_by_name(output_node).outputs[0]
        except KeyError:
            names = [op.name for op in graph.get_operations()]
            near = difflib.get_close_matches(output_node, names, n=3, cutoff=0.4)
            raise ValueError(
                f"{path!r} has no node {output_node!r}; the nearest: {', '.join(near)}."
            ) from None
    operations = graph.get_operations()
    ends = [
        op
        for op in operations
        if op.outputs
        and op is not input_tensor.op
        and not any(tensor.consumers() for tensor in op.outputs)
    ]
    predictions = [op for op in ends if "Predictions" in op.name] or ends
    if len(predictions) != 1:
        names = ", ".join(op.name for op in ends) or "none"
        raise ValueError(
            f"{path!r} has no single output: choose with --output_node one of {names}."
        )
    if any("Variable" in op.type or "VarHandle" in op.type for op in operations):
        raise ValueError(
            f"{path!r} is not frozen: it holds variables without their values. Put a "
            "checkpoint into it with freeze_graph.py."
        )
    return predictions[0].outputs[0]


def _comes_from_softmax(op):
    while op.type in _SHAPE_OPS:
        op = op.inputs[0].op
    return op.type == "Softmax"


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
