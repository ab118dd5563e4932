"""Classification: every image has exactly one class."""

import random
from collections.abc import Mapping, Sequence

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

TOP_K = 5
# With fewer classes, even a random guess is among the top 5 more often than not.
_LEAST_CLASSES_FOR_TOP_K = 2 * TOP_K
# A confusion matrix takes 8 bytes times the square of it.
_MAX_MATRIX_CLASSES = 5000
# A larger one does not fit on a screen.
_MAX_PRINTED_MATRIX = 20


class Classification(Task):
    """One class per image: softmax cross-entropy, accuracy."""

    name = "classification"
    summary = "one class per image"
    label_dtype = "int64"
    default_metric = "accuracy"
    batch_metric = "accuracy"
    columns = ("rank", "class", "name", "score")

    def read_labels(self, columns: Mapping[str, Sequence[str]]) -> Labels:
        """Reads one column of class names."""
        return label_columns.read_class_names(columns)

    def choose_validation(
        self, values: np.ndarray, fraction: float, seed: int
    ) -> np.ndarray:
        """See `Task`. Each class gives its share, rounded by largest remainders.

        Of a class with two images or more, at least one is held out and one is not.
        """
        to_hold_out = _count_held_out(np.bincount(values), fraction)
        order = list(range(len(values)))
        random.Random(seed).shuffle(order)
        is_held_out = np.zeros(len(values), bool)
        for i in order:
            if to_hold_out[values[i]]:
                is_held_out[i] = True
                to_hold_out[values[i]] -= 1
        return is_held_out

    def summarize(self, values: np.ndarray, num_names: int) -> dict[str, list]:
        return {"class_counts": np.bincount(values, minlength=num_names).tolist()}

    def count_outputs(self, num_names: int, labels_offset: int) -> int:
        if labels_offset >= num_names:
            raise ValueError(
                f"labels_offset is {labels_offset}, but must be below the number of "
                f"classes, {num_names}: use 0, or 1 to leave out a background class."
            )
        return num_names - labels_offset

    def balance(
        self, summary: Mapping[str, Sequence[float]], num_images: int
    ) -> tuple[float, ...]:
        """Returns weights that give every class the same total weight.

        The weight is N / (C n) for a class with n of N images, where C classes have
        images, so that images have a mean weight of 1; classes without images have
        weight 0.

        Args:
          summary: what `summarize` returned, with one count per network output.
          num_images: not used.

        Raises:
          ValueError: if no class has images.
        """
        del num_images
        counts = np.asarray(summary["class_counts"], np.float64)
        if not counts.any() or (counts < 0).any():
            raise ValueError(
                f"The class counts are {counts.tolist()}: at least one must be above "
                "0, and none may be negative."
            )
        weights = np.zeros(counts.shape, np.float32)
        num_present = np.count_nonzero(counts)
        np.divide(counts.sum(), num_present * counts, out=weights, where=counts > 0)
        return tuple(weights.tolist())

    def check_options(self, options: LossOptions) -> None:
        if options.regression_loss != LossOptions.regression_loss:
            raise ValueError(
                f"regression_loss is {options.regression_loss!r}, but task "
                "classification has no use for it: leave it out."
            )

    def build_targets(self, labels: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        return tf.one_hot(labels, spec.num_outputs)

    def build_loss(
        self,
        targets: tf.Tensor,
        logits: tf.Tensor,
        options: LossOptions,
        weight: float = 1.0,
        scope: str | None = None,
    ) -> None:
        weights = weight
        if options.class_weights is not None:
            weights = tf.linalg.matvec(targets, tf.constant(options.class_weights))
            if weight != 1.0:
                weights = weight * weights
        tf.losses.softmax_cross_entropy(
            targets,
            logits,
            weights=weights,
            label_smoothing=options.label_smoothing,
            scope=scope,
        )

    def build_batch_metric(
        self, targets: tf.Tensor, logits: tf.Tensor, spec: ModelSpec
    ) -> tf.Tensor:
        is_correct = tf.equal(tf.argmax(logits, 1), tf.argmax(targets, 1))
        return tf.reduce_mean(tf.cast(is_correct, tf.float32))

    def list_metrics(self, num_outputs: int) -> tuple[Metric, ...]:
        has_top_k = num_outputs >= _LEAST_CLASSES_FOR_TOP_K
        top = [Metric(f"top_{TOP_K}", True)] if has_top_k else []
        return Metric("accuracy", True), Metric("loss", False), *top

    def compute(self, predictions: Predictions, spec: ModelSpec) -> dict[str, float]:
        labels, logits = predictions.labels, predictions.logits
        values = {
            "accuracy": metrics.compute_accuracy(labels, logits),
            "loss": metrics.compute_softmax_loss(labels, logits),
        }
        if logits.shape[1] >= _LEAST_CLASSES_FOR_TOP_K:
            values[f"top_{TOP_K}"] = metrics.compute_top_k(labels, logits, TOP_K)
        return values

    def report(
        self, predictions: Predictions, spec: ModelSpec, with_images: bool = False
    ) -> Report:
        """See `Task`. Macro averages are over classes with labels or predictions."""
        names = tables.list_names(spec)
        num_classes = len(names)
        labels, predicted = predictions.labels, predictions.logits.argmax(axis=1)
        counts = np.bincount(labels, minlength=num_classes)
        num_predicted = np.bincount(predicted, minlength=num_classes)
        hits = np.bincount(labels[predicted == labels], minlength=num_classes)
        per_class = metrics.compute_precision_recall_f1(hits, num_predicted, counts)
        occurs = num_predicted + counts > 0
        macro = {name: float(v[occurs].mean()) for name, v in per_class.items()}
        values = self.compute(predictions, spec)
        parts = [_format_classes(per_class, counts, macro, names)]
        csv_tables, images = {}, {}
        if num_classes <= _MAX_MATRIX_CLASSES:
            confusion = metrics.compute_confusion(labels, predicted, num_classes)
            csv_tables["confusion_matrix.csv"] = [
                ("label \\ prediction", *names),
                *zip(names, *confusion.T.tolist(), strict=True),
            ]
            if with_images:
                images["confusion_matrix"] = charts.draw_confusion(confusion, names)
            if num_classes <= _MAX_PRINTED_MATRIX:
                parts.append(_format_confusion(confusion, names))
        parts.append(tables.format_values(values))
        classes = [
            {
                "class": i,
                "name": name,
                **{metric: float(v[i]) for metric, v in per_class.items()},
                "count": int(counts[i]),
            }
            for i, name in enumerate(names)
        ]
        return Report(
            num_images=len(labels),
            values=values,
            macro=macro,
            text="\n\n".join(parts) + "\n",
            record={"macro": macro, "classes": classes},
            tables=csv_tables,
            images=images,
        )

    def list_predictions(
        self, predictions: Predictions, spec: ModelSpec
    ) -> tuple[tuple[str, ...], list[tuple]]:
        names = tables.list_names(spec)
        predicted = predictions.logits.argmax(axis=1)
        scores = metrics.compute_class_scores(predictions.logits, predicted)
        columns = ("label", "label_name", "prediction", "prediction_name", "score")
        return columns, [
            (int(label), names[label], int(best), names[best], f"{score:.6f}")
            for label, best, score in zip(
                predictions.labels, predicted, scores, strict=True
            )
        ]

    def find_mistakes(
        self, predictions: Predictions, spec: ModelSpec, limit: int
    ) -> tuple[list[Mistake], str]:
        """See `Task`. The worst is the one with the highest score."""
        names = tables.list_names(spec)
        labels, predicted = predictions.labels, predictions.logits.argmax(axis=1)
        (wrong,) = np.nonzero(predicted != labels)
        scores = metrics.compute_class_scores(
            predictions.logits[wrong], predicted[wrong]
        )
        chosen = np.argsort(-scores, kind="stable")[:limit]
        indices = wrong[chosen]
        label_scores = metrics.compute_class_scores(
            predictions.logits[indices], labels[indices]
        )

        def describe(term: str, name: str, score: float, kind: str) -> Fact:
            return Fact(term, name, tables.format_percent(score), kind)

        mistakes = [
            Mistake(
                int(i),
                (
                    describe("predicted", names[predicted[i]], score, "wrong"),
                    describe("label", names[labels[i]], label_score, "right"),
                ),
            )
            for i, score, label_score in zip(
                indices, scores[chosen], label_scores, strict=True
            )
        ]
        return mistakes, (
            f"{len(wrong)} of {len(labels)} images are misclassified; these are the "
            f"{len(mistakes)} most confident mistakes."
        )

    def build_scores(self, logits: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
        return tf.nn.softmax(logits)

    def compute_scores(self, logits: np.ndarray, spec: ModelSpec) -> np.ndarray:
        return metrics.compute_softmax(logits)

    def build_mean_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """See `Task`; they are the logarithms of the mean probabilities."""
        count = tf.cast(tf.shape(logits)[0], logits.dtype)
        return tf.reduce_logsumexp(tf.nn.log_softmax(logits), 0) - tf.log(count)

    def build_signature(
        self, scores: tf.Tensor, spec: ModelSpec
    ) -> dict[str, tf.Tensor]:
        """See `Task`.

        `probabilities` float32 [n, num_classes] and `class_names` of the same shape
        (the same for all images); `top_probabilities` and `top_names` [n, k] of the
        top-5 classes, best first.
        """
        names = tf.constant(spec.names)
        top, indices = tf.nn.top_k(scores, min(TOP_K, spec.num_outputs))
        return {
            "probabilities": tf.identity(scores),
            "class_names": tf.broadcast_to(names, tf.shape(scores)),
            "top_probabilities": top,
            "top_names": tf.gather(names, indices),
        }

    def interpret(self, scores: np.ndarray, spec: ModelSpec, limit: int) -> list[tuple]:
        """See `Task`. Rows are the top classes, best first, with their rank from 1."""
        order = np.argsort(-scores, kind="stable")[:limit]
        return [
            (rank, int(i), spec.names[i], float(scores[i]))
            for rank, i in enumerate(order, 1)
        ]

    def format_row(self, row: tuple) -> str:
        _, _, name, score = row
        return f"{score:.4f}  {name}"

    def compare(
        self,
        scores: np.ndarray,
        expected: np.ndarray,
        labels: np.ndarray,
        spec: ModelSpec,
    ) -> comparison.Comparison:
        best, expected_best = scores.argmax(axis=1), expected.argmax(axis=1)
        known = labels >= 0
        return comparison.compare_answers(
            np.abs(scores - expected),
            best == expected_best,
            (best == labels)[known],
            (expected_best == labels)[known],
        )


def _count_held_out(sizes: np.ndarray, fraction: float) -> list[int]:
    """Returns how many images of each class to hold out."""
    shares = [int(size) * fraction for size in sizes]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda i: counts[i] - shares[i])
    for label in by_remainder[: round(sum(shares)) - sum(counts)]:
        counts[label] += 1
    if not fraction:
        return counts
    return [
        min(max(count, 1), int(size) - 1) if size > 1 else 0
        for count, size in zip(counts, sizes, strict=True)
    ]


def _format_classes(
    per_class: Mapping[str, np.ndarray],
    counts: np.ndarray,
    macro: Mapping[str, float],
    names: Sequence[str],
) -> str:
    shown, note = tables.choose_rows(per_class["f1"], counts, "classes")
    rows = [
        (
            tables.shorten(names[i]),
            str(counts[i]),
            *tables.format_fractions(v[i] for v in per_class.values()),
        )
        for i in shown
    ]
    averages = tables.format_fractions(macro.values())
    rows.append(("macro average", str(counts.sum()), *averages))
    header = ("class", "images", "precision", "recall", "F1")
    return tables.format_table(header, rows) + note


def _format_confusion(confusion: np.ndarray, names: Sequence[str]) -> str:
    keys = [str(i) for i in range(len(names))]
    rows = [
        (tables.shorten(name), key, *map(str, counts))
        for name, key, counts in zip(names, keys, confusion, strict=True)
    ]
    return tables.format_table(("label \\ prediction", "", *keys), rows)


TASK = Classification()
