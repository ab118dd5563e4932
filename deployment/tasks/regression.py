"""Regression: every image has one number per target."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deployment.models.spec import ModelSpec
from deployment.tasks import charts, comparison, label_columns, metrics, tables
from deployment.tasks.base import (
    Fact,
    Labels,
    LossOptions,
    Metric,
    Mistake,
    Predictions,
    Report,
    Task,
)
from tf_slim_compat import tf

REGRESSION_LOSSES = ("mse", "mae", "huber")
# Answers that differ by less, in standard deviations of the target, count as the same.
_SAME_ANSWER = 0.1
# In a gallery entry.
_MAX_TARGETS = 3
# Name to whether higher is better.
_METRICS = {
    "r2": True,
    "mae": False,
    "rmse": False,
    "pearson": True,
    "spearman": True,
    "loss": False,
}


class Regression(Task):
    """Numbers per image: mean squared, mean absolute or Huber loss, R².

    The network's outputs are in standard deviations from the mean of the training
    split; everything that a person sees is in the unit of the target.
    """

    name = "regression"
    summary = "one or more numbers per image"
    label_dtype = "float32"
    default_metric = "r2"
    batch_metric = "mae"
    columns = ("target", "value")

    def read_labels(self, columns: Mapping[str, Sequence[str]]) -> Labels:
        """Reads one column of numbers per target."""
        return label_columns.read_numbers(columns)

    def choose_validation(
        self, values: np.ndarray, fraction: float, seed: int
    ) -> np.ndarray:
        """See `Task`. Holds out one random image of each quantile.

        With several targets the quantiles are those along the first principal
        component of the standardized targets. Of two images or more, at least one is
        held out and one is not.
        """
        num_images = len(values)
        is_held_out = np.zeros(num_images, bool)
        if not fraction or num_images < 2:
            return is_held_out
        count = min(max(round(num_images * fraction), 1), num_images - 1)
        state = self.initial_state(*self._measure(values))
        mean, scale = np.array(state["mean"]), np.array(state["scale"])
        standardized = (values - mean) / scale
        _, directions = np.linalg.eigh(standardized.T @ standardized)
        # Shuffled first, so that equal values fall into random quantiles.
        rng = np.random.default_rng(seed)
        order = rng.permutation(num_images)
        positions = standardized[order] @ directions[:, -1]
        order = order[np.argsort(positions, kind="stable")]
        for quantile in np.array_split(order, count):
            is_held_out[rng.choice(quantile)] = True
        return is_held_out

    def summarize(self, values: np.ndarray, num_names: int) -> dict[str, list]:
        """See `Task`. All are 0 without images."""
        if not len(values):
            return {name: [0.0] * num_names for name in ("mean", "std", "min", "max")}
        values = values.astype(np.float64)
        return {
            "mean": values.mean(axis=0).tolist(),
            "std": values.std(axis=0).tolist(),
            "min": values.min(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
        }

    def initial_state(
        self, summary: Mapping[str, Sequence[float]], num_outputs: int
    ) -> dict[str, Any]:
        """Returns `mean` and `scale` of each target, by which it is standardized.

        The scale is the standard deviation, or 1 where that is 0.
        """
        return {
            "mean": [float(mean) for mean in summary["mean"]],
            "scale": [float(std) or 1.0 for std in summary["std"]],
        }

    def check_options(self, options: LossOptions) -> None:
        for name in ("label_smoothing", "class_weights", "cutmix_alpha"):
            value = getattr(options, name)
            if value:
                raise ValueError(
                    f"{name} is {value!r}, but task regression has no use for it: "
                    "leave it out."
                )
        if options.regression_loss not in REGRESSION_LOSSES:
            raise ValueError(
                f"regression_loss is {options.regression_loss!r}, but must be one of "
                f"{', '.join(REGRESSION_LOSSES)}."
            )
        if not 0 < options.huber_delta < math.inf:
            raise ValueError(
                f"huber_delta is {options.huber_delta}, but must be above 0."
            )

    def build_targets(self, labels: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        mean, scale = _get_mean_and_scale(spec)
        return (labels - tf.constant(mean, tf.float32)) / tf.constant(scale, tf.float32)

    def build_loss(
        self,
        targets: tf.Tensor,
        logits: tf.Tensor,
        options: LossOptions,
        weight: float = 1.0,
        scope: str | None = None,
    ) -> None:
        """See `Task`. The mean over images and targets, of standardized errors.

        The Huber loss (Huber 1964, "Robust estimation of a location parameter") is
        half the squared error up to `huber_delta`.
        """
        if options.regression_loss == "mse":
            tf.losses.mean_squared_error(targets, logits, weight, scope)
        elif options.regression_loss == "mae":
            tf.losses.absolute_difference(targets, logits, weight, scope)
        else:
            tf.losses.huber_loss(targets, logits, weight, options.huber_delta, scope)

    def build_batch_metric(
        self, targets: tf.Tensor, logits: tf.Tensor, spec: ModelSpec
    ) -> tf.Tensor:
        """See `Task`. Mean absolute error in the targets' units."""
        _, scale = _get_mean_and_scale(spec)
        errors = tf.abs(logits - targets) * tf.constant(scale, tf.float32)
        return tf.reduce_mean(errors)

    def list_metrics(self, num_outputs: int) -> tuple[Metric, ...]:
        return tuple(Metric(name, is_higher) for name, is_higher in _METRICS.items())

    def compute(self, predictions: Predictions, spec: ModelSpec) -> dict[str, float]:
        """See `Task`.

        All are means over targets, correlations over those targets for which they are
        defined. `loss` is the mean squared error of standardized targets, whatever
        loss the network was trained with.
        """
        per_target = _compute_per_target(predictions, spec)
        return _combine(per_target, predictions, spec)

    def report(
        self, predictions: Predictions, spec: ModelSpec, with_images: bool = False
    ) -> Report:
        names = tables.list_names(spec)
        per_target = _compute_per_target(predictions, spec)
        values = _combine(per_target, predictions, spec)
        records = tables.to_records("target", names, per_target)
        header = ("target", "R2", "MAE", "RMSE", "Pearson", "Spearman", "mean error")
        cells = [
            (tables.shorten(row["target"]), *(f"{row[m]:.5g}" for m in per_target))
            for row in records
        ]
        images = {}
        if with_images:
            found = self.compute_scores(predictions.logits, spec)
            images = {
                "scatter": charts.draw_scatter(predictions.labels, found, names),
                "errors": charts.draw_errors(found - predictions.labels, names),
            }
        return Report(
            num_images=len(predictions.labels),
            values=values,
            macro={},
            text=f"{tables.format_table(header, cells)}\n\n"
            f"{tables.format_values(values)}\n",
            record={"targets": records},
            tables={"targets.csv": tables.to_rows(records)},
            images=images,
        )

    def list_predictions(
        self, predictions: Predictions, spec: ModelSpec
    ) -> tuple[tuple[str, ...], list[tuple]]:
        names = tables.list_names(spec)
        pairs = np.stack(
            [predictions.labels, self.compute_scores(predictions.logits, spec)], axis=2
        )
        columns = [column for name in names for column in (name, f"predicted_{name}")]
        rows = [
            tuple(f"{value:.8g}" for value in row)
            for row in pairs.reshape(len(pairs), -1)
        ]
        return tuple(columns), rows

    def find_mistakes(
        self, predictions: Predictions, spec: ModelSpec, limit: int
    ) -> tuple[list[Mistake], str]:
        """See `Task`. The worst has the largest error, in standard deviations."""
        names = tables.list_names(spec)
        _, scale = _get_mean_and_scale(spec)
        labels = predictions.labels
        values = self.compute_scores(predictions.logits, spec)
        errors = (values - labels) / scale
        order = np.argsort(-np.abs(errors).max(axis=1), kind="stable")[:limit]
        mistakes = []
        for i in order:
            facts = []
            for j in np.argsort(-np.abs(errors[i]), kind="stable")[:_MAX_TARGETS]:
                error = f"{errors[i, j]:+.2f} SD"
                found, own = f"{values[i, j]:.5g}", f"{labels[i, j]:.5g}"
                facts.append(Fact(f"{names[j]}, predicted", found, error, "wrong"))
                facts.append(Fact(f"{names[j]}, label", own, "", "right"))
            mistakes.append(Mistake(int(i), tuple(facts)))
        return mistakes, (
            f"These are the {len(mistakes)} of {len(labels)} images with the largest "
            "errors, in standard deviations (SD) of the target."
        )

    def build_scores(self, logits: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        mean, scale = _get_mean_and_scale(spec)
        return logits * tf.constant(scale, tf.float32) + tf.constant(mean, tf.float32)

    def compute_scores(self, logits: np.ndarray, spec: ModelSpec) -> np.ndarray:
        mean, scale = _get_mean_and_scale(spec)
        return logits.astype(np.float64) * scale + mean

    def build_signature(
        self, scores: tf.Tensor, spec: ModelSpec
    ) -> dict[str, tf.Tensor]:
        """See `Task`.

        `values` float32 [n, num_targets], in the targets' units, and `target_names`
        string of the same shape.
        """
        names = tf.constant(spec.names)
        return {
            "values": tf.identity(scores),
            "target_names": tf.broadcast_to(names, tf.shape(scores)),
        }

    def interpret(self, scores: np.ndarray, spec: ModelSpec, limit: int) -> list[tuple]:
        """See `Task`. One row per target, in order, whatever the limit."""
        del limit
        return list(zip(spec.names, map(float, scores), strict=True))

    def format_row(self, row: tuple) -> str:
        name, value = row
        return f"{value:.6g}  {name}"

    def compare(
        self,
        scores: np.ndarray,
        expected: np.ndarray,
        labels: np.ndarray,
        spec: ModelSpec,
    ) -> comparison.Comparison:
        """See `Task`. Answers within 0.1 standard deviations count as the same."""
        _, scale = _get_mean_and_scale(spec)
        differences = np.abs(scores - expected) / scale
        known = ~np.isnan(labels).any(axis=1)
        labeled = {}
        if known.sum() >= 2:
            own = labels[known].astype(np.float64)
            found = [values[known].astype(np.float64) for values in (scores, expected)]
            labeled = {
                "score": _average_r2(own, found[0]),
                "expected_score": _average_r2(own, found[1]),
                "loss_error": _estimate_r2_error(own, *found),
                "num_labeled": len(own),
            }
        return comparison.Comparison(
            difference=float(differences.max()),
            agreement=float(np.mean((differences <= _SAME_ANSWER).all(axis=1))),
            num_images=len(differences),
            **labeled,
        )

    def _measure(self, values: np.ndarray) -> tuple[dict[str, list], int]:
        num_targets = values.shape[1]
        return self.summarize(values, num_targets), num_targets


def _get_mean_and_scale(spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale of the targets, each float64 [num_targets].

    Raises:
      ValueError: if the model does not have them, or they are damaged.
    """
    if not {"mean", "scale"} <= set(spec.task_state):
        raise ValueError(
            "The mean and scale of the regression targets are unknown: use the "
            "training folder with its run.json, where training records them."
        )
    return spec.read_numbers("mean"), spec.read_numbers("scale")


def _compute_per_target(
    predictions: Predictions, spec: ModelSpec
) -> dict[str, np.ndarray]:
    """Returns the numbers of each target, by name, each float64 [num_targets]."""
    labels = predictions.labels.astype(np.float64)
    values = TASK.compute_scores(predictions.logits, spec)
    errors = values - labels
    pairs = list(zip(labels.T, values.T, strict=True))
    return {
        "r2": np.array([metrics.compute_r2(*pair) for pair in pairs]),
        "mae": np.abs(errors).mean(axis=0),
        "rmse": np.sqrt((errors**2).mean(axis=0)),
        "pearson": np.array([metrics.compute_pearson(*pair) for pair in pairs]),
        "spearman": np.array([metrics.compute_spearman(*pair) for pair in pairs]),
        "mean_error": errors.mean(axis=0),
    }


def _combine(
    per_target: Mapping[str, np.ndarray], predictions: Predictions, spec: ModelSpec
) -> dict[str, float]:
    """Returns the metrics of `list_metrics` from those of each target."""
    _, scale = _get_mean_and_scale(spec)
    return {
        "r2": float(per_target["r2"].mean()),
        "mae": float(per_target["mae"].mean()),
        "rmse": float(per_target["rmse"].mean()),
        "pearson": metrics.average_defined(per_target["pearson"]),
        "spearman": metrics.average_defined(per_target["spearman"]),
        "loss": float(((per_target["rmse"] / scale) ** 2).mean()),
    }


def _average_r2(labels: np.ndarray, values: np.ndarray) -> float:
    pairs = zip(labels.T, values.T, strict=True)
    return float(np.mean([metrics.compute_r2(*pair) for pair in pairs]))


def _estimate_r2_error(
    labels: np.ndarray, values: np.ndarray, expected: np.ndarray
) -> float:
    """Returns the standard error of the difference of R², given the labels.

    The difference is the mean over images of their differences in squared error, each
    in units of the targets' variance.
    """
    variance = labels.var(axis=0)
    excess = (values - labels) ** 2 - (expected - labels) ** 2
    per_image = (excess / np.where(variance > 0, variance, np.inf)).mean(axis=1)
    return comparison.compute_standard_error(per_image)


TASK = Regression()
