"""Regression: metrics equal scikit-learn's and SciPy's; labels, loss, reports."""

import warnings

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.tasks import metrics
from deployment.tasks.base import LossOptions, Predictions
from tf_slim_compat import tf

sklearn_metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")
TASK = tasks.get_task("regression")


def make_case(num_images, num_targets, ties=False, constant=None):
    """Returns predictions and their specification."""
    rng = np.random.RandomState(0)
    scale = np.array([0.01, 1.0, 300.0])[:num_targets]
    mean = np.array([5.0, 0.0, -1000.0])[:num_targets]
    standardized = rng.normal(size=[num_images, num_targets])
    if ties:
        standardized = np.round(standardized)
    if constant is not None:
        standardized[:, constant] = 0
    logits = standardized * 0.7 + rng.normal(0, 0.5, standardized.shape)
    logits = (np.round(logits) if ties else logits).astype("f4")
    labels = (standardized * scale + mean).astype("f4")
    return Predictions(0, labels, logits), make_spec(mean.tolist(), scale.tolist())


def make_spec(mean, scale):
    return ModelSpec(
        task="regression",
        model_name=None,
        num_outputs=len(mean),
        output_names=("age", "height", "$x$")[: len(mean)],
        task_state={"mean": mean, "scale": scale},
    )


CASES = {
    "usual": make_case(501, 1),
    "three targets": make_case(203, 3),
    "ties": make_case(101, 2, ties=True),
    "a constant target": make_case(50, 3, constant=1),
    "two images": make_case(2, 1),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def test_metrics_equal_scikit_learn_and_scipy(case):
    predictions, spec = case
    labels = predictions.labels.astype(float)
    found = TASK.compute_scores(predictions.logits, spec)
    values = TASK.compute(predictions, spec)
    pairs = list(zip(labels.T, found.T, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correlations = {
            "pearson": [stats.pearsonr(*pair).statistic for pair in pairs],
            "spearman": [stats.spearmanr(*pair).statistic for pair in pairs],
        }
    expected = {
        "r2": sklearn_metrics.r2_score(labels, found),
        "mae": sklearn_metrics.mean_absolute_error(labels, found),
        "rmse": sklearn_metrics.root_mean_squared_error(labels, found),
        "loss": sklearn_metrics.mean_squared_error(
            standardize(labels, spec), predictions.logits.astype(float)
        ),
        **{name: np.nanmean(each) for name, each in correlations.items()},
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert list(values) == [metric.name for metric in TASK.list_metrics(len(pairs))]
    rows = TASK.report(predictions, spec).record["targets"]
    for name, each in correlations.items():
        np.testing.assert_allclose([row[name] for row in rows], each, atol=1e-12)
    np.testing.assert_allclose(
        [row["r2"] for row in rows],
        sklearn_metrics.r2_score(labels, found, multioutput="raw_values"),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        [row["mean_error"] for row in rows], (found - labels).mean(axis=0)
    )


def standardize(labels, spec):
    return (labels - spec.task_state["mean"]) / spec.task_state["scale"]


def test_undefined_metrics():
    one, spec = make_case(1, 1)
    values = TASK.compute(one, spec)
    for name in ("r2", "pearson", "spearman"):
        assert np.isnan(values[name])
    same = np.ones(3)
    assert metrics.compute_r2(same, same) == 1
    assert metrics.compute_r2(same, same * 2) == 0
    values = TASK.compute(
        Predictions(
            0, np.arange(3, dtype="f4")[:, None], np.full([3, 1], np.nan, "f4")
        ),
        spec,
    )
    assert all(map(np.isnan, values.values()))


def test_columns_of_numbers():
    labels = TASK.read_labels(
        {"age": ["1", " 2.5", "x", "3"], "height": ["-1e3", "nan", "2", ""]}
    )
    assert labels.names == ("age", "height") and labels.values.dtype == np.float32
    np.testing.assert_array_equal(labels.values[0], [1, -1000])
    assert labels.faults == {
        1: "column 'height' is 'nan', not a finite number",
        2: "column 'age' is 'x', not a finite number",
        3: "column 'height' is '', not a finite number",
    }
    cells = ["inf", "-inf", "1e39", "1_000", "0x10", "1,5"]
    assert len(TASK.read_labels({"age": cells}).faults) == len(cells)
    with pytest.raises(ValueError, match="has no label column"):
        TASK.read_labels({})


@pytest.mark.parametrize("num_targets", [1, 3])
def test_validation_has_the_same_distribution(num_targets):
    rng = np.random.RandomState(0)
    common = rng.exponential(size=[400, 1])
    values = (common + 0.1 * rng.normal(size=[400, num_targets])) * [1, 20, 5][
        :num_targets
    ]
    values = values.astype("f4")
    chosen = TASK.choose_validation(values, 0.25, 3)
    assert chosen.sum() == 100
    for held_out, other in zip(values[chosen].T, values[~chosen].T, strict=True):
        # A random split of this size comes to 0.1 about every third time.
        assert stats.ks_2samp(held_out, other).statistic < 0.06
    np.testing.assert_array_equal(chosen, TASK.choose_validation(values, 0.25, 3))
    assert (chosen != TASK.choose_validation(values, 0.25, 4)).any()


def test_equal_values_are_split_at_random():
    chosen = TASK.choose_validation(np.ones([100, 1], "f4"), 0.1, 0)
    assert chosen.sum() == 10
    positions = np.flatnonzero(chosen)
    assert positions.tolist() != sorted(set(positions // 10 * 10 + positions[0] % 10))
    assert not TASK.choose_validation(np.ones([4, 1], "f4"), 0.0, 0).any()
    assert not TASK.choose_validation(np.ones([1, 1], "f4"), 0.5, 0).any()
    for fraction in (0.01, 0.99):
        assert 0 < TASK.choose_validation(np.ones([3, 2], "f4"), fraction, 0).sum() < 3


def test_summary_and_initial_state():
    values = np.array([[1, 5], [3, 5]], "f4")
    summary = TASK.summarize(values, 2)
    assert summary == {
        "mean": [2.0, 5.0],
        "std": [1.0, 0.0],
        "min": [1.0, 5.0],
        "max": [3.0, 5.0],
    }
    assert TASK.initial_state(summary, 2) == {"mean": [2.0, 5.0], "scale": [1.0, 1.0]}
    assert TASK.summarize(values[:0], 2)["std"] == [0.0, 0.0]


def test_options_that_make_no_sense_are_errors():
    TASK.check_options(LossOptions(regression_loss="huber", mixup_alpha=0.2))
    for options, message in (
        (LossOptions(label_smoothing=0.1), "label_smoothing is 0.1, but task regress"),
        (LossOptions(class_weights=(1.0,)), "class_weights is"),
        (LossOptions(cutmix_alpha=1.0), "cutmix_alpha is 1.0"),
        (LossOptions(regression_loss="l1"), "'l1', but must be one of mse, mae, huber"),
        (LossOptions(huber_delta=0), "huber_delta is 0, but must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            TASK.check_options(options)
    with pytest.raises(ValueError, match="has no meaning for task regression"):
        TASK.balance({}, 5)
    with pytest.raises(ValueError, match="labels_offset is 1"):
        TASK.count_outputs(2, 1)


def test_a_model_without_mean_and_scale_is_an_error():
    spec = make_spec([1.0], [2.0]).replace(task_state={})
    with pytest.raises(ValueError, match="mean and scale .* are unknown"):
        TASK.compute_scores(np.zeros([1, 1]), spec)


def test_values_of_one_image():
    spec = make_spec([1.0, 2.0], [1.0, 1.0])
    rows = TASK.interpret(np.array([1.5, 2.25]), spec, 1)
    assert rows == [("age", 1.5), ("height", 2.25)]
    assert TASK.format_row(rows[1]) == "2.25  height"
    assert TASK.columns == ("target", "value")


def test_predictions_table():
    spec = make_spec([10.0, 0.0], [2.0, 1.0])
    predictions = Predictions(
        0, np.array([[11, 0.1]], "f4"), np.array([[1.0, 0.5]], "f4")
    )
    columns, rows = TASK.list_predictions(predictions, spec)
    assert columns == ("age", "predicted_age", "height", "predicted_height")
    assert rows == [("11", "12", "0.1", "0.5")]


def test_largest_errors_come_first():
    spec = make_spec([0.0, 0.0], [1.0, 100.0])
    labels = np.array([[0, 0], [0, 0], [0, 0]], "f4")
    logits = np.array([[1, 0], [0, 2], [-3, 0]], "f4")
    mistakes, sentence = TASK.find_mistakes(Predictions(0, labels, logits), spec, 2)
    assert [mistake.index for mistake in mistakes] == [2, 1]
    first, label, *_ = mistakes[1].facts
    assert first == ("height, predicted", "200", "+2.00 SD", "wrong")
    assert label == ("height, label", "0", "", "right")
    assert "2 of 3 images with the largest errors" in sentence


def test_comparison():
    spec = make_spec([0.0], [10.0])
    expected = np.array([[1.0], [2.0], [3.0]])
    scores = expected + [[0.0], [0.5], [5.0]]
    labels = np.array([[1.0], [2.0], [np.nan]])
    found = TASK.compare(scores, expected, labels, spec)
    assert found.difference == pytest.approx(0.5)
    assert found.agreement == pytest.approx(2 / 3)
    assert (found.score, found.expected_score, found.num_labeled) == (0.5, 1.0, 2)
    found = TASK.compare(scores, expected, labels * np.nan, spec)
    assert (found.score, found.expected_score, found.num_labeled) == (None, None, 0)


def test_losses_metric_and_outputs_in_the_graph(run):
    predictions, spec = make_case(32, 3)
    labels, logits = map(tf.constant, (predictions.labels, predictions.logits))
    targets = TASK.build_targets(labels, spec)
    for options in (
        LossOptions(),
        LossOptions(regression_loss="mae"),
        LossOptions(regression_loss="huber", huber_delta=0.4),
    ):
        TASK.build_loss(targets, logits, options)
    TASK.build_loss(targets, logits, LossOptions(), weight=0.4, scope="aux_loss")
    assert tf.losses.get_losses()[3].op.name == "aux_loss/value"
    scores = TASK.build_scores(logits, spec)
    losses, standardized, mae, scores, outputs = run(
        [
            tf.losses.get_losses(),
            targets,
            TASK.build_batch_metric(targets, logits, spec),
            scores,
            TASK.build_signature(scores, spec),
        ]
    )
    np.testing.assert_allclose(
        standardized, standardize(predictions.labels, spec), rtol=1e-3, atol=1e-4
    )
    errors = np.abs(predictions.logits - standardized)
    huber = np.where(errors <= 0.4, errors**2 / 2, 0.4 * (errors - 0.2))
    expected = [(errors**2).mean(), errors.mean(), huber.mean()]
    expected.append(0.4 * expected[0])
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert mae == pytest.approx(TASK.compute(predictions, spec)["mae"], rel=1e-4)
    np.testing.assert_allclose(
        scores, TASK.compute_scores(predictions.logits, spec), rtol=1e-5, atol=1e-4
    )
    np.testing.assert_array_equal(outputs["values"], scores)
    assert [n.decode() for n in outputs["target_names"][5]] == list(spec.names)


def test_report_has_charts():
    predictions, spec = make_case(40, 3)
    report = TASK.report(predictions, spec, with_images=True)
    assert set(report.images) == {"scatter", "errors"}
    assert not TASK.report(predictions, spec).images
    header, *rows = report.tables["targets.csv"]
    assert header[:3] == ("target", "r2", "mae") and len(rows) == 3
    assert "age" in report.text and "\nr2 " in report.text
