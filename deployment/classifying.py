"""A frozen graph as a classifier: found its input and output, run on batches."""

import numpy as np

from deployment import exporting, training
from deployment.model_deploy import DeploymentConfig
from tf_slim_compat import tf

_SHAPE_OPS = {"Identity", "Reshape", "Squeeze"}


class FrozenClassifier:
    """A frozen graph that turns preprocessed images into probabilities.

    Attributes:
      image_size: (height, width) of the images that it takes, in pixels; None where
        the graph leaves them open.
      channels: 1 for grey images, 3 for colour.
      batch_size: how many images it takes at a time; None for any number.
      scopes: the first parts of its nodes' names, which tell the network.

    Args:
      path: a binary GraphDef with its weights, as freeze_graph.py writes it.
      output_node: the node of the probabilities or logits; None finds it.

    Raises:
      ValueError: if the file cannot be read, is no frozen graph, or lacks the node.
    """

    def __init__(self, path, output_node=None):
        graph_def = exporting.load_graph_def(path)
        if exporting.has_variables(graph_def):
            raise ValueError(
                f"{path!r} is not frozen: it has variables without values. Put a "
                "checkpoint into it with freeze_graph.py."
            )
        self._graph = tf.Graph()
        with self._graph.as_default():
            try:
                tf.import_graph_def(graph_def, name="")
            except ValueError as error:
                raise ValueError(f"{path!r} is no usable graph: {error}.") from error
        self._input = _find_input(self._graph, path)
        self._output = _find_output(self._graph, output_node, path)
        if self._output.dtype != tf.float32:
            raise ValueError(
                f"The node {self._output.op.name!r} of {path!r} holds "
                f"{self._output.dtype.name}, not the scores of classes."
            )
        self.scopes = sorted({node.name.split("/")[0] for node in graph_def.node})
        shape = self._input.shape.as_list()
        self.image_size, self.channels = tuple(shape[1:3]), shape[3] or 3
        self.batch_size = shape[0]
        self._is_softmax = _comes_from_softmax(self._output.op)
        cpu = DeploymentConfig(clone_on_cpu=not tf.config.list_physical_devices("GPU"))
        self._session = tf.Session(
            graph=self._graph, config=training.build_session_config(cpu)
        )

    def classify(self, images):
        """The probabilities of the classes.

        Args:
          images: float32, shape [n, height, width, channels], preprocessed; n is at
            most `batch_size`, where that is not None.

        Returns:
          float32, shape [n, num_classes].
        """
        count = len(images)
        if self.batch_size:  # A graph of fixed batch size: filled up, and cut again.
            images = np.resize(images, (self.batch_size, *images.shape[1:]))
        scores = self._session.run(self._output, {self._input: images})[:count]
        scores = scores.reshape(count, -1)
        return scores if self._is_softmax else _softmax(scores)

    def classify_all(self, build_batches):
        """Yields `(index, probabilities)` for every image.

        Args:
          build_batches: adds the input to a graph and returns a `tf.data.Dataset` of
            (images, indices).
        """
        with tf.Graph().as_default(), tf.Session() as session:
            iterator = tf.data.make_initializable_iterator(build_batches())
            next_batch = iterator.get_next()
            session.run(iterator.initializer)
            while True:
                try:
                    images, indices = session.run(next_batch)
                except tf.errors.OutOfRangeError:
                    return
                yield from zip(indices, self.classify(images), strict=True)


def name_best(probabilities, labels_to_names, count):
    """The best classes as a list of (probability, name), best first.

    Args:
      probabilities: float32, shape [num_classes].
      labels_to_names: a dict from label to name; None names classes by number. It may
        lack one class, the background, or have one more: then all are shifted by one.
      count: how many classes at most.

    Raises:
      ValueError: if the numbers of names and classes differ by more than one.
    """
    num_classes = len(probabilities)
    shift = 0
    if labels_to_names:
        shift = len(labels_to_names) - num_classes
        if abs(shift) > 1:
            raise ValueError(
                f"The graph tells {num_classes} classes apart, but the label file "
                f"names {len(labels_to_names)}: give that of the training data."
            )
    names = labels_to_names or {}
    return [
        (float(probabilities[i]), names.get(int(i) + shift, f"class {i}"))
        for i in np.argsort(-probabilities)[:count]
    ]


def _find_input(graph, path):
    placeholders = [op for op in graph.get_operations() if op.type == "Placeholder"]
    named = [op for op in placeholders if op.name == exporting.INPUT_NAME]
    chosen = named or placeholders
    if len(chosen) != 1:
        names = ", ".join(op.name for op in placeholders) or "none"
        raise ValueError(
            f"{path!r} should have one placeholder for images, named "
            f"{exporting.INPUT_NAME!r}; its placeholders: {names}."
        )
    tensor = chosen[0].outputs[0]
    if tensor.shape.rank != 4:
        raise ValueError(
            f"The input {tensor.name!r} of {path!r} has the shape {tensor.shape}; "
            "images need [batch, height, width, channels]."
        )
    return tensor


def _find_output(graph, output_node, path):
    graph_def = graph.as_graph_def()
    if output_node:
        exporting.check_nodes(graph_def, [output_node], path)
        return graph.get_operation_by_name(output_node).outputs[0]
    names = exporting.find_outputs(graph_def)
    if len(names) != 1:
        raise ValueError(
            f"{path!r} has no single output: choose with --output_node one of "
            f"{', '.join(names[:8])}."
        )
    return graph.get_operation_by_name(names[0]).outputs[0]


def _comes_from_softmax(op):
    while op.type in _SHAPE_OPS:
        op = op.inputs[0].op
    return op.type == "Softmax"


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
