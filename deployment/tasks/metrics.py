"""Metrics of labels and predictions, in NumPy.

All of them equal what scikit-learn (SciPy for correlations) computes from the same
arrays. A metric that is undefined, such as the ROC AUC of a label that no image has,
is NaN.
"""

from collections.abc import Iterator

import numpy as np

# Rows whose float64 copies are held at a time.
_CHUNK_ROWS = 4096


def compute_accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the top-1 accuracy; among equal logits the first counts as top-1.

    Args:
      labels: int64 [n].
      logits: float32 [n, num_classes].
    """
    return float(np.mean(logits.argmax(axis=1) == labels))


def compute_top_k(labels: np.ndarray, logits: np.ndarray, k: int) -> float:
    """Returns the fraction of images whose label is among the top-k classes.

    Among equal logits the last ones rank first, as in scikit-learn.

    Args:
      labels: int64 [n].
      logits: float32 [n, num_classes].
      k: how many classes count.
    """
    classes = np.arange(logits.shape[1])
    hits = 0
    for rows in _split_rows(len(labels)):
        own = np.take_along_axis(logits[rows], labels[rows, None], axis=1)
        is_before = (logits[rows] > own) | (
            (logits[rows] == own) & (classes > labels[rows, None])
        )
        # No logit exceeds a NaN, which is no hit all the same.
        hits += ((is_before.sum(axis=1) < k) & ~np.isnan(own[:, 0])).sum()
    return float(hits / len(labels))


def compute_softmax_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the mean softmax cross-entropy in nats.

    Args:
      labels: int64 [n].
      logits: float32 [n, num_classes].
    """
    total = 0.0
    for rows in _split_rows(len(labels)):
        log_probabilities = _compute_log_softmax(logits[rows])
        total -= np.take_along_axis(log_probabilities, labels[rows, None], axis=1).sum()
    return float(total / len(labels))


def compute_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of all classes, float64 of the shape of `logits`."""
    return np.exp(_compute_log_softmax(logits))


def compute_class_scores(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the probability of one class per image, float64 [n].

    Args:
      logits: float32 [n, num_classes].
      classes: integers [n], the class of each image.
    """
    scores = [
        np.take_along_axis(
            _compute_log_softmax(logits[rows]), classes[rows, None], axis=1
        )[:, 0]
        for rows in _split_rows(len(classes))
    ]
    return np.exp(np.concatenate(scores)) if scores else np.zeros([0])


def compute_confusion(
    labels: np.ndarray, predicted: np.ndarray, num_classes: int
) -> np.ndarray:
    """Returns the confusion matrix, int64 [label, prediction].

    Args:
      labels: int64 [n].
      predicted: int64 [n].
      num_classes: size of the matrix.
    """
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def compute_precision_recall_f1(
    hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns 'precision', 'recall' and 'f1', each float64 of the arguments' shape.

    They are 0 where undefined.

    Args:
      hits: number of images for which the class was predicted correctly.
      predicted: number of images for which it was predicted.
      actual: number of images that have it.
    """
    return {
        "precision": _divide(hits, predicted),
        "recall": _divide(hits, actual),
        "f1": _divide(2 * hits, predicted + actual),
    }


def compute_sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the logistic function, float64."""
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))


def compute_sigmoid_losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Returns the sigmoid cross-entropy of each label in nats, float64 [n, k].

    Args:
      labels: 0 or 1, [n, k].
      logits: float32 [n, k].
    """
    logits = logits.astype(np.float64)
    return np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def compute_average_precision(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the precision-recall curve, as a step function.

    It is 0 without positives, and NaN if a score is NaN.

    Args:
      is_positive: bool [n].
      scores: float [n].
    """
    if np.isnan(scores).any():
        return float("nan")
    positives = np.count_nonzero(is_positive)
    if not positives:
        return 0.0
    _, hits, predicted = _count_at_thresholds(is_positive, scores)
    new_hits = np.diff(hits, prepend=0)
    return float(np.sum(new_hits * hits / predicted) / positives)


def compute_roc_auc(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the ROC curve.

    It is the probability that a positive ranks above a negative (ties count half); NaN
    unless there are both, or if a score is NaN.

    Args:
      is_positive: bool [n].
      scores: float [n].
    """
    positives = np.count_nonzero(is_positive)
    negatives = len(is_positive) - positives
    if not positives or not negatives or np.isnan(scores).any():
        return float("nan")
    above = _rank(scores)[is_positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def choose_threshold(is_positive: np.ndarray, scores: np.ndarray) -> float | None:
    """Returns the threshold of the best F1, halfway between two neighboring scores.

    Of several the highest; None without positives, or if a score is NaN.

    Args:
      is_positive: bool [n].
      scores: float [n], from 0 to 1.
    """
    if not is_positive.any() or np.isnan(scores).any():
        return None
    distinct, hits, predicted = _count_at_thresholds(is_positive, scores)
    best = int(np.argmax(hits / (predicted + np.count_nonzero(is_positive))))
    below = distinct[best + 1] if best + 1 < len(distinct) else 0.0
    return float((distinct[best] + below) / 2)


def compute_r2(labels: np.ndarray, values: np.ndarray) -> float:
    """Returns the coefficient of determination.

    As in scikit-learn it is 0 for equal labels (1 if all values are correct), and NaN
    for fewer than two images.

    Args:
      labels: float64 [n].
      values: float64 [n], predictions.
    """
    if len(labels) < 2:
        return float("nan")
    residual = np.sum((labels - values) ** 2)
    total = np.sum((labels - labels.mean()) ** 2)
    if total == 0:
        return 1.0 if residual == 0 else 0.0
    return float(1 - residual / total)


def compute_pearson(labels: np.ndarray, values: np.ndarray) -> float:
    """Returns Pearson's correlation; NaN if either side is constant.

    Args:
      labels: float64 [n].
      values: float64 [n], predictions.
    """
    if len(labels) < 2 or np.ptp(labels) == 0 or np.ptp(values) == 0:
        return float("nan")
    labels, values = labels - labels.mean(), values - values.mean()
    norms = np.sqrt(np.sum(labels**2)) * np.sqrt(np.sum(values**2))
    return float(np.clip(np.sum(labels * values) / norms, -1, 1))


def compute_spearman(labels: np.ndarray, values: np.ndarray) -> float:
    """Returns Spearman's rank correlation, with the mean rank for ties.

    NaN if either side is constant, or if a value is NaN.

    Args:
      labels: float64 [n].
      values: float64 [n], predictions.
    """
    if np.isnan(labels).any() or np.isnan(values).any():
        return float("nan")
    return compute_pearson(_rank(labels), _rank(values))


def average_defined(values: np.ndarray) -> float:
    """Returns the mean of the values that are not NaN; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _count_at_thresholds(
    is_positive: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct scores, highest first, with counts at or above each.

    The counts are of positives and of all images.
    """
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    (ends,) = np.nonzero(np.append(scores[1:] != scores[:-1], True))
    return scores[ends], np.cumsum(is_positive[order])[ends], ends + 1


def _rank(values: np.ndarray) -> np.ndarray:
    """Returns ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _compute_log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _split_rows(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK_ROWS):
        yield slice(start, start + _CHUNK_ROWS)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides; the result is 0 where the denominator is."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0)
