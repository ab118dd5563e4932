"""Models as classifiers: found their input and output, run on batches of pictures.

    with FrozenClassifier("frozen.pb") as classifier:
        probabilities = classifier.classify(images)

Other kinds are `CheckpointClassifier`, and those that `opening.open_model` opens;
which one a file needs, `model_files.find_kind` says.
"""

import numpy as np

from deployment import model_deploy
from deployment.model_deploy import DeploymentConfig
from deployment.models import checkpoints, graph_files
from tf_slim_compat import slim, tf

_SHAPE_OPS = {"Identity", "Reshape", "Squeeze"}
_CALL_OPS = {"PartitionedCall", "StatefulPartitionedCall", "StatelessPartitionedCall"}
_SUM_TOLERANCE = 1e-3


class Classifier:
    """A model that turns pictures into the probabilities of classes.

    Close it, or use it in a `with` statement.

    Attributes:
      takes_files: whether it takes encoded JPEG and PNG files, string [n]; otherwise
        preprocessed images, float32 [n, height, width, channels].
      image_size: (height, width) of the images that it takes, in pixels; None where
        the model leaves them open.
      channels: 1 for grey images, 3 for colour.
      batch_size: how many images it takes at a time; None for any number. `classify`
        takes any number all the same.
      scopes: the first parts of its nodes' names, which tell the network.
      class_names: the names of its outputs, a tuple; None where it knows none.
    """

    takes_files = False
    image_size = (None, None)
    channels = 3
    batch_size = None
    scopes = ()
    class_names = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Frees what the model holds; it cannot be used any more."""

    def classify(self, inputs):
        """The probabilities of the classes.

        Args:
          inputs: see `takes_files`.

        Returns:
          float32, shape [n, num_classes].
        """
        size = self.batch_size or len(inputs)
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            # A model of fixed batch size: filled up, and cut again.
            full = np.resize(part, (size, *part.shape[1:]))
            scores = self._score(full if len(part) < size else part)
            parts.append(self._normalize(scores.reshape(size, -1)[: len(part)]))
        return np.concatenate(parts)

    def classify_all(self, build_batches):
        """Yields `(index, probabilities)` for every image.

        Args:
          build_batches: adds the input to a graph and returns a `tf.data.Dataset` of
            (inputs, indices).
        """
        with tf.Graph().as_default(), tf.Session() as session:
            iterator = tf.data.make_initializable_iterator(build_batches())
            next_batch = iterator.get_next()
            session.run(iterator.initializer)
            while True:
                try:
                    inputs, indices = session.run(next_batch)
                except tf.errors.OutOfRangeError:
                    return
                yield from zip(indices, self.classify(inputs), strict=True)

    def _score(self, inputs):
        """Probabilities or logits, [n, ..., num_classes] or all in a row."""
        raise NotImplementedError

    def _normalize(self, scores):
        """Probabilities, float32 [n, num_classes], of scores [n, ..., num_classes]."""
        scores = np.asarray(scores, np.float32).reshape(len(scores), -1)
        return scores if self._is_normalized(scores) else _softmax(scores)

    def _is_normalized(self, scores):
        """Whether scores are probabilities already, not logits."""
        return are_probabilities(scores)


class GraphClassifier(Classifier):
    """A classifier that is a graph of TensorFlow with a session.

    Args:
      session: a `tf.Session` in which all variables have values.
      input_tensor: takes the images.
      output_tensor: floating point, the scores.
    """

    def __init__(self, session, input_tensor, output_tensor):
        self._session = session
        self._input, self._output = input_tensor, output_tensor
        names = (op.name for op in session.graph.get_operations())
        self.scopes = sorted({name.split("/")[0] for name in names})
        if input_tensor.shape.rank == 4:
            shape = input_tensor.shape.as_list()
            self.image_size, self.channels = tuple(shape[1:3]), shape[3] or 3
            self.batch_size = shape[0]
        self._softmax = _comes_from_softmax(output_tensor.op)

    def close(self):
        self._session.close()

    def _score(self, inputs):
        return self._session.run(self._output, {self._input: inputs})

    def _is_normalized(self, scores):
        return are_probabilities(scores) if self._softmax is None else self._softmax


class FrozenClassifier(GraphClassifier):
    """A frozen graph as a `Classifier`.

    Args:
      path: a binary GraphDef with its weights, as freeze_graph.py writes it.
      output_node: the node of the probabilities or logits; None finds it.

    Raises:
      ValueError: if the file cannot be read, is no frozen graph, or lacks the node.
    """

    def __init__(self, path, output_node=None):
        graph_def = graph_files.load_graph_def(path)
        if graph_files.has_variables(graph_def):
            raise ValueError(
                f"{path!r} is not frozen: it has variables without values. Put a "
                "checkpoint into it with freeze_graph.py."
            )
        with tf.Graph().as_default() as graph:
            try:
                tf.import_graph_def(graph_def, name="")
            except ValueError as error:
                raise ValueError(f"{path!r} is no usable graph: {error}.") from error
        output = _find_output(graph, output_node, path)
        check_output(output, path)
        super().__init__(build_session(graph), _find_input(graph, path), output)


class CheckpointClassifier(GraphClassifier):
    """A network with the weights of a checkpoint as a `Classifier`.

    Args:
      path: a checkpoint's prefix, one of its files, or a folder, of which the newest
        is taken.
      get_network_fn: called with a number of classes; returns a function that adds
        the network to the graph: float32 images to `(logits, end_points)`, for
        evaluation.
      num_classes: how many classes have names. The checkpoint may have one more or
        one less, the background.
      image_shape: (height, width, channels) of the images. The checkpoint may be for
        grey images, of one channel, all the same.
      moving_average_decay: given where training kept moving averages of the weights:
        they are used.

    Raises:
      ValueError: if there is no such checkpoint, or it does not fit the network.
    """

    def __init__(
        self, path, get_network_fn, num_classes, image_shape, moving_average_decay=None
    ):
        decay = moving_average_decay
        path = checkpoints.get_checkpoint_path(path)
        checkpoints.open_checkpoint(path)
        if not checkpoints.is_complete(path):
            raise ValueError(
                f"The checkpoint {path!r} is not whole, as if it had been copied in "
                "part: copy it again, or give another one."
            )
        fitted, built = _fit(path, get_network_fn, num_classes, image_shape, decay)
        if fitted.misshapen:
            guess = _guess_shape(fitted, num_classes, image_shape)
            other, others_built = _fit(path, get_network_fn, *guess, decay)
            if not other.misshapen:
                fitted, built = other, others_built
        checkpoints.check_fit(
            fitted,
            "Give the --model_name, the --label_path and the --moving_average_decay "
            "of its training.",
        )
        restore_fn, images, probabilities = built
        session = build_session(images.graph)
        restore_fn(session)
        super().__init__(session, images, probabilities)


def name_classes(labels_to_names, num_classes):
    """The names of a model's outputs, a tuple.

    Args:
      labels_to_names: a dict from label to name; None names classes by number. It may
        lack one class, the background, or have one more: then all are shifted by one.
      num_classes: how many outputs there are.

    Raises:
      ValueError: if the numbers of names and classes differ by more than one.
    """
    names = labels_to_names or {}
    shift = len(names) - num_classes if names else 0
    if abs(shift) > 1:
        raise ValueError(
            f"The model tells {num_classes} classes apart, but there are names for "
            f"{len(names)}: give with --label_path those of the training data."
        )
    return tuple(names.get(i + shift, f"class {i}") for i in range(num_classes))


def build_session(graph):
    """A session for inference on this machine."""
    deployment = DeploymentConfig(
        clone_on_cpu=not tf.config.list_physical_devices("GPU")
    )
    config = model_deploy.build_session_config(deployment)
    return tf.Session(graph=graph, config=config)


def check_output(tensor, path):
    """Raises ValueError if a tensor cannot hold the scores of classes."""
    if not tensor.dtype.is_floating:
        raise ValueError(
            f"The node {tensor.op.name!r} of {path!r} holds {tensor.dtype.name}, not "
            "the scores of classes."
        )


def are_probabilities(scores, tolerance=_SUM_TOLERANCE):
    """Whether rows of scores, shape [n, num_classes], are not negative and sum to 1."""
    sums = scores.sum(axis=1)
    return bool(scores.min() >= 0 and np.abs(sums - 1).max() <= tolerance)


def _find_input(graph, path):
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


def _find_output(graph, output_node, path):
    graph_def = graph.as_graph_def()
    if output_node:
        graph_files.check_nodes(graph_def, [output_node], path)
        return graph.get_operation_by_name(output_node).outputs[0]
    names = graph_files.find_outputs(graph_def)
    if len(names) != 1:
        raise ValueError(
            f"{path!r} has no single output: choose with --output_node one of "
            f"{', '.join(names[:8])}."
        )
    return graph.get_operation_by_name(names[0]).outputs[0]


def _get_variables(moving_average_decay):
    variables = slim.get_model_variables()
    if moving_average_decay:
        averages = tf.train.ExponentialMovingAverage(moving_average_decay)
        return averages.variables_to_restore(variables)
    return variables


def _fit(path, get_network_fn, num_classes, image_shape, moving_average_decay):
    """A `checkpoints.Fit`, and (restore_fn, images, probabilities) of a new graph."""
    with tf.Graph().as_default():
        images = tf.placeholder(
            tf.float32, [None, *image_shape], graph_files.INPUT_NAME
        )
        logits, _ = get_network_fn(num_classes)(images)
        fitted = checkpoints.fit(path, _get_variables(moving_average_decay))
        restore_fn = checkpoints.build_restore_fn(fitted)
        return fitted, (restore_fn, images, tf.nn.softmax(logits))


def _guess_shape(fitted, num_classes, image_shape):
    """(num_classes, image_shape) that a checkpoint might be for instead."""
    for _, ours, theirs in fitted.misshapen:
        if len(ours) == len(theirs) == 4 and (ours[2], theirs[2]) == (3, 1):
            image_shape = (*image_shape[:2], 1)
        if theirs and ours[-1] == num_classes and abs(theirs[-1] - ours[-1]) == 1:
            num_classes = theirs[-1]
    return num_classes, image_shape


def _comes_from_softmax(op):
    """Whether an operation gives probabilities; None where the graph does not tell."""
    while op.type in _SHAPE_OPS:
        op = op.inputs[0].op
    return None if op.type in _CALL_OPS else op.type == "Softmax"


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
