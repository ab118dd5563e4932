"""Classification: metrics equal scikit-learn's; labels, splits, loss, reports."""

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.tasks import metrics
from deployment.tasks.base import Fact, LossOptions, Predictions
from tf_slim_compat import tf

sklearn_metrics = pytest.importorskip("sklearn.metrics")
TASK = tasks.get_task("classification")


def make_spec(num_classes, names=None):
    return ModelSpec(model_name=None, num_outputs=num_classes, output_names=names)


def make_predictions(num_images, num_classes, seed=0, ties=False, absent=()):
    rng = np.random.RandomState(seed)
    present = [c for c in range(num_classes) if c not in absent]
    labels = rng.choice(present, num_images).astype(np.int64)
    logits = rng.normal(0, 2, [num_images, num_classes]).astype(np.float32)
    logits[np.arange(num_images), labels] += rng.choice([0, 3], num_images)
    logits[:, list(absent)] -= 100
    if ties:
        logits = np.round(logits)
    return Predictions(0, labels, logits)


CASES = {
    "usual": make_predictions(997, 16),
    "one image": make_predictions(1, 6),
    "two classes": make_predictions(101, 2),
    "ties": make_predictions(1013, 12, ties=True),
    "all equal": Predictions(0, np.arange(11) % 8, np.zeros([11, 8], np.float32)),
    "classes that never occur": make_predictions(503, 9, absent=(0, 4, 8)),
    "fewer images than classes": make_predictions(13, 200),
    "more rows than one chunk": make_predictions(9001, 10),
    "large logits": Predictions(
        0, np.array([0, 1, 2]), np.eye(3, dtype=np.float32) * 500 - 1e4
    ),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def predictions(request):
    return CASES[request.param]


def test_accuracy_loss_and_top_5(predictions):
    labels, logits = predictions.labels, predictions.logits
    classes = np.arange(logits.shape[1])
    values = TASK.compute(predictions, make_spec(len(classes)))
    assert values["accuracy"] == pytest.approx(
        sklearn_metrics.accuracy_score(labels, logits.argmax(axis=1)), abs=1e-12
    )
    exponentials = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert values["loss"] == pytest.approx(
        sklearn_metrics.log_loss(labels, probabilities, labels=classes), rel=1e-6
    )
    if len(classes) < 10:
        assert "top_5" not in values
    else:
        assert values["top_5"] == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(labels, logits, k=5, labels=classes),
            abs=1e-12,
        )
    assert list(values) == [metric.name for metric in TASK.list_metrics(len(classes))]


def test_every_k(predictions):
    labels, logits = predictions.labels, predictions.logits
    classes = np.arange(logits.shape[1])
    if len(classes) == 2:
        pytest.skip("scikit-learn takes one score per image here")
    for k in range(1, min(len(classes), 22)):
        assert metrics.compute_top_k(labels, logits, k) == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(labels, logits, k=k, labels=classes),
            abs=1e-12,
        )


def test_per_class_metrics_and_confusion_matrix(predictions):
    labels, predicted = predictions.labels, predictions.logits.argmax(axis=1)
    classes = np.arange(predictions.logits.shape[1])
    report = TASK.report(predictions, make_spec(len(classes)))
    _, *rows = report.tables["confusion_matrix.csv"]
    np.testing.assert_array_equal(
        [row[1:] for row in rows],
        sklearn_metrics.confusion_matrix(labels, predicted, labels=classes),
    )
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    for name, theirs in zip(
        ("precision", "recall", "f1", "count"), expected, strict=True
    ):
        ours = [entry[name] for entry in report.record["classes"]]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    for name, theirs in zip(("precision", "recall", "f1"), expected, strict=False):
        assert report.macro[name] == pytest.approx(theirs, abs=1e-12)
    assert report.num_images == len(labels)
    assert report.record["macro"] == report.macro


def test_scores_are_probabilities():
    logits = CASES["usual"].logits
    scores = TASK.compute_scores(logits, make_spec(6))
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    for i in range(6):
        np.testing.assert_allclose(
            metrics.compute_class_scores(logits, np.full(997, i)), scores[:, i]
        )


def test_nan_logits_are_not_hits():
    logits = np.zeros([4, 8], np.float32)
    logits[:2] = np.nan
    labels = np.array([7, 7, 7, 7])
    assert metrics.compute_top_k(labels, logits, 5) == 0.5
    assert np.isnan(metrics.compute_softmax_loss(labels, logits))


def test_thousands_of_classes_have_no_matrix():
    report = TASK.report(make_predictions(10, 6000), make_spec(6000), with_images=True)
    assert not report.tables and not report.images
    assert sum(entry["count"] for entry in report.record["classes"]) == 10


def test_unknown_metrics_are_errors_with_the_nearest_name():
    assert TASK.get_metric("top_5", 10).higher_is_better
    assert not TASK.get_metric("loss", 6).higher_is_better
    with pytest.raises(ValueError, match="is 'top_5', but task classification with 9"):
        TASK.get_metric("top_5", 9)
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        TASK.get_metric("acuracy", 5)


def test_many_classes_are_reduced_to_the_worst():
    labels = np.arange(150)
    logits = np.eye(150, dtype=np.float32)
    logits[7] = logits[8]
    spec = make_spec(150, tuple(f"n{i}" for i in labels))
    text = TASK.report(Predictions(0, labels, logits), spec).text
    lines = text.splitlines()
    assert lines[1].startswith("n7 ") and lines[2].startswith("n8 ")
    assert "20 classes with the lowest F1 out of 150" in text
    assert "prediction" not in text


def test_names_are_made_printable():
    spec = make_spec(2, ("a\udcff\nb", "Übung 草"))
    predictions = Predictions(0, np.array([0, 1]), np.eye(2, dtype=np.float32)[::-1])
    report = TASK.report(predictions, spec)
    names = [entry["name"] for entry in report.record["classes"]]
    assert names == ["a\\udcff\\nb", "Übung 草"]
    assert TASK.list_predictions(predictions, spec)[1][0][1] == names[0]
    assert TASK.find_mistakes(predictions, spec, 1)[0][0].facts[1].value == names[0]


def test_most_confident_mistakes_come_first():
    logits = np.array([[0, 5], [0, 1], [0, 3], [3, 0], [0, 99]], np.float32)
    predictions = Predictions(0, np.zeros(5, np.int64), logits)
    spec = make_spec(2, ("a", "b"))
    mistakes, sentence = TASK.find_mistakes(predictions, spec, 3)
    assert [mistake.index for mistake in mistakes] == [4, 0, 2]
    assert mistakes[0].facts == (
        Fact("predicted", "b", "> 99.9 %", "wrong"),
        Fact("label", "a", "< 0.1 %", "right"),
    )
    assert [fact.score for fact in mistakes[1].facts] == ["99.3 %", "0.7 %"]
    assert sentence.startswith("4 of 5 images are misclassified; these are the 3 ")
    assert TASK.find_mistakes(predictions, spec, 0)[0] == []


def test_predictions_of_one_image():
    spec = make_spec(3, ("a", "b", "c"))
    scores = np.array([0.2, 0.4, 0.4], np.float32)
    rows = TASK.interpret(scores, spec, 2)
    assert [row[:3] for row in rows] == [(1, 1, "b"), (2, 2, "c")]
    assert len(TASK.columns) == 4 and rows[0][3] == scores[1]
    assert TASK.format_row(rows[0]) == "0.4000  b"


def test_comparison_ignores_unknown_labels():
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    expected = np.array([[0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])
    found = TASK.compare(scores, expected, np.array([0, 0, -1]), make_spec(2))
    assert found.difference == pytest.approx(0.2)
    assert found.agreement == pytest.approx(2 / 3)
    assert (found.score, found.expected_score, found.num_labeled) == (0.5, 1.0, 2)
    found = TASK.compare(scores, expected, np.array([-1, -1, -1]), make_spec(2))
    assert (found.score, found.expected_score, found.num_labeled) == (None, None, 0)


def test_class_names_are_read_in_alphabetical_order():
    labels = TASK.read_labels({"class": ["dog", " cat", "", "dog"]})
    assert labels.names == ("cat", "dog")
    assert labels.values.dtype == np.int64
    np.testing.assert_array_equal(labels.values[[0, 1, 3]], [1, 0, 1])
    assert labels.faults == {2: "column 'class' is empty"}
    with pytest.raises(ValueError, match=r"one column .* has 2 \(a, b\)"):
        TASK.read_labels({"a": ["x"], "b": ["y"]})
    with pytest.raises(ValueError, match="has no class name"):
        TASK.read_labels({"a": ["", " "]})


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ((10, 6), 0.25, (3, 1)),
        ((10, 6), 0.01, (1, 1)),
        ((10, 6), 0.99, (9, 5)),
        ((5, 1, 2), 0.2, (1, 0, 1)),
        ((8, 8, 8), 1 / 6, (2, 1, 1)),
        ((8, 8), 0.0, (0, 0)),
    ],
)
def test_every_class_gives_its_share_to_validation(sizes, fraction, expected):
    values = np.repeat(np.arange(len(sizes)), sizes)
    chosen = TASK.choose_validation(values, fraction, 0)
    assert tuple(np.bincount(values[chosen], minlength=len(sizes))) == expected


def test_the_seed_chooses_validation():
    values = np.arange(100) % 3
    first, second, other = (TASK.choose_validation(values, 0.3, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_balanced_weights_equal_those_of_scikit_learn():
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.repeat([0, 1, 3], [1, 5, 12])
    summary = TASK.summarize(labels, 5)
    assert summary == {"class_counts": [1, 5, 0, 12, 0]}
    weights = TASK.balance(summary, len(labels))
    expected = class_weight.compute_class_weight(
        "balanced", classes=np.array([0, 1, 3]), y=labels
    )
    np.testing.assert_allclose(np.take(weights, [0, 1, 3]), expected, rtol=1e-6)
    assert weights[2] == weights[4] == 0
    with pytest.raises(ValueError, match="at least one must be above 0"):
        TASK.balance({"class_counts": [0, 0]}, 0)


def test_label_offset_leaves_out_outputs():
    assert TASK.count_outputs(1001, 1) == 1000


def test_only_options_of_classification_are_accepted():
    TASK.check_options(
        LossOptions(0.1, class_weights=(1.0, 2.0), mixup_alpha=0.2, cutmix_alpha=1.0)
    )
    with pytest.raises(ValueError, match="regression_loss is 'mae'"):
        TASK.check_options(LossOptions(regression_loss="mae"))


def test_loss_metric_and_outputs_in_the_graph(run):
    predictions = make_predictions(8, 6)
    spec = make_spec(6, tuple("abcdef"))
    labels, logits = map(tf.constant, (predictions.labels, predictions.logits))
    targets = TASK.build_targets(labels, spec)
    class_weights = (1.0, 2.0, 3.0, 1.0, 0.0, 1.0)
    options = LossOptions(class_weights=class_weights)
    TASK.build_loss(targets, logits, LossOptions())
    TASK.build_loss(targets, logits, LossOptions(), weight=0.4, scope="aux_loss")
    TASK.build_loss(targets, logits, options, weight=0.4)
    names = [loss.op.name for loss in tf.losses.get_losses()]
    assert names[:2] == ["softmax_cross_entropy_loss/value", "aux_loss/value"]
    scores = TASK.build_scores(logits, spec)
    losses, accuracy, scores, outputs = run(
        [
            tf.losses.get_losses(),
            TASK.build_batch_metric(targets, logits, spec),
            scores,
            TASK.build_signature(scores, spec),
        ]
    )
    values = TASK.compute(predictions, spec)
    assert losses[0] == pytest.approx(values["loss"], rel=1e-6)
    assert losses[1] == pytest.approx(0.4 * values["loss"], rel=1e-6)
    weights = np.take(class_weights, predictions.labels)
    own = metrics.compute_class_scores(predictions.logits, predictions.labels)
    expected = 0.4 * np.sum(weights * -np.log(own)) / np.count_nonzero(weights)
    assert losses[2] == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(values["accuracy"])
    np.testing.assert_allclose(
        scores, TASK.compute_scores(predictions.logits, spec), atol=1e-6
    )
    best = scores.argmax(axis=1)
    assert [n.decode() for n in outputs["top_names"][:, 0]] == [
        spec.names[i] for i in best
    ]
    assert outputs["top_probabilities"].shape == (8, 5)
    assert [n.decode() for n in outputs["class_names"][3]] == list(spec.names)
