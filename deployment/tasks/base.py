"""The interface of a task, and the records that it exchanges with the rest.

A task is one file in this folder, and one row in `deployment.tasks`. It decides what
labels mean, from the label file through targets, loss and metrics to what a person
reads. Everything else handles labels as arrays and asks the task.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from deployment import text
from deployment.models.spec import ModelSpec
from deployment.tasks.comparison import Comparison
from tf_slim_compat import tf


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that evaluation computes.

    Attributes:
      name: as in `metrics.csv` and `--best_metric`.
      higher_is_better: whether larger values are better.
    """

    name: str
    higher_is_better: bool


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of images, as a task read them from a label file.

    Attributes:
      names: the names of the classes, labels or targets.
      values: int64 [n] (classification), or float32 [n, len(names)].
      faults: row index to what is wrong with that row; its values are ignored.
    """

    names: tuple[str, ...]
    values: np.ndarray
    faults: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """Options of the loss; each task accepts those that make sense for it.

    Attributes:
      label_smoothing: fraction of the target that is spread evenly, from 0 to 1.
      class_weights: a weight for each output; None weighs all alike.
      regression_loss: 'mse', 'mae' or 'huber'.
      huber_delta: error, in standard deviations of the target, from which the Huber
        loss is linear.
      mixup_alpha: strength of mixup; 0 for none.
      cutmix_alpha: strength of CutMix; 0 for none.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    regression_loss: str = "mse"
    huber_delta: float = 1.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The outputs of a network on a split, one row per image.

    Attributes:
      step: global step of the checkpoint; 0 if it has none.
      labels: int64 [n], or float32 [n, num_outputs] in the dataset's units.
      logits: float32 [n, num_outputs], the network's outputs before the activation.
      path: the checkpoint's prefix.
      secs: duration of the evaluation in seconds.
    """

    step: int
    labels: np.ndarray
    logits: np.ndarray
    path: str = ""
    secs: float = 0.0


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that an evaluation reports.

    Attributes:
      num_images: number of images.
      values: what `Task.compute` returns.
      macro: further averages for TensorBoard, by name, such as {"f1": 0.9}.
      text: the report as plain text, for the terminal.
      record: further entries of `eval.json`, JSON values.
      tables: file name to rows, further CSV files in the evaluation's folder.
      images: TensorBoard tag (and file stem) to `(png, height, width)`.
    """

    num_images: int
    values: Mapping[str, float]
    macro: Mapping[str, float]
    text: str
    record: Mapping[str, Any]
    tables: Mapping[str, Sequence[Sequence[Any]]] = dataclasses.field(
        default_factory=dict
    )
    images: Mapping[str, tuple[bytes, int, int]] = dataclasses.field(
        default_factory=dict
    )


class Fact(NamedTuple):
    """A line of a gallery entry: a term, its value, a score, and how it is colored.

    `kind` is 'wrong', 'right' or ''.
    """

    term: str
    value: str
    score: str = ""
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image with a large error, for the gallery.

    Attributes:
      index: position of the image in the order of evaluation.
      facts: what is shown below it.
    """

    index: int
    facts: tuple[Fact, ...]


class Task(abc.ABC):
    """What the labels of a dataset mean. Tasks have no state; see `ModelSpec`.

    Attributes:
      name: as in `--task`.
      summary: one line for `--help`.
      label_dtype: 'int64' for one class index per image, else 'float32'.
      default_metric: what best checkpoints and early stopping use by default.
      batch_metric: name of what `build_batch_metric` computes.
      columns: columns of a row of `interpret`, as in CSV and JSON output.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    label_dtype: ClassVar[str]
    default_metric: ClassVar[str]
    batch_metric: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    # Data.

    @abc.abstractmethod
    def read_labels(self, columns: Mapping[str, Sequence[str]]) -> Labels:
        """Reads the label columns of a label file.

        Args:
          columns: column name to its cells, one per image; without the column of file
            names.

        Raises:
          ValueError: if these columns cannot be labels of this task.
        """

    @abc.abstractmethod
    def choose_validation(
        self, values: np.ndarray, fraction: float, seed: int
    ) -> np.ndarray:
        """Chooses a stratified validation split.

        Args:
          values: labels as in `Labels.values`.
          fraction: fraction of the images to hold out, in [0, 1).
          seed: the choice is a function of it.

        Returns:
          bool [n], True for images to hold out.
        """

    @abc.abstractmethod
    def summarize(self, values: np.ndarray, num_names: int) -> dict[str, list]:
        """Summarizes the labels of a split for `dataset_info.json`.

        Classification returns {"class_counts": [...]}, multilabel {"class_counts":
        positives of each label}, regression {"mean": [...], "std": [...], "min": [...],
        "max": [...]}, each a list with one number per name.
        """

    # Settings that depend on the data.

    def count_outputs(self, num_names: int, labels_offset: int) -> int:
        """Returns the number of network outputs for a dataset.

        Raises:
          ValueError: if the task has no use for a label offset.
        """
        if labels_offset:
            raise ValueError(
                f"labels_offset is {labels_offset}, but task {self.name} has no "
                "background class to leave out: use 0."
            )
        return num_names

    def initial_state(
        self, summary: Mapping[str, Sequence[float]], num_outputs: int
    ) -> dict[str, Any]:
        """Returns `ModelSpec.task_state` at the start of training.

        Args:
          summary: what `summarize` returned for the training split.
          num_outputs: the network's outputs.
        """
        del summary, num_outputs
        return {}

    def fit_state(self, predictions: Predictions, spec: ModelSpec) -> dict[str, Any]:
        """Returns `task_state` adjusted to predictions on the validation split."""
        del predictions
        return dict(spec.task_state)

    def balance(
        self, summary: Mapping[str, Sequence[float]], num_images: int
    ) -> tuple[float, ...]:
        """Returns `LossOptions.class_weights` that balance rare and frequent classes.

        Raises:
          ValueError: if the task has no classes.
        """
        raise ValueError(f"class_weights=balanced has no meaning for task {self.name}.")

    # Training.

    @abc.abstractmethod
    def check_options(self, options: LossOptions) -> None:
        """Raises ValueError if an option makes no sense for the task."""

    @abc.abstractmethod
    def build_targets(self, labels: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        """Turns labels into targets, float32 [batch, num_outputs].

        Args:
          labels: int64 [batch] (less the label offset), or float32 [batch, n].
          spec: the model's specification.
        """

    @abc.abstractmethod
    def build_loss(
        self,
        targets: tf.Tensor,
        logits: tf.Tensor,
        options: LossOptions,
        weight: float = 1.0,
        scope: str | None = None,
    ) -> None:
        """Adds the loss of a batch to the collection of losses.

        Args:
          targets: float32 [batch, num_outputs], possibly mixed.
          logits: float32 [batch, num_outputs].
          options: see `LossOptions`.
          weight: factor of the whole loss, for auxiliary classifiers.
          scope: name scope of the loss.
        """

    @abc.abstractmethod
    def build_batch_metric(
        self, targets: tf.Tensor, logits: tf.Tensor, spec: ModelSpec
    ) -> tf.Tensor:
        """Returns `batch_metric` of a training batch, a float32 scalar."""

    # Evaluation.

    @abc.abstractmethod
    def list_metrics(self, num_outputs: int) -> tuple[Metric, ...]:
        """Returns the metrics that `compute` gives, in order."""

    def get_metric(
        self, name: str, num_outputs: int, field: str = "best_metric"
    ) -> Metric:
        """Returns a metric by name.

        Raises:
          ValueError: if there is none; the message gives the nearest name.
        """
        known = {metric.name: metric for metric in self.list_metrics(num_outputs)}
        if name in known:
            return known[name]
        near = text.nearest(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{field} is {name!r}, but task {self.name} with {num_outputs} outputs has "
            f"{', '.join(known)}.{hint}"
        )

    @abc.abstractmethod
    def compute(self, predictions: Predictions, spec: ModelSpec) -> dict[str, float]:
        """Computes the metrics of `list_metrics`."""

    @abc.abstractmethod
    def report(
        self, predictions: Predictions, spec: ModelSpec, with_images: bool = False
    ) -> Report:
        """Computes everything that evaluation reports."""

    @abc.abstractmethod
    def list_predictions(
        self, predictions: Predictions, spec: ModelSpec
    ) -> tuple[tuple[str, ...], list[tuple]]:
        """Returns column names and one row per image for `--predictions_csv`."""

    @abc.abstractmethod
    def find_mistakes(
        self, predictions: Predictions, spec: ModelSpec, limit: int
    ) -> tuple[list[Mistake], str]:
        """Returns the largest mistakes, worst first, and a sentence about them."""

    # Prediction and export.

    @abc.abstractmethod
    def build_scores(self, logits: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        """Adds the activation: what exported models return, float32 [n, num_outputs].

        Probabilities, or values in the target's unit.
        """

    @abc.abstractmethod
    def compute_scores(self, logits: np.ndarray, spec: ModelSpec) -> np.ndarray:
        """`build_scores` in NumPy, float64."""

    def build_mean_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the logits of the mean scores of several predictions of each image.

        Args:
          logits: float32 [num_predictions, batch, num_outputs].

        Returns:
          float32 [batch, num_outputs].
        """
        return tf.reduce_mean(logits, 0)

    @abc.abstractmethod
    def build_signature(
        self, scores: tf.Tensor, spec: ModelSpec
    ) -> dict[str, tf.Tensor]:
        """Returns the outputs of the SavedModel's signature `image_bytes`."""

    @abc.abstractmethod
    def interpret(self, scores: np.ndarray, spec: ModelSpec, limit: int) -> list[tuple]:
        """Turns the scores of one image into rows with `columns`.

        Args:
          scores: float [num_outputs], as `build_scores` gives them.
          spec: the model's specification.
          limit: rows at most.
        """

    @abc.abstractmethod
    def format_row(self, row: tuple) -> str:
        """Returns a row of `interpret` as text for the terminal."""

    @abc.abstractmethod
    def compare(
        self,
        scores: np.ndarray,
        expected: np.ndarray,
        labels: np.ndarray,
        spec: ModelSpec,
    ) -> Comparison:
        """Compares an exported model's scores with its checkpoint's.

        Args:
          scores: float [n, num_outputs].
          expected: the same of the checkpoint.
          labels: int64 [n], negative where unknown, or float32 [n, num_outputs], NaN
            where unknown.
          spec: the model's specification.
        """
