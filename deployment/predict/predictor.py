"""Trained models as predictors: their input and output are found, batches are run.

    with formats.open_predictor("frozen.pb") as predictor:
        scores = predictor.predict(images)

A model file is opened by `formats.open_predictor`; a checkpoint, which needs its
network, by `CheckpointPredictor`.
"""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from deployment import model_deploy, precision, tasks
from deployment.model_deploy import DeploymentConfig
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

FLOAT32 = "float32"
_SHAPE_OPS = {"Identity", "Reshape", "Squeeze"}
_CALL_OPS = {"PartitionedCall", "StatefulPartitionedCall", "StatelessPartitionedCall"}
_SUM_TOLERANCE = 1e-3
# Files of unknown origin are classifiers, and may return logits.
_DEFAULT_TASK = "classification"


class Predictor:
    """A model that turns images into scores.

    Close it, or use it in a `with` statement.

    Attributes:
      takes_files: whether the input is encoded JPEG and PNG files, string [n];
        otherwise preprocessed images, float32 [n, height, width, channels].
      image_size: (height, width) of the input in pixels; None where it is variable.
      channels: 1 for grayscale images, 3 for color.
      batch_size: the model's fixed batch size; None if it is variable. `predict` takes
        any number of images in either case.
      scopes: top-level name scopes of the model's nodes, which identify the network.
      spec: the model's specification; None if unknown.
      precisions: what the model can be computed in on this machine; it is computed in
        float32 unless `reopen` says otherwise.
    """

    takes_files: bool = False
    image_size: tuple[int | None, int | None] = (None, None)
    channels: int = 3
    batch_size: int | None = None
    scopes: tuple[str, ...] = ()
    spec: ModelSpec | None = None
    precisions: tuple[str, ...] = (FLOAT32,)

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the model's resources; it cannot be used afterwards."""

    def reopen(self, name: str) -> "Predictor":
        """Opens the same model in one of its `precisions`; close both."""
        other = copy.copy(self)
        other._start(name)
        return other

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the scores of images.

        Args:
          inputs: see `takes_files`.

        Returns:
          float32 [n, num_outputs], after the activation of the model's task:
          probabilities, or values in the target's unit.
        """
        size = self.batch_size or len(inputs)
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            # A fixed batch is filled up with repetitions, whose scores are dropped.
            full = np.resize(part, (size, *part.shape[1:]))
            scores = self._score(full if len(part) < size else part)
            parts.append(self._activate(scores.reshape(size, -1)[: len(part)]))
        return np.concatenate(parts)

    def predict_all(
        self, build_batches: Callable[[], tf.data.Dataset]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields `(index, scores)` for every image.

        Args:
          build_batches: see `read_batches`.
        """
        for inputs, indices in read_batches(build_batches):
            yield from zip(indices, self.predict(inputs), strict=True)

    def _start(self, name: str) -> None:
        """Loads the model in a precision, leaving what it was loaded in before open."""
        raise NotImplementedError

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        """Returns scores or logits, [n, ..., num_outputs] or flat."""
        raise NotImplementedError

    def _activate(self, scores: np.ndarray) -> np.ndarray:
        """Returns scores, float32 [n, num_outputs]; logits of classes get a softmax."""
        scores = np.asarray(scores, np.float32)
        if self.spec is not None and self.spec.task != _DEFAULT_TASK:
            return scores
        return scores if self._is_normalized(scores) else _softmax(scores)

    def _is_normalized(self, scores: np.ndarray) -> bool:
        """Returns whether the scores of classes are probabilities, not logits."""
        return are_probabilities(scores)


class Loaded(NamedTuple):
    """A model in a session: its images and its scores."""

    session: tf.Session
    images: tf.Tensor
    scores: tf.Tensor


class GraphPredictor(Predictor):
    """A TensorFlow graph in a session as a predictor.

    Args:
      load: called with the configuration of a session; returns a `Loaded` whose
        variables have values and whose scores are floating point.
      spec: the model's specification; None if unknown.
    """

    def __init__(
        self, load: Callable[[tf.ConfigProto], Loaded], spec: ModelSpec | None = None
    ):
        self.spec = spec
        self.precisions = tuple(precision.list_candidates())
        self._load = load
        self._start(FLOAT32)
        images, scores = self._loaded.images, self._loaded.scores
        names = (op.name for op in images.graph.get_operations())
        self.scopes = tuple(sorted({name.split("/")[0] for name in names}))
        if images.shape.rank == 4:
            shape = images.shape.as_list()
            self.image_size, self.channels = tuple(shape[1:3]), shape[3] or 3
            self.batch_size = shape[0]
        self._softmax = _comes_from_softmax(scores.op)

    def close(self) -> None:
        self._loaded.session.close()

    def _start(self, name: str) -> None:
        config = build_session_config()
        precision.configure(config, name)
        self._loaded = self._load(config)

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        session, images, scores = self._loaded
        return session.run(scores, {images: inputs})

    def _is_normalized(self, scores: np.ndarray) -> bool:
        return are_probabilities(scores) if self._softmax is None else self._softmax


class CheckpointPredictor(GraphPredictor):
    """A network with the weights of a checkpoint as a predictor.

    Its `spec` tells the channels that the checkpoint turned out to have.

    Args:
      path: a checkpoint's prefix, one of its files, or a folder with checkpoints, of
        which the newest is used.
      get_network_fn: called with a number of outputs; returns a function that adds the
        network for evaluation to the graph: float32 images to `(logits, end_points)`.
      spec: the model's specification. The checkpoint may have one channel instead of
        three.

    Raises:
      ValueError: if there is no such checkpoint, or it does not fit the network.
    """

    def __init__(
        self, path: str, get_network_fn: Callable[[int], Callable], spec: ModelSpec
    ):
        checkpoint = Checkpoint(path)
        fitted, built = _fit(checkpoint, get_network_fn, spec)
        if fitted.misshapen:
            guess = _guess_spec(fitted, spec)
            other, others_built = _fit(checkpoint, get_network_fn, guess)
            if not other.misshapen:
                fitted, built, spec = other, others_built, guess
        restoring.check_fit(
            fitted,
            "Give the --model_name, --label_path, --labels_offset and "
            "--moving_average_decay of the training run.",
        )
        super().__init__(_freeze(*built), spec)


def read_batches(
    build_batches: Callable[[], tf.data.Dataset],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of `(inputs, indices)`; the dataset prepares the next meanwhile.

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
                batch = session.run(next_batch)
            except tf.errors.OutOfRangeError:
                return
            yield batch


def build_session_config() -> tf.ConfigProto:
    """Returns the configuration of a session for inference on this machine."""
    deployment = DeploymentConfig(
        clone_on_cpu=not tf.config.list_physical_devices("GPU")
    )
    return model_deploy.build_session_config(deployment)


def load_frozen(
    images: tf.Tensor, scores: tf.Tensor
) -> Callable[[tf.ConfigProto], Loaded]:
    """Returns a `load` for `GraphPredictor`, of a graph whose weights are constants.

    Batch normalization is folded into the convolutions.
    """
    graph_def = images.graph.as_graph_def()
    if graph_folding.has_normalization(graph_def):
        names = [images.op.name, scores.op.name]
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_folding.optimize(graph_def, names), name="")
        images, scores = (graph.get_operation_by_name(n).outputs[0] for n in names)
    return lambda config: Loaded(
        tf.Session(graph=images.graph, config=config), images, scores
    )


def are_probabilities(scores: np.ndarray, tolerance: float = _SUM_TOLERANCE) -> bool:
    """Returns whether the rows of scores [n, num_outputs] are distributions.

    Args:
      scores: float [n, num_outputs].
      tolerance: largest difference of a row's sum from 1.
    """
    sums = scores.sum(axis=1)
    return bool(scores.min() >= 0 and np.abs(sums - 1).max() <= tolerance)


def _fit(checkpoint: Checkpoint, get_network_fn: Callable, spec: ModelSpec) -> tuple:
    """Returns a `restoring.Fit`, and (restore_fn, images, scores) of a new graph."""
    shape = [None, spec.image_size, spec.image_size, spec.channels]
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, shape, graph_files.INPUT_NAME)
        network_fn = networks.in_evaluation(get_network_fn(spec.num_outputs), spec)
        logits, _ = network_fn(images)
        if logits.shape.rank != 2:
            logits = tf.reshape(logits, [-1, spec.num_outputs])
        variables = averages.get_variables_to_restore(
            slim.get_model_variables(), spec.moving_average_decay
        )
        fitted = restoring.fit(checkpoint, variables)
        restore_fn = restoring.build_restore_fn(fitted)
        scores = tasks.get_task(spec.task).build_scores(logits, spec)
        return fitted, (restore_fn, images, scores)


def _freeze(
    restore_fn: Callable, images: tf.Tensor, scores: tf.Tensor
) -> Callable[[tf.ConfigProto], Loaded]:
    """Returns `load_frozen` of a network, once it is restored."""
    names = [images.op.name, scores.op.name]
    with tf.Session(graph=images.graph, config=build_session_config()) as session:
        restore_fn(session)
        graph_def = subgraphs.extract(images.graph.as_graph_def(), names)
        frozen = tf.graph_util.convert_variables_to_constants(session, graph_def, names)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
    return load_frozen(*(graph.get_operation_by_name(n).outputs[0] for n in names))


def _guess_spec(fitted: restoring.Fit, spec: ModelSpec) -> ModelSpec:
    """Returns the specification that a checkpoint might have instead."""
    for _, expected, found in fitted.misshapen:
        if len(expected) == len(found) == 4 and (expected[2], found[2]) == (3, 1):
            spec = spec.replace(use_grayscale=True)
    return spec


def _comes_from_softmax(op: tf.Operation) -> bool | None:
    """Returns whether an operation returns probabilities; None if unknown."""
    while op.type in _SHAPE_OPS:
        op = op.inputs[0].op
    return None if op.type in _CALL_OPS else op.type == "Softmax"


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
