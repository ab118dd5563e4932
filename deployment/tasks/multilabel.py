"""Multilabel classification: every image has any number of labels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deployment.models.spec import ModelSpec
from deployment.tasks import comparison, label_columns, metrics, splits, tables
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

_INITIAL_THRESHOLD = 0.5
_SCORES = ("mean_average_precision", "f1_micro", "f1_macro", "exact_match", "roc_auc")
# In a gallery entry.
_MAX_FACTS = 5


class Multilabel(Task):
    """Any number of labels per image: sigmoid cross-entropy, mean average precision."""

    name = "multilabel"
    summary = "any number of labels per image"
    label_dtype = "float32"
    default_metric = "mean_average_precision"
    batch_metric = "f1_micro"
    columns = ("label", "score", "threshold")

    def read_labels(self, columns: Mapping[str, Sequence[str]]) -> Labels:
        """Reads one column of names separated by ';', or one 0/1 column per label.

        An empty cell of names is an image without labels. A single column of nothing
        but 0 and 1 is a label of its own.
        """
        cells = next(iter(columns.values()), ())
        is_indicator = {cell.strip() for cell in cells} <= {"0", "1"}
        if len(columns) == 1 and not is_indicator:
            return label_columns.read_name_lists(columns)
        return label_columns.read_indicators(columns)

    def choose_validation(
        self, values: np.ndarray, fraction: float, seed: int
    ) -> np.ndarray:
        """See `Task`. Uses iterative stratification.

        Sechidis et al. 2011, "On the stratification of multi-label data". Images
        without labels count as having one of their own. Of two images or more, at
        least one is held out and one is not.
        """
        return splits.choose_iteratively(values, fraction, seed)

    def summarize(self, values: np.ndarray, num_names: int) -> dict[str, list]:
        return {"class_counts": np.count_nonzero(values, axis=0).tolist()}

    def initial_state(
        self, summary: Mapping[str, Sequence[float]], num_outputs: int
    ) -> dict[str, Any]:
        """Returns `thresholds`, probabilities above which labels are predicted."""
        return {"thresholds": [_INITIAL_THRESHOLD] * num_outputs}

    def fit_state(self, predictions: Predictions, spec: ModelSpec) -> dict[str, Any]:
        """Chooses for each label the threshold of the best F1; see `Task`.

        Labels without positives keep the initial threshold.
        """
        scores = self.compute_scores(predictions.logits, spec)
        thresholds = [
            metrics.choose_threshold(predictions.labels[:, i] > 0, scores[:, i])
            for i in range(spec.num_outputs)
        ]
        return {
            **spec.task_state,
            "thresholds": [
                _INITIAL_THRESHOLD if threshold is None else threshold
                for threshold in thresholds
            ],
        }

    def balance(
        self, summary: Mapping[str, Sequence[float]], num_images: int
    ) -> tuple[float, ...]:
        """Returns weights that give positives and negatives of each label equal sums.

        The weight of positives is negatives / positives; 1 for labels that no image,
        or every image, has.
        """
        return tuple(
            (num_images - count) / count if 0 < count < num_images else 1.0
            for count in summary["class_counts"]
        )

    def check_options(self, options: LossOptions) -> None:
        if options.regression_loss != LossOptions.regression_loss:
            raise ValueError(
                f"regression_loss is {options.regression_loss!r}, but task multilabel "
                "has no use for it: leave it out."
            )

    def build_targets(self, labels: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        return labels

    def build_loss(
        self,
        targets: tf.Tensor,
        logits: tf.Tensor,
        options: LossOptions,
        weight: float = 1.0,
        scope: str | None = None,
    ) -> None:
        """See `Task`. The mean over images and labels of the sigmoid cross-entropy.

        `class_weights` multiply the term of positives, as `pos_weight` does in
        `tf.nn.weighted_cross_entropy_with_logits`.
        """
        with tf.name_scope(scope or "sigmoid_cross_entropy_loss"):
            if options.label_smoothing:
                smoothing = options.label_smoothing
                targets = targets * (1 - smoothing) + 0.5 * smoothing
            losses = tf.nn.weighted_cross_entropy_with_logits(
                targets, logits, pos_weight=tf.constant(options.class_weights or 1.0)
            )
            tf.losses.compute_weighted_loss(losses, weights=weight)

    def build_batch_metric(
        self, targets: tf.Tensor, logits: tf.Tensor, spec: ModelSpec
    ) -> tf.Tensor:
        """See `Task`. Micro-averaged F1 at the model's thresholds; 0 without labels."""
        least = [
            math.log(t) - math.log1p(-t) if 0 < t < 1 else (0.5 - t) * -math.inf
            for t in _get_thresholds(spec)
        ]
        is_predicted = tf.cast(logits > tf.constant(least), tf.float32)
        is_positive = tf.cast(targets > 0.5, tf.float32)
        hits = tf.reduce_sum(is_predicted * is_positive)
        total = tf.reduce_sum(is_predicted) + tf.reduce_sum(is_positive)
        return tf.math.divide_no_nan(2 * hits, total)

    def list_metrics(self, num_outputs: int) -> tuple[Metric, ...]:
        return *(Metric(name, True) for name in _SCORES), Metric("loss", False)

    def compute(self, predictions: Predictions, spec: ModelSpec) -> dict[str, float]:
        """See `Task`.

        Labels that no image has count 0 in `mean_average_precision` and `f1_macro`,
        as in scikit-learn; `roc_auc` is the mean over labels that some images have and
        some have not.
        """
        return _combine(_compute_per_label(predictions, spec), predictions, spec)

    def report(
        self, predictions: Predictions, spec: ModelSpec, with_images: bool = False
    ) -> Report:
        names = tables.list_names(spec)
        per_label = _compute_per_label(predictions, spec)
        values = _combine(per_label, predictions, spec)
        macro = {
            name: float(per_label[name].mean()) for name in ("precision", "recall")
        }
        records = tables.to_records("label", names, per_label)
        text = _format_labels(per_label, macro, values, names)
        return Report(
            num_images=len(predictions.labels),
            values=values,
            macro=macro,
            text=f"{text}\n\n{tables.format_values(values)}\n",
            record={"macro": macro, "labels": records},
            tables={"labels.csv": tables.to_rows(records)},
        )

    def list_predictions(
        self, predictions: Predictions, spec: ModelSpec
    ) -> tuple[tuple[str, ...], list[tuple]]:
        names = tables.list_names(spec)
        scores = self.compute_scores(predictions.logits, spec)
        is_predicted = scores > _get_thresholds(spec)
        columns = ("labels", "predictions", *(f"score_{name}" for name in names))
        return columns, [
            (_join(names, own), _join(names, found), *(f"{s:.6f}" for s in row))
            for own, found, row in zip(
                predictions.labels > 0, is_predicted, scores, strict=True
            )
        ]

    def find_mistakes(
        self, predictions: Predictions, spec: ModelSpec, limit: int
    ) -> tuple[list[Mistake], str]:
        """See `Task`. The worst has the largest cross-entropy over its wrong labels."""
        names = tables.list_names(spec)
        is_positive = predictions.labels > 0
        scores = self.compute_scores(predictions.logits, spec)
        is_wrong = (scores > _get_thresholds(spec)) != is_positive
        losses = metrics.compute_sigmoid_losses(is_positive, predictions.logits)
        losses = np.where(is_wrong, losses, 0)
        (wrong,) = np.nonzero(is_wrong.any(axis=1))
        order = np.argsort(-losses[wrong].sum(axis=1), kind="stable")[:limit]
        mistakes = []
        for i in wrong[order]:
            worst = np.argsort(-losses[i], kind="stable")[: is_wrong[i].sum()]
            facts = [
                Fact(
                    "false negative" if is_positive[i, j] else "false positive",
                    names[j],
                    tables.format_percent(scores[i, j]),
                    "wrong",
                )
                for j in worst[:_MAX_FACTS]
            ]
            own = _join(names, is_positive[i], "; ") or "none"
            mistakes.append(Mistake(int(i), (*facts, Fact("labels", own, "", "right"))))
        return mistakes, (
            f"{len(wrong)} of {len(scores)} images have a wrong label; these are the "
            f"{len(mistakes)} with the largest errors."
        )

    def build_scores(self, logits: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        return tf.nn.sigmoid(logits)

    def compute_scores(self, logits: np.ndarray, spec: ModelSpec) -> np.ndarray:
        return metrics.compute_sigmoid(logits)

    def build_mean_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """See `Task`."""
        yes, no = (
            tf.reduce_logsumexp(tf.log_sigmoid(side), 0) for side in (logits, -logits)
        )
        return yes - no

    def build_signature(
        self, scores: tf.Tensor, spec: ModelSpec
    ) -> dict[str, tf.Tensor]:
        """See `Task`.

        All of shape [n, num_labels]: `probabilities` and `thresholds` float32,
        `label_names` string, `is_predicted` bool.
        """
        thresholds = tf.constant(_get_thresholds(spec), tf.float32)
        shape = tf.shape(scores)
        return {
            "probabilities": tf.identity(scores),
            "thresholds": tf.broadcast_to(thresholds, shape),
            "label_names": tf.broadcast_to(tf.constant(spec.names), shape),
            "is_predicted": scores > thresholds,
        }

    def interpret(self, scores: np.ndarray, spec: ModelSpec, limit: int) -> list[tuple]:
        """See `Task`. Rows are the labels above their thresholds, best first."""
        thresholds = _get_thresholds(spec)
        order = np.argsort(-scores, kind="stable")
        return [
            (spec.names[i], float(scores[i]), float(thresholds[i]))
            for i in order[scores[order] > thresholds[order]][:limit]
        ]

    def format_row(self, row: tuple) -> str:
        name, score, threshold = row
        return f"{score:.4f}  {name}  (threshold {threshold:.4f})"

    def compare(
        self,
        scores: np.ndarray,
        expected: np.ndarray,
        labels: np.ndarray,
        spec: ModelSpec,
    ) -> comparison.Comparison:
        thresholds = _get_thresholds(spec)
        found, right = scores > thresholds, expected > thresholds
        known = ~np.isnan(labels).any(axis=1)
        own = labels > 0
        return comparison.compare_answers(
            np.abs(scores - expected),
            (found == right).all(axis=1),
            (found == own).all(axis=1)[known],
            (right == own).all(axis=1)[known],
        )


def _get_thresholds(spec: ModelSpec) -> np.ndarray:
    """Returns the threshold of each label, float64 [num_labels]."""
    if "thresholds" not in spec.task_state:
        return np.full(spec.num_outputs, _INITIAL_THRESHOLD)
    return spec.read_numbers("thresholds")


def _join(names: Sequence[str], chosen: np.ndarray, separator: str = ";") -> str:
    return separator.join(names[i] for i in np.flatnonzero(chosen))


def _compute_per_label(
    predictions: Predictions, spec: ModelSpec
) -> dict[str, np.ndarray]:
    """Returns the numbers of each label, by name, each of shape [num_labels]."""
    logits = predictions.logits
    thresholds = _get_thresholds(spec)
    is_positive = predictions.labels > 0
    is_predicted = metrics.compute_sigmoid(logits) > thresholds
    hits = (is_positive & is_predicted).sum(axis=0)
    positives, predicted = is_positive.sum(axis=0), is_predicted.sum(axis=0)
    # Ranked by logits, as probabilities near 1 are rounded to equal numbers.
    pairs = list(zip(is_positive.T, logits.T, strict=True))
    return {
        "average_precision": np.array(
            [metrics.compute_average_precision(*pair) for pair in pairs]
        ),
        **metrics.compute_precision_recall_f1(hits, predicted, positives),
        "roc_auc": np.array([metrics.compute_roc_auc(*pair) for pair in pairs]),
        "threshold": thresholds,
        "count": positives,
        "true_positives": hits,
        "false_positives": predicted - hits,
        "false_negatives": positives - hits,
        "true_negatives": len(logits) - positives - predicted + hits,
    }


def _combine(
    per_label: Mapping[str, np.ndarray], predictions: Predictions, spec: ModelSpec
) -> dict[str, float]:
    """Returns the metrics of `list_metrics` from those of each label."""
    hits, false_positives, false_negatives = (
        per_label[f"{name}s"].sum()
        for name in ("true_positive", "false_positive", "false_negative")
    )
    micro = metrics.compute_precision_recall_f1(
        hits, hits + false_positives, hits + false_negatives
    )
    is_predicted = metrics.compute_sigmoid(predictions.logits) > _get_thresholds(spec)
    is_correct = is_predicted == (predictions.labels > 0)
    losses = metrics.compute_sigmoid_losses(predictions.labels, predictions.logits)
    return {
        "mean_average_precision": float(per_label["average_precision"].mean()),
        "f1_micro": float(micro["f1"]),
        "f1_macro": float(per_label["f1"].mean()),
        "exact_match": float(is_correct.all(axis=1).mean()),
        "roc_auc": metrics.average_defined(per_label["roc_auc"]),
        "loss": float(losses.mean()),
    }


def _format_labels(
    per_label: Mapping[str, np.ndarray],
    macro: Mapping[str, float],
    values: Mapping[str, float],
    names: Sequence[str],
) -> str:
    shown, note = tables.choose_rows(per_label["f1"], per_label["count"], "labels")
    fractions = (
        "average_precision", "precision", "recall", "f1", "roc_auc", "threshold"
    )  # fmt: skip
    counts = (
        "true_positives", "false_positives", "false_negatives", "true_negatives"
    )  # fmt: skip
    rows = [
        (
            tables.shorten(names[i]),
            str(per_label["count"][i]),
            *tables.format_fractions(per_label[name][i] for name in fractions),
            *(str(per_label[name][i]) for name in counts),
        )
        for i in shown
    ]
    averages = (
        values["mean_average_precision"], macro["precision"], macro["recall"],
        values["f1_macro"], values["roc_auc"],
    )  # fmt: skip
    total = str(per_label["count"].sum())
    rows.append(("macro average", total, *tables.format_fractions(averages), *[""] * 5))
    header = (
        "label", "images", "AP", "precision", "recall", "F1", "ROC AUC", "threshold",
        "TP", "FP", "FN", "TN",
    )  # fmt: skip
    return tables.format_table(header, rows) + note


TASK = Multilabel()
