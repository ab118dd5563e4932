"""Evaluation: runs every image of a split through a trained network once.

    config = EvaluationConfig("run", eval_dir=None, spec=spec)
    with Evaluator(config, network_fn, build_batches) as evaluator:
        for path in ("run/model.ckpt-500", "run/model.ckpt-1000"):
            print(evaluator.evaluate(path))

An `Evaluator` has its own graph and session, so it can stay open beside training in
the same process. `evaluate` and `predict` are shortcuts for a single checkpoint.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tqdm
from absl import logging

from deployment import model_deploy, precision, ranges, tasks
from deployment.config_flags import setting
from deployment.evaluate import evaluation_summaries, views
from deployment.model_deploy import DeploymentConfig
from deployment.models import averages, restoring
from deployment.models.checkpoint import Checkpoint
from deployment.models.spec import ModelSpec
from deployment.quantize import networks
from deployment.tasks.base import Predictions
from tf_slim_compat import slim, tf


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Configuration of an evaluation.

    Attributes:
      checkpoint_path: a checkpoint, or a folder, whose latest one is evaluated; None
        if `Evaluator.predict` is given one each time.
      eval_dir: folder for summaries; None or '' writes none.
      spec: the model's specification.
      num_images: images in the split, for the progress bar; None if unknown.
      batch_size: images per batch.
      max_num_batches: number of batches to stop after; None evaluates all.
      master: address of the TensorFlow server; '' for this process.
      show_progress: whether to show a progress bar; None does so on a terminal.
      precision: 'float32', 'bfloat16', or 'auto', which is float32.
      tta: name of the views whose scores are averaged; see `views.py`.

    Raises:
      ValueError: if a number is less than 1.
    """

    checkpoint_path: str | None
    eval_dir: str | None
    spec: ModelSpec
    num_images: int | None = None
    batch_size: int = setting(100, "Images per batch.")
    max_num_batches: int | None = setting(
        None, "Number of batches to stop after. If unset, the whole split is evaluated."
    )
    master: str = setting("", "Address of the TensorFlow server; '': this process.")
    show_progress: bool | None = None
    precision: str = setting(
        "auto",
        "Precision of the computations. auto is float32, so that metrics do not depend "
        "on the machine; bfloat16 is faster on processors with instructions for it.",
        choices=("auto", "float32", "bfloat16"),
    )
    tta: str = setting(
        views.NONE,
        "Test-time augmentation: averages the scores of several views of each image. "
        "flip: the image and its mirror image; scales: also zoomed in, 6 views; crops: "
        "corners and center, 10 views. The time and memory of a batch grow with the "
        "number of views.",
        choices=tuple(views.VIEW_SETS),
    )

    def __post_init__(self):
        ranges.check(
            self, batch_size=ranges.AT_LEAST_ONE, max_num_batches=ranges.AT_LEAST_ONE
        )


class Evaluator:
    """A network with its input, ready to evaluate one checkpoint after another.

    Graph and session are built once. Close it, or use it in a `with` statement.

    Args:
      config: an `EvaluationConfig`.
      network_fn: maps images to (logits, end_points), as `nets_factory` returns it
        for evaluation.
      build_batches: adds the input to the graph and returns a `tf.data.Dataset` of
        (images, labels), one pass over the split.
      replace: called with these three, returns others for the last two; None for none.

    Raises:
      ValueError: if the network or the input cannot be built.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        network_fn: Callable,
        build_batches: Callable[[], tf.data.Dataset],
        replace: Callable[..., tuple[Callable, Callable]] | None = None,
    ):
        if replace is not None:
            network_fn, build_batches = replace(config, network_fn, build_batches)
        self._config = config
        deployment = DeploymentConfig(
            clone_on_cpu=not tf.config.list_physical_devices("GPU")
        )
        with tf.Graph().as_default() as graph:
            # Initial values are never used, but deterministic sessions want a seed.
            tf.set_random_seed(0)
            with tf.device(deployment.inputs_device()):
                iterator = tf.data.make_initializable_iterator(build_batches())
                images, labels = iterator.get_next()
            network_fn = networks.in_evaluation(network_fn, config.spec)
            logits = views.build_logits(network_fn, images, config.spec, config.tta)
            self._fetches = (labels, logits)
            self._variables = averages.get_variables_to_restore(
                slim.get_model_variables(), config.spec.moving_average_decay
            )
            self._saver = tf.train.Saver(self._variables, reshape=False)
            self._rewind = iterator.initializer
            initialize_tables = tf.tables_initializer()
        graph.finalize()
        session_config = model_deploy.build_session_config(deployment)
        precision.configure(session_config, config.precision)
        self._session = tf.Session(config.master, graph, session_config)
        self._session.run(initialize_tables)

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the session; the evaluator cannot be used after that."""
        self._session.close()

    def predict(self, checkpoint_path: str | None = None) -> Predictions:
        """Runs all images through a checkpoint.

        Args:
          checkpoint_path: a checkpoint or a folder; None for the configuration's.

        Raises:
          ValueError: if the checkpoint does not fit, or is removed meanwhile, or the
            split is empty.
        """
        started = time.monotonic()
        path, step = self._restore(checkpoint_path or self._config.checkpoint_path)
        self._session.run(self._rewind)
        parts = list(self._run_batches())
        if not parts:
            raise ValueError("There is nothing to evaluate: the split has no images.")
        labels, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Predictions(step, labels, logits, path, time.monotonic() - started)

    def evaluate(self, checkpoint_path: str | None = None) -> dict[str, float]:
        """Returns the task's metrics of a checkpoint, and 'num_images'.

        Args and errors: see `predict`.
        """
        predictions = self.predict(checkpoint_path)
        values = _compute(predictions, self._config.spec)
        return {**values, "num_images": len(predictions.labels)}

    def _restore(self, checkpoint_path: str) -> tuple[str, int]:
        """Restores the weights; returns the checkpoint's prefix and step."""
        checkpoint = Checkpoint(checkpoint_path)
        fitted = restoring.fit(checkpoint, self._variables)
        remedy = (
            "Give the --model_name, classes (--dataset_name, --labels_offset) and "
            "--moving_average_decay that the network was trained with."
        )
        if fitted.missing and all(map(_is_range, fitted.missing)):
            remedy = "It was trained without --quantize_delay: leave out --quantize."
        restoring.check_fit(fitted, remedy)
        logging.log(
            logging.DEBUG if self._config.show_progress is False else logging.INFO,
            "Restoring %s.",
            checkpoint.path,
        )
        try:
            self._saver.restore(self._session, checkpoint.path)
        except (tf.errors.NotFoundError, tf.errors.DataLossError) as error:
            raise ValueError(
                f"{checkpoint.path!r} was removed or damaged while it was restored: "
                "evaluate another checkpoint."
            ) from error
        return checkpoint.path, checkpoint.step

    def _run_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (labels, logits) of each batch until the split ends."""
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


def evaluate(
    config: EvaluationConfig,
    network_fn: Callable,
    build_batches: Callable[[], tf.data.Dataset],
) -> dict[str, float]:
    """Evaluates a checkpoint, logs its metrics and writes them as summaries.

    Args:
      config: an `EvaluationConfig`.
      network_fn: see `Evaluator`.
      build_batches: see `Evaluator`.

    Returns:
      The task's metrics over all images by their names in TensorBoard, such as
      'Accuracy', 'Recall_5' (with ten classes or more) and 'Loss'.

    Raises:
      ValueError: if the checkpoint does not fit, or the split is empty.
    """
    predictions = predict(config, network_fn, build_batches)
    values = evaluation_summaries.rename(_compute(predictions, config.spec))
    log(predictions, values)
    with evaluation_summaries.SummaryWriter(config.eval_dir) as writer:
        writer.write(predictions.step, values)
    return values


def predict(
    config: EvaluationConfig,
    network_fn: Callable,
    build_batches: Callable[[], tf.data.Dataset],
) -> Predictions:
    """Runs all images through a checkpoint; see `evaluate`."""
    with Evaluator(config, network_fn, build_batches) as evaluator:
        return evaluator.predict()


def log(predictions: Predictions, values: Mapping[str, float]) -> None:
    """Logs metrics in a format that users' scripts parse."""
    for name, value in values.items():
        logging.info("eval/%s[%.4f]", name, value)
    logging.info(
        "Evaluated %d images at step %d (%.1f s, %.0f images/s).",
        len(predictions.labels),
        predictions.step,
        predictions.secs,
        len(predictions.labels) / max(predictions.secs, 1e-9),
    )


def _compute(predictions: Predictions, spec: ModelSpec) -> dict[str, float]:
    return tasks.get_task(spec.task).compute(predictions, spec)


def _is_range(name: str) -> bool:
    """Returns whether a variable is an end of a range of fake quantization."""
    return name.endswith(("_quant/min", "_quant/max"))
