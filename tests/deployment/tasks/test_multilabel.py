"""Multilabel: metrics equal scikit-learn's; labels, thresholds, loss, reports."""

import warnings

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.tasks import metrics
from deployment.tasks.base import Fact, LossOptions, Predictions
from tf_slim_compat import tf

sklearn_metrics = pytest.importorskip("sklearn.metrics")
TASK = tasks.get_task("multilabel")
NAMES = tuple("abcdefgh")


def make_spec(num_labels, thresholds=None):
    state = {} if thresholds is None else {"thresholds": thresholds}
    return ModelSpec(
        task="multilabel",
        model_name=None,
        num_outputs=num_labels,
        output_names=NAMES[:num_labels],
        task_state=state,
    )


def make_predictions(num_images, num_labels, ties=False, absent=(), common=()):
    rng = np.random.RandomState(0)
    labels = (rng.uniform(size=[num_images, num_labels]) < 0.3).astype(np.float32)
    labels[:, list(absent)] = 0
    labels[:, list(common)] = 1
    logits = rng.normal(-1, 2, labels.shape) + 2 * labels
    return Predictions(0, labels, (np.round(logits) if ties else logits).astype("f4"))


CASES = {
    "usual": make_predictions(499, 5),
    "ties": make_predictions(307, 4, ties=True),
    "all equal": Predictions(0, np.eye(4, dtype="f4"), np.zeros([4, 4], "f4")),
    "labels that no image has": make_predictions(97, 6, absent=(0, 3)),
    "labels that all images have": make_predictions(97, 6, common=(2,)),
    "one label": make_predictions(61, 1),
    "one image": make_predictions(1, 5),
}
THRESHOLDS = [0.3, 0.5, 0.7, 0.5, 0.2, 0.9]


@pytest.fixture(params=CASES, ids=list(CASES))
def predictions(request):
    return CASES[request.param]


@pytest.fixture(autouse=True)
def undefined_metrics_are_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_metrics_equal_scikit_learn(predictions):
    labels = predictions.labels.astype(int)
    num_labels = labels.shape[1]
    spec = make_spec(num_labels, THRESHOLDS[:num_labels])
    scores = TASK.compute_scores(predictions.logits, spec)
    predicted = (scores > THRESHOLDS[:num_labels]).astype(int)
    values = TASK.compute(predictions, spec)
    binary = {"average": None} if num_labels > 1 else {"average": "binary"}
    f1 = sklearn_metrics.f1_score(labels, predicted, zero_division=0, **binary)
    expected = {
        "mean_average_precision": np.mean(
            [
                sklearn_metrics.average_precision_score(own, own_scores)
                for own, own_scores in zip(labels.T, scores.T, strict=True)
            ]
        ),
        "f1_micro": sklearn_metrics.f1_score(
            labels.ravel(), predicted.ravel(), zero_division=0
        ),
        "f1_macro": np.mean(f1),
        "exact_match": sklearn_metrics.accuracy_score(labels, predicted),
        "loss": np.mean(
            [
                sklearn_metrics.log_loss(own, own_scores, labels=[0, 1])
                for own, own_scores in zip(labels.T, scores.T, strict=True)
            ]
        ),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-6, abs=1e-12), name
    if num_labels > 1:
        assert values["mean_average_precision"] == pytest.approx(
            sklearn_metrics.average_precision_score(labels, scores), abs=1e-12
        )
    assert list(values) == [metric.name for metric in TASK.list_metrics(num_labels)]


def test_reports_of_each_label_equal_scikit_learn(predictions):
    labels = predictions.labels.astype(int)
    num_labels = labels.shape[1]
    spec = make_spec(num_labels, THRESHOLDS[:num_labels])
    scores = TASK.compute_scores(predictions.logits, spec)
    report = TASK.report(predictions, spec)
    defined = []
    for i, row in enumerate(report.record["labels"]):
        own, predicted = labels[:, i], scores[:, i] > THRESHOLDS[i]
        expected = sklearn_metrics.precision_recall_fscore_support(
            own, predicted, average="binary", zero_division=0
        )[:3]
        found = row["precision"], row["recall"], row["f1"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        counts = sklearn_metrics.confusion_matrix(own, predicted, labels=[0, 1])
        assert counts.ravel().tolist() == [
            row[f"{name}s"]
            for name in (
                "true_negative", "false_positive", "false_negative", "true_positive"
            )
        ]  # fmt: skip
        if len(set(own)) == 2:
            auc = sklearn_metrics.roc_auc_score(own, scores[:, i])
            assert row["roc_auc"] == pytest.approx(auc, abs=1e-12)
            defined.append(auc)
        else:
            assert np.isnan(row["roc_auc"])
        assert row["threshold"] == THRESHOLDS[i] and row["label"] == NAMES[i]
    found = report.values["roc_auc"]
    assert found == pytest.approx(np.mean(defined)) if defined else np.isnan(found)
    header, *rows = report.tables["labels.csv"]
    assert header[0] == "label" and [row[0] for row in rows] == list(spec.names)
    assert report.text.count("\n") > num_labels + len(report.values)


def test_thresholds_maximize_f1(predictions):
    num_labels = predictions.labels.shape[1]
    spec = make_spec(num_labels)
    state = TASK.fit_state(predictions, spec)
    scores = TASK.compute_scores(predictions.logits, spec)
    for i, threshold in enumerate(state["thresholds"]):
        own = predictions.labels[:, i]
        if not own.any():
            assert threshold == 0.5
            continue
        f1 = sklearn_metrics.f1_score(own, scores[:, i] > threshold)
        precision, recall, _ = sklearn_metrics.precision_recall_curve(own, scores[:, i])
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-9))
        assert f1 == pytest.approx(best)
        assert not np.isin(threshold, scores[:, i])
    assert TASK.fit_state(predictions, spec) == state


def test_thresholds_are_midpoints():
    scores = np.array([0.9, 0.8, 0.4, 0.2])
    choose = metrics.choose_threshold
    assert choose(np.array([True, True, False, False]), scores) == pytest.approx(0.6)
    assert choose(np.array([False, False, False, True]), scores) == pytest.approx(0.1)
    assert choose(np.zeros(4, bool), scores) is None
    assert choose(np.ones(4, bool), np.full(4, np.nan)) is None


def test_initial_thresholds():
    assert TASK.initial_state({}, 3) == {"thresholds": [0.5, 0.5, 0.5]}


def test_metrics_of_nan_logits_are_nan():
    labels = np.eye(4, dtype="f4")
    values = TASK.compute(Predictions(0, labels, labels * np.nan), make_spec(4))
    for name in ("mean_average_precision", "roc_auc", "loss"):
        assert np.isnan(values[name])


def test_saturated_scores_are_still_ranked():
    logits = np.array([[60.0], [50.0], [40.0]], "f4")
    predictions = Predictions(0, np.array([[1], [1], [0]], "f4"), logits)
    assert TASK.compute(predictions, make_spec(1))["roc_auc"] == 1


def test_names_separated_by_semicolons():
    labels = TASK.read_labels({"labels": ["b; a", "", "a;", "c;c"]})
    assert labels.names == ("a", "b", "c") and not labels.faults
    assert labels.values.dtype == np.float32
    np.testing.assert_array_equal(
        labels.values, [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    )
    with pytest.raises(ValueError, match="'labels' of the label file has no label"):
        TASK.read_labels({"labels": ["", ";"]})


def test_columns_of_zeros_and_ones():
    labels = TASK.read_labels({"z": ["1", "0", "0"], "a": ["0", "yes", " 1"]})
    assert labels.names == ("z", "a")
    np.testing.assert_array_equal(labels.values[[0, 2]], [[1, 0], [0, 1]])
    assert labels.faults == {1: "column 'a' is 'yes', not 0 or 1"}
    assert TASK.read_labels({"z": ["1", "", "0"], "a": ["0", "1", "1"]}).faults == {
        1: "column 'z' is '', not 0 or 1"
    }
    labels = TASK.read_labels({"is_cat": ["1", "0"]})
    assert labels.names == ("is_cat",)
    np.testing.assert_array_equal(labels.values, [[1], [0]])
    with pytest.raises(ValueError, match="has no label column"):
        TASK.read_labels({})


@pytest.mark.parametrize("num_labels", [1, 6])
def test_validation_has_the_same_share_of_every_label(num_labels):
    rng = np.random.RandomState(0)
    frequencies = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05][-num_labels:]
    values = (rng.uniform(size=[600, num_labels]) < frequencies).astype("f4")
    chosen = TASK.choose_validation(values, 0.2, 3)
    assert chosen.sum() == pytest.approx(120, abs=5)
    np.testing.assert_allclose(
        values[chosen].sum(axis=0), 0.2 * values.sum(axis=0), atol=0.5
    )
    np.testing.assert_array_equal(chosen, TASK.choose_validation(values, 0.2, 3))
    assert (chosen != TASK.choose_validation(values, 0.2, 4)).any()


def test_small_and_empty_splits():
    labels = np.array([[1, 0], [0, 1], [0, 0]], "f4")
    assert not TASK.choose_validation(labels, 0.0, 0).any()
    assert not TASK.choose_validation(labels[:1], 0.5, 0).any()
    for fraction in (0.01, 0.5, 0.99):
        for count in (2, 3):
            chosen = TASK.choose_validation(labels[:count], fraction, 0)
            assert 0 < chosen.sum() < count


def test_summary_and_balanced_weights():
    labels = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 0], [0, 0, 1]], "f4")
    summary = TASK.summarize(labels, 3)
    assert summary == {"class_counts": [3, 0, 3]}
    assert TASK.balance(summary, 4) == (1 / 3, 1.0, 1 / 3)


def test_options_and_label_offset():
    TASK.check_options(LossOptions(0.1, class_weights=(1.0,), cutmix_alpha=1.0))
    with pytest.raises(ValueError, match="regression_loss is 'huber'"):
        TASK.check_options(LossOptions(regression_loss="huber"))
    with pytest.raises(ValueError, match="labels_offset is 1, but task multilabel"):
        TASK.count_outputs(3, 1)
    assert TASK.count_outputs(3, 0) == 3


def test_labels_above_their_thresholds():
    spec = make_spec(4, [0.5, 0.5, 0.7, 0.1])
    rows = TASK.interpret(np.array([0.4, 0.9, 0.6, 0.2]), spec, 5)
    assert rows == [("b", 0.9, 0.5), ("d", 0.2, 0.1)]
    assert TASK.interpret(np.array([0.4, 0.9, 0.6, 0.2]), spec, 1) == rows[:1]
    assert TASK.interpret(np.zeros(4), spec, 5) == []
    assert TASK.format_row(rows[0]) == "0.9000  b  (threshold 0.5000)"
    assert len(TASK.columns) == 3


def test_predictions_table():
    logits = np.array([[3, -3, 3], [-3, -3, -3]], "f4")
    predictions = Predictions(0, np.array([[1, 1, 0], [0, 0, 0]], "f4"), logits)
    columns, rows = TASK.list_predictions(predictions, make_spec(3))
    assert columns == ("labels", "predictions", "score_a", "score_b", "score_c")
    assert rows[0] == ("a;b", "a;c", "0.952574", "0.047426", "0.952574")
    assert rows[1][:2] == ("", "")


def test_largest_mistakes_come_first():
    logits = np.array([[3, -3, 3], [-3, -3, -3], [-9, 1, -9], [3, 3, -3]], "f4")
    labels = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]], "f4")
    predictions = Predictions(0, labels, logits)
    mistakes, sentence = TASK.find_mistakes(predictions, make_spec(3), 2)
    assert [mistake.index for mistake in mistakes] == [3, 0]
    assert mistakes[0].facts == (
        Fact("false positive", "a", "95.3 %", "wrong"),
        Fact("false positive", "b", "95.3 %", "wrong"),
        Fact("false negative", "c", "4.7 %", "wrong"),
        Fact("labels", "c", "", "right"),
    )
    assert sentence.startswith("3 of 4 images have a wrong label; these are the 2 ")
    mistakes, _ = TASK.find_mistakes(predictions, make_spec(3), 9)
    assert mistakes[2].facts[-1] == Fact("labels", "none", "", "right")


def test_comparison_ignores_unknown_labels():
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    expected = np.array([[0.8, 0.2], [0.6, 0.6], [0.6, 0.4]])
    labels = np.array([[1, 0], [1, 1], [np.nan, np.nan]])
    found = TASK.compare(scores, expected, labels, make_spec(2))
    assert found.difference == pytest.approx(0.2)
    assert found.agreement == pytest.approx(2 / 3)
    assert (found.score, found.expected_score, found.num_labeled) == (0.5, 1.0, 2)
    found = TASK.compare(scores, expected, labels * np.nan, make_spec(2))
    assert (found.score, found.expected_score, found.num_labeled) == (None, None, 0)


def test_loss_metric_and_outputs_in_the_graph(run):
    predictions = make_predictions(16, 3)
    spec = make_spec(3, [0.3, 0.5, 0.0])
    labels, logits = map(tf.constant, (predictions.labels, predictions.logits))
    targets = TASK.build_targets(labels, spec)
    weights = (1.0, 2.0, 0.5)
    TASK.build_loss(targets, logits, LossOptions())
    TASK.build_loss(targets, logits, LossOptions(), weight=0.4, scope="aux_loss")
    TASK.build_loss(targets, logits, LossOptions(0.1, class_weights=weights))
    tf.losses.sigmoid_cross_entropy(labels, logits, label_smoothing=0.1)
    TASK.build_loss(targets, logits, LossOptions(0.1))
    scores = TASK.build_scores(logits, spec)
    losses, f1, scores, outputs = run(
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
    assert losses[4] == pytest.approx(losses[3], rel=1e-6)
    smooth = predictions.labels * 0.9 + 0.05
    expected = -np.mean(
        np.array(weights) * smooth * np.log(scores) + (1 - smooth) * np.log(1 - scores)
    )
    assert losses[2] == pytest.approx(expected, rel=1e-5)
    assert f1 == pytest.approx(values["f1_micro"], rel=1e-6)
    np.testing.assert_allclose(
        scores, TASK.compute_scores(predictions.logits, spec), atol=1e-6
    )
    np.testing.assert_array_equal(outputs["is_predicted"], scores > [0.3, 0.5, 0.0])
    assert [n.decode() for n in outputs["label_names"][0]] == ["a", "b", "c"]
    np.testing.assert_allclose(outputs["thresholds"][3], [0.3, 0.5, 0.0], rtol=1e-6)


def test_positive_weights_equal_those_of_tensorflow(run):
    predictions = make_predictions(16, 3)
    labels, logits = map(tf.constant, (predictions.labels, predictions.logits))
    TASK.build_loss(labels, logits, LossOptions(class_weights=(1.0, 3.0, 0.0)))
    (loss,) = run(tf.losses.get_losses())
    scores = TASK.compute_scores(predictions.logits, make_spec(3))
    own = np.where(predictions.labels > 0, scores, 1 - scores)
    factors = np.where(predictions.labels > 0, [1.0, 3.0, 0.0], 1.0)
    assert loss == pytest.approx(-np.mean(factors * np.log(own)), rel=1e-5)
