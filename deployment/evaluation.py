"""Evaluation: every image of a split once through a trained network."""

import dataclasses
import itertools

import numpy as np
import tqdm
from absl import logging

from deployment import checkpoints, training
from deployment.model_deploy import DeploymentConfig
from tf_slim_compat import slim, tf


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """All that an evaluation is told.

    Attributes:
      checkpoint_path: a checkpoint, or a folder, of which the newest is taken.
      eval_dir: the folder for summaries; None writes none.
      num_classes: outputs of the network.
      num_images: images in the split, for the progress bar; None if unknown.
      batch_size: images in a batch.
      max_num_batches: how many batches to stop after; None evaluates all.
      moving_average_decay: given where training kept moving averages of the
        weights: they are evaluated.
      master: the address of the TensorFlow server; '' for this process.
    """

    checkpoint_path: str
    eval_dir: str | None
    num_classes: int
    num_images: int | None = None
    batch_size: int = 100
    max_num_batches: int | None = None
    moving_average_decay: float | None = None
    master: str = ""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a network made of a split.

    Attributes:
      step: the global step of the checkpoint, 0 if it has none.
      labels: int64, shape [n].
      logits: float32, shape [n, num_classes].
    """

    step: int
    labels: np.ndarray
    logits: np.ndarray

    def accuracy(self):
        """The share of images whose best class is the label."""
        return float(np.mean(self.logits.argmax(axis=1) == self.labels))

    def recall(self, k):
        """The share of images whose label is among the k best classes."""
        best = np.argpartition(-self.logits, k - 1, axis=1)[:, :k]
        return float(np.mean((best == self.labels[:, None]).any(axis=1)))

    def loss(self):
        """The mean cross-entropy in nats."""
        shifted = self.logits - self.logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        return float(np.mean(log_sum - shifted[np.arange(len(shifted)), self.labels]))


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
    metrics = {"Accuracy": predictions.accuracy(), "Loss": predictions.loss()}
    if config.num_classes > 5:
        metrics["Recall_5"] = predictions.recall(5)
    for name, value in metrics.items():
        logging.info("eval/%s[%.4f]", name, value)
    logging.info(
        "Evaluated %d images at step %d.", len(predictions.labels), predictions.step
    )
    if config.eval_dir:
        _write_summaries(config.eval_dir, metrics, predictions.step)
    return metrics


def predict(config, network_fn, build_batches):
    """Runs a checkpoint over the images; returns `Predictions`."""
    deployment = DeploymentConfig(
        clone_on_cpu=not tf.config.list_physical_devices("GPU")
    )
    with tf.Graph().as_default():
        with tf.device(deployment.inputs_device()):
            iterator = tf.data.make_initializable_iterator(build_batches())
            images, labels = iterator.get_next()
        logits, _ = network_fn(images)
        restore_fn, step = build_restore_fn(
            config.checkpoint_path, config.moving_average_decay
        )
        session_config = training.build_session_config(deployment)
        with tf.Session(config.master, config=session_config) as session:
            restore_fn(session)
            session.run(iterator.initializer)
            parts = list(_run_batches(session, (labels, logits), config))
    if not parts:
        raise ValueError("The split holds no image: there is nothing to evaluate.")
    labels, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Predictions(step, labels, logits)


def build_restore_fn(checkpoint_path, moving_average_decay=None):
    """How to restore the model variables of the default graph for inference.

    Args:
      checkpoint_path: a checkpoint or a folder of them.
      moving_average_decay: restores the weights' moving averages if it is set.

    Returns:
      `(restore_fn, step)`: a function of a session, and the checkpoint's step.

    Raises:
      ValueError: if the checkpoint does not fit the graph.
    """
    variables = {v.op.name: v for v in slim.get_model_variables()}
    if moving_average_decay:
        averages = tf.train.ExponentialMovingAverage(moving_average_decay)
        variables = averages.variables_to_restore(slim.get_model_variables())
    fitted = checkpoints.fit(checkpoint_path, variables)
    checkpoints.check_fit(
        fitted,
        "Give the --model_name, classes (--dataset_name, --labels_offset) and "
        "--moving_average_decay that the network was trained with.",
    )
    reader = checkpoints.open_checkpoint(fitted.path)
    has_step = reader.has_tensor(tf.GraphKeys.GLOBAL_STEP)
    step = int(reader.get_tensor(tf.GraphKeys.GLOBAL_STEP)) if has_step else 0
    logging.info("Restoring %s.", fitted.path)
    return checkpoints.build_restore_fn(fitted), step


def _run_batches(session, fetches, config):
    """Yields the fetches of one batch after another until the split ends."""
    with tqdm.tqdm(
        total=config.num_images, unit="image", disable=None, dynamic_ncols=True
    ) as bar:
        for _ in itertools.islice(itertools.count(), config.max_num_batches):
            try:
                values = session.run(fetches)
            except tf.errors.OutOfRangeError:
                return
            bar.update(len(values[0]))
            yield values


def _write_summaries(eval_dir, metrics, step):
    values = [
        tf.Summary.Value(tag=f"eval/{name}", simple_value=value)
        for name, value in metrics.items()
    ]
    # The writer of graph mode refuses a default graph of other things.
    with tf.Graph().as_default(), tf.summary.FileWriter(eval_dir) as writer:
        writer.add_summary(tf.Summary(value=values), step)
