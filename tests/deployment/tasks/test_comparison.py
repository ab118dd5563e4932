"""Answers of an exported model are compared with its checkpoint's, and the labels."""

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.tasks import comparison


def test_answers():
    is_same = np.array([True, True, False, True])
    is_right, is_expected_right = np.array([True, False, False]), np.ones(3, bool)
    found = comparison.compare_answers(
        np.array([[0.25, 0.5]]), is_same, is_right, is_expected_right
    )
    assert (found.difference, found.agreement, found.num_images) == (0.5, 0.75, 4)
    assert (found.score, found.expected_score) == (pytest.approx(1 / 3), 1)
    # Losses of 0, 1 and 1.
    assert found.loss_error == pytest.approx(np.sqrt(1 / 3) / np.sqrt(3))
    assert found.num_labeled == 3
    none = np.zeros(0, bool)
    found = comparison.compare_answers(np.zeros([4, 2]), is_same, none, none)
    assert (found.score, found.loss_error, found.num_labeled) == (None, 0, 0)


def test_standard_errors():
    assert comparison.compute_standard_error(np.array([1.0, 3.0])) == 1
    assert comparison.compute_standard_error(np.array([3.0])) == 0


def test_the_error_of_r2_is_that_of_the_mean_over_images():
    """The standard error of R² is close to its deviation over samples of images."""
    rng = np.random.RandomState(0)
    state = {"mean": [0.0, 0.0], "scale": [1.0, 10.0]}
    spec = ModelSpec(
        task="regression", model_name=None, num_outputs=2, task_state=state
    )
    losses, errors = [], []
    for _ in range(200):
        labels = rng.normal(0, [1, 10], [100, 2])
        expected = labels + rng.normal(0, [0.2, 2], [100, 2])
        scores = expected + rng.normal(0, [0.2, 2], [100, 2])
        found = tasks.get_task("regression").compare(scores, expected, labels, spec)
        losses.append(found.expected_score - found.score)
        errors.append(found.loss_error)
    assert np.mean(errors) == pytest.approx(np.std(losses), rel=0.2)
