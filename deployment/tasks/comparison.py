"""How an exported model compares with its checkpoint, whatever the task."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How the scores of an exported model compare with those of its checkpoint.

    Attributes:
      difference: largest absolute difference of a score; for regression in standard
        deviations of the target.
      agreement: fraction of images with the same answer.
      num_images: number of images.
      score: quality on images with labels (accuracy, exact match, R²), higher is
        better; None without labels.
      expected_score: the same of the checkpoint.
      loss_error: standard error of `expected_score - score`; 0 without labels.
      num_labeled: number of images with labels.
    """

    difference: float
    agreement: float
    num_images: int
    score: float | None = None
    expected_score: float | None = None
    loss_error: float = 0.0
    num_labeled: int = 0


def compare_answers(
    differences: np.ndarray,
    is_same: np.ndarray,
    is_right: np.ndarray,
    is_expected_right: np.ndarray,
) -> Comparison:
    """Compares answers that are right or wrong.

    Args:
      differences: float [n, num_outputs], absolute differences of the scores.
      is_same: bool [n], whether the answer is the checkpoint's.
      is_right: bool [num_labeled], whether it is the label, on images with labels.
      is_expected_right: the same of the checkpoint.
    """
    labeled = {}
    if len(is_right):
        losses = is_expected_right.astype(float) - is_right
        labeled = {
            "score": float(np.mean(is_right)),
            "expected_score": float(np.mean(is_expected_right)),
            "loss_error": compute_standard_error(losses),
            "num_labeled": len(is_right),
        }
    return Comparison(
        difference=float(differences.max()),
        agreement=float(np.mean(is_same)),
        num_images=len(is_same),
        **labeled,
    )


def compute_standard_error(values: np.ndarray) -> float:
    """Returns the standard error of the mean of values, [n]; 0 for fewer than two."""
    count = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
