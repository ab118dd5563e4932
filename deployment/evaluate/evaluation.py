"""Evaluation: every image of a split once through a trained network.

    config = EvaluationConfig("run", eval_dir=None, num_classes=6)
    with Evaluator(config, network_fn, build_batches) as evaluator:
        for path in ("run/model.ckpt-500", "run/model.ckpt-1000"):
            print(metrics.compute(evaluator.predict(path)))

An `Evaluator` has a graph and a session of its own, so it can stay open beside
training in the same process. `evaluate` and `predict` are for one checkpoint.
"""

import dataclasses
import itertools
import time

import numpy as np
import tqdm
from absl import logging

from deployment import model_deploy
from deployment.evaluate import evaluation_summaries
from deployment.model_deploy import DeploymentConfig
from deployment.models import checkpoints
from deployment.tasks import metrics
from tf_slim_compat import slim, tf


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """All that an evaluation is told.

    Attributes:
      checkpoint_path: a checkpoint, or a folder, of which the newest is taken; None
        where `Evaluator.predict` is told it each time.
      eval_dir: the folder for summaries; None writes none.
      num_classes: outputs of the network.
      num_images: images in the split, for the progress bar; None if unknown.
      batch_size: images in a batch.
      max_num_batches: how many batches to stop after; None evaluates all.
      moving_average_decay: given where training kept moving averages of the
        weights: they are evaluated.
      master: the address of the TensorFlow server; '' for this process.
      show_progress: whether to draw a progress bar; None does so on a terminal.

    Raises:
      ValueError: if a number is less than 1.
    """

    checkpoint_path: str | None
    eval_dir: str | None
    num_classes: int
    num_images: int | None = None
    batch_size: int = 100
    max_num_batches: int | None = None
    moving_average_decay: float | None = None
    master: str = ""
    show_progress: bool | None = None

    def __post_init__(self):
        for name in ("batch_size", "max_num_batches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be 1 or more, but is {value}.")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a network made of a split.

    Attributes:
      step: the global step of the checkpoint, 0 if it has none.
      labels: int64, shape [n].
      logits: float32, shape [n, num_classes].
      path: the checkpoint's prefix.
      secs: how long it took, in seconds.
    """

    step: int
    labels: np.ndarray
    logits: np.ndarray
    path: str = ""
    secs: float = 0.0

    def accuracy(self):
        """The share of images whose best class is the label."""
        return metrics.compute_accuracy(self.labels, self.logits)

    def recall(self, k):
        """The share of images whose label is among the k best classes."""
        return metrics.compute_top_k(self.labels, self.logits, k)

    def loss(self):
        """The mean cross-entropy in nats."""
        return metrics.compute_loss(self.labels, self.logits)


class Evaluator:
    """A network and its images, ready to evaluate one checkpoint after another.

    Graph and session are built once, and are its own. Close it, or use it in a
    `with` statement.

    Args:
      config: an `EvaluationConfig`.
      network_fn: see `training.train`; for evaluation.
      build_batches: as for training, but of one pass over the images.

    Raises:
      ValueError: if the network or the input cannot be built.
    """

    def __init__(self, config, network_fn, build_batches):
        self._config = config
        deployment = DeploymentConfig(
            clone_on_cpu=not tf.config.list_physical_devices("GPU")
        )
        with tf.Graph().as_default() as graph:
            with tf.device(deployment.inputs_device()):
                iterator = tf.data.make_initializable_iterator(build_batches())
                images, labels = iterator.get_next()
            logits, _ = network_fn(images)
            self._fetches = (labels, logits)
            self._variables = _get_variables(config.moving_average_decay)
            self._saver = tf.train.Saver(self._variables, reshape=False)
            self._rewind = iterator.initializer
            initialize_tables = tf.tables_initializer()
        graph.finalize()
        self._session = tf.Session(
            config.master, graph, model_deploy.build_session_config(deployment)
        )
        self._session.run(initialize_tables)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Frees the session; the evaluator cannot be used any more."""
        self._session.close()

    def predict(self, checkpoint_path=None):
        """Runs a checkpoint over the images.

        Args:
          checkpoint_path: a checkpoint or a folder; None for the config's.

        Returns:
          `Predictions`.

        Raises:
          ValueError: if the checkpoint does not fit, or there is no image.
        """
        started = time.monotonic()
        path, step = self._restore(checkpoint_path or self._config.checkpoint_path)
        self._session.run(self._rewind)
        parts = list(self._run_batches())
        if not parts:
            raise ValueError("The split holds no image: there is nothing to evaluate.")
        labels, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Predictions(step, labels, logits, path, time.monotonic() - started)

    def evaluate(self, checkpoint_path=None):
        """The metrics of a checkpoint: those of `metrics.compute`, and 'num_images'.

        Args and errors: see `predict`.
        """
        predictions = self.predict(checkpoint_path)
        return {**metrics.compute(predictions), "num_images": len(predictions.labels)}

    def _restore(self, checkpoint_path):
        """Restores the weights; returns the checkpoint's prefix and step."""
        fitted = checkpoints.fit(checkpoint_path, self._variables)
        checkpoints.check_fit(
            fitted,
            "Give the --model_name, classes (--dataset_name, --labels_offset) and "
            "--moving_average_decay that the network was trained with.",
        )
        logging.log(
            logging.DEBUG if self._config.show_progress is False else logging.INFO,
            "Restoring %s.",
            fitted.path,
        )
        self._saver.restore(self._session, fitted.path)
        return fitted.path, checkpoints.get_step(fitted.path)

    def _run_batches(self):
        """Yields (labels, logits) of one batch after another until the split ends."""
        show = self._config.show_progress
        with tqdm.tqdm(
            total=self._config.num_images,
            unit="image",
            disable=None if show is None else not show,
            dynamic_ncols=True,
        ) as bar:
            for _ in itertools.islice(itertools.count(), self._config.max_num_batches):
                try:
                    values = self._session.run(self._fetches)
                except tf.errors.OutOfRangeError:
                    return
                bar.update(len(values[0]))
                yield values


def evaluate(config, network_fn, build_batches):
    """Evaluates a checkpoint, logs its metrics and writes them as summaries.

    Args:
      config: an `EvaluationConfig`.
      network_fn: see `training.train`; for evaluation.
      build_batches: as for training, but of one pass over the images.

    Returns:
      A dict of metrics: 'Accuracy', 'Recall_5' (with more than five classes) and
      'Loss', each a float, over all images.

    Raises:
      ValueError: if the checkpoint does not fit, or there is no image.
    """
    predictions = predict(config, network_fn, build_batches)
    values = evaluation_summaries.rename(metrics.compute(predictions))
    log(predictions, values)
    with evaluation_summaries.SummaryWriter(config.eval_dir) as writer:
        writer.write(predictions.step, values)
    return values


def predict(config, network_fn, build_batches):
    """Runs a checkpoint over the images; returns `Predictions`."""
    with Evaluator(config, network_fn, build_batches) as evaluator:
        return evaluator.predict()


def log(predictions, values):
    """Logs the metrics in the form that users' scripts look for."""
    for name, value in values.items():
        logging.info("eval/%s[%.4f]", name, value)
    logging.info(
        "Evaluated %d images at step %d (%.1f s, %.0f images/s).",
        len(predictions.labels),
        predictions.step,
        predictions.secs,
        len(predictions.labels) / max(predictions.secs, 1e-9),
    )


def _get_variables(moving_average_decay):
    """What is restored: names in the checkpoint to variables of the default graph."""
    variables = slim.get_model_variables()
    if moving_average_decay:
        averages = tf.train.ExponentialMovingAverage(moving_average_decay)
        return averages.variables_to_restore(variables)
    return {variable.op.name: variable for variable in variables}
