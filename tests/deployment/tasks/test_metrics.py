"""Metrics against scikit-learn's, on the same predictions."""

import types

import numpy as np
import pytest

from deployment.tasks import metrics

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def make_predictions(num_images, num_classes, seed=0, ties=False, absent=()):
    rng = np.random.RandomState(seed)
    present = [c for c in range(num_classes) if c not in absent]
    labels = rng.choice(present, num_images).astype(np.int64)
    logits = rng.normal(0, 2, [num_images, num_classes]).astype(np.float32)
    logits[np.arange(num_images), labels] += rng.choice([0, 3], num_images)
    logits[:, list(absent)] -= 100
    if ties:
        logits = np.round(logits)
    return types.SimpleNamespace(labels=labels, logits=logits)


CASES = {
    "usual": make_predictions(997, 6),
    "one image": make_predictions(1, 6),
    "two classes": make_predictions(101, 2),
    "ties": make_predictions(1013, 7, ties=True),
    "all equal": types.SimpleNamespace(
        labels=np.arange(11) % 8, logits=np.zeros([11, 8], np.float32)
    ),
    "classes that never occur": make_predictions(503, 9, absent=(0, 4, 8)),
    "fewer images than classes": make_predictions(13, 200),
    "more rows than are taken at a time": make_predictions(9001, 10),
    "large logits": types.SimpleNamespace(
        labels=np.array([0, 1, 2]), logits=np.eye(3, dtype=np.float32) * 500 - 1e4
    ),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def predictions(request):
    return CASES[request.param]


def test_accuracy_loss_and_top_5(predictions):
    labels, logits = predictions.labels, predictions.logits
    classes = np.arange(logits.shape[1])
    values = metrics.compute(predictions)
    assert values["accuracy"] == pytest.approx(
        sklearn_metrics.accuracy_score(labels, logits.argmax(axis=1)), abs=1e-12
    )
    exponentials = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert values["loss"] == pytest.approx(
        sklearn_metrics.log_loss(labels, probabilities, labels=classes), rel=1e-6
    )
    if len(classes) <= 5:
        assert "top_5" not in values
    else:
        assert values["top_5"] == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(labels, logits, k=5, labels=classes),
            abs=1e-12,
        )
    assert list(values) == metrics.names(len(classes))


def test_every_k(predictions):
    labels, logits = predictions.labels, predictions.logits
    classes = np.arange(logits.shape[1])
    if len(classes) == 2:
        pytest.skip("scikit-learn wants one score an image here")
    for k in range(1, len(classes)):
        assert metrics.compute_top_k(labels, logits, k) == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(labels, logits, k=k, labels=classes),
            abs=1e-12,
        )
        if k > 20:
            break


def test_classes_and_confusion(predictions):
    labels, predicted = predictions.labels, predictions.logits.argmax(axis=1)
    classes = np.arange(predictions.logits.shape[1])
    report = metrics.report(predictions)
    np.testing.assert_array_equal(
        report.confusion,
        sklearn_metrics.confusion_matrix(labels, predicted, labels=classes),
    )
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    found = (report.precision, report.recall, report.f1, report.counts)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    for name, theirs in zip(("precision", "recall", "f1"), expected, strict=False):
        assert report.macro[name] == pytest.approx(theirs, abs=1e-12)
    assert report.num_images == len(labels) == report.confusion.sum()


def test_scores_are_probabilities():
    predictions = CASES["usual"]
    columns = [
        metrics.compute_scores(predictions.logits, np.full(997, c)) for c in range(6)
    ]
    np.testing.assert_allclose(np.sum(columns, axis=0), 1)


def test_logits_that_are_no_numbers_are_no_hits():
    logits = np.zeros([4, 8], np.float32)
    logits[:2] = np.nan
    labels = np.array([7, 7, 7, 7])
    assert metrics.compute_top_k(labels, logits, 5) == 0.5
    assert np.isnan(metrics.compute_loss(labels, logits))


def test_many_classes_have_no_matrix():
    predictions = make_predictions(10, 6000)
    report = metrics.report(predictions)
    assert report.confusion is None and report.counts.sum() == 10


def test_names():
    metrics.check_name("top_5", 6)
    with pytest.raises(ValueError, match="--metric is 'top_5', but with 5 classes"):
        metrics.check_name("top_5", 5)
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        metrics.check_name("acuracy", 5, "--best_metric")
