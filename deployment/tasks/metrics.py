"""How good predictions are: numbers from labels and logits, in NumPy alone.

`compute` gives the few numbers that are followed over a run, `report` all the others.
Both equal what scikit-learn computes from the same predictions.
"""

import dataclasses
import difflib

import numpy as np

# `top_5` is always 1 with five classes or fewer.
TOP_K = 5
# The square of it is the memory of the confusion matrix, in numbers of 8 bytes.
_MAX_MATRIX_CLASSES = 5000
_ROWS_AT_A_TIME = 4096


@dataclasses.dataclass(frozen=True)
class Report:
    """All numbers of an evaluation.

    Attributes:
      num_images: how many images were evaluated.
      values: what `compute` returns.
      precision: float64, shape [num_classes]: of the images that were taken for the
        class, the share that are of it; 0 where there was none.
      recall: float64, shape [num_classes]: of the images of the class, the share
        that was found; 0 where there was none.
      f1: float64, shape [num_classes]: the harmonic mean of the two.
      counts: int64, shape [num_classes]: images of each class.
      macro: 'precision', 'recall' and 'f1' to their mean over the classes that occur
        as a label or as a prediction.
      confusion: int64, shape [num_classes, num_classes], a row for each label, a
        column for each prediction; None with more than 5,000 classes.
    """

    num_images: int
    values: dict
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    counts: np.ndarray
    macro: dict
    confusion: np.ndarray | None


def names(num_classes):
    """The metrics that `compute` returns with so many classes."""
    top = [f"top_{TOP_K}"] if num_classes > TOP_K else []
    return ["accuracy", "loss", *top]


def check_name(name, num_classes, flag_name="--metric"):
    """Raises ValueError, with the nearest names, if `compute` has no such metric."""
    known = names(num_classes)
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"{flag_name} is {name!r}, but with {num_classes} classes it must be one of "
        f"{', '.join(known)}.{hint}"
    )


def compute(predictions):
    """The numbers that are followed over a run.

    Args:
      predictions: has `labels`, int64 of shape [n], and `logits`, float32 of shape
        [n, num_classes]; n is 1 or more.

    Returns:
      A dict of floats: 'accuracy', 'loss' and, with more than five classes, 'top_5'.
    """
    labels, logits = predictions.labels, predictions.logits
    values = {
        "accuracy": compute_accuracy(labels, logits),
        "loss": compute_loss(labels, logits),
    }
    if logits.shape[1] > TOP_K:
        values[f"top_{TOP_K}"] = compute_top_k(labels, logits, TOP_K)
    return values


def report(predictions):
    """All numbers of an evaluation; arguments as of `compute`. Returns a `Report`."""
    labels, num_classes = predictions.labels, predictions.logits.shape[1]
    predicted = predictions.logits.argmax(axis=1)

    def count(classes):
        return np.bincount(classes, minlength=num_classes)

    found = count(labels[predicted == labels])
    counts, taken = count(labels), count(predicted)
    per_class = {
        "precision": _divide(found, taken),
        "recall": _divide(found, counts),
        "f1": _divide(2 * found, taken + counts),
    }
    occurs = taken + counts > 0
    return Report(
        num_images=len(labels),
        values=compute(predictions),
        counts=counts,
        macro={name: float(v[occurs].mean()) for name, v in per_class.items()},
        confusion=compute_confusion(labels, predicted, num_classes)
        if num_classes <= _MAX_MATRIX_CLASSES
        else None,
        **per_class,
    )


def compute_accuracy(labels, logits):
    """The share of images whose best class is the label; of equals, the first."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def compute_top_k(labels, logits, k):
    """The share of images whose label is among the k best classes.

    Of classes with equal logits the last go first, as in scikit-learn.
    """
    classes = np.arange(logits.shape[1])
    hits = 0
    for rows in _split_rows(len(labels)):
        own = np.take_along_axis(logits[rows], labels[rows, None], axis=1)
        is_before = (logits[rows] > own) | (
            (logits[rows] == own) & (classes > labels[rows, None])
        )
        # A logit that is no number is beaten by none, but is no hit.
        hits += ((is_before.sum(axis=1) < k) & ~np.isnan(own[:, 0])).sum()
    return float(hits / len(labels))


def compute_loss(labels, logits):
    """The mean cross-entropy in nats."""
    total = 0.0
    for rows in _split_rows(len(labels)):
        log_probabilities = compute_log_softmax(logits[rows])
        total -= np.take_along_axis(log_probabilities, labels[rows, None], axis=1).sum()
    return float(total / len(labels))


def compute_confusion(labels, predicted, num_classes):
    """Counts pairs: int64, shape [num_classes, num_classes], a row for each label."""
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def compute_scores(logits, classes):
    """The probabilities of one class for each image.

    Args:
      logits: float32, shape [n, num_classes].
      classes: integers, shape [n].

    Returns:
      float64, shape [n].
    """
    scores = [
        np.take_along_axis(
            compute_log_softmax(logits[rows]), classes[rows, None], axis=1
        )[:, 0]
        for rows in _split_rows(len(classes))
    ]
    return np.exp(np.concatenate(scores)) if scores else np.zeros([0])


def compute_log_softmax(logits):
    """The logarithms of the probabilities: float64, of the logits' shape."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _split_rows(count):
    """Slices of rows, so that copies of the logits stay small."""
    for start in range(0, count, _ROWS_AT_A_TIME):
        yield slice(start, start + _ROWS_AT_A_TIME)


def _divide(numerator, denominator):
    """Divides, with 0 where there is nothing to divide by."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0)
