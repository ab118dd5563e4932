"""Canned estimators learn a table of numbers and keep what they learned."""

import math

import numpy as np
import pytest
from estimator_toys import CLASSES, FEATURES, VALUES, input_fn, run_config

from tf_slim_compat import tf

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

estimators = tf.estimator
columns = tf.feature_column
x = columns.numeric_column("x", shape=(2,))
color = columns.categorical_column_with_vocabulary_list(
    "color", ["red", "green", "blue"]
)
dense_color = columns.indicator_column(color)
embedded_color = columns.embedding_column(color, 2)
# Of the squares of the values around their mean.
VARIANCE = float(np.var(VALUES))


def adam():
    return tf.train.AdamOptimizer(0.1)


# Name -> constructor, labels, and the metric with the bound that it reaches.
LEARNERS = {
    "LinearClassifier": (
        lambda **o: estimators.LinearClassifier([x, color], optimizer=adam, **o),
        CLASSES,
        ("accuracy", 0.95, 1),
    ),
    "DNNClassifier": (
        lambda **o: estimators.DNNClassifier(
            [8], [x, dense_color, embedded_color], optimizer=adam, **o
        ),
        CLASSES,
        ("accuracy", 0.95, 1),
    ),
    "DNNLinearCombinedRegressor": (
        lambda **o: estimators.DNNLinearCombinedRegressor(
            linear_feature_columns=[color],
            linear_optimizer=adam,
            dnn_feature_columns=[x],
            dnn_hidden_units=[8],
            dnn_optimizer=adam,
            **o,
        ),
        VALUES,
        ("average_loss", 0, VARIANCE / 10),
    ),
    "BaselineClassifier": (
        lambda **o: estimators.BaselineClassifier(optimizer=adam, **o),
        CLASSES,
        ("prediction/mean", CLASSES.mean() - 0.02, CLASSES.mean() + 0.02),
    ),
}
# These share their code with those above; only learning and evaluation are tried.
RELATIVES = {
    "LinearRegressor": (
        lambda **o: estimators.LinearRegressor([x, color], optimizer=adam, **o),
        VALUES,
        ("average_loss", 0, VARIANCE / 10),
    ),
    "BaselineRegressor": (
        lambda **o: estimators.BaselineRegressor(optimizer=adam, **o),
        VALUES,
        ("average_loss", 0.99 * VARIANCE, 1.02 * VARIANCE),
    ),
    "LinearEstimator": (
        lambda **o: estimators.LinearEstimator(
            estimators.RegressionHead(), [x, color], optimizer=adam, **o
        ),
        VALUES,
        ("average_loss", 0, VARIANCE / 10),
    ),
    "DNNEstimator": (
        lambda **o: estimators.DNNEstimator(
            estimators.MultiClassHead(3), [8], [x], optimizer=adam, **o
        ),
        CLASSES,
        ("accuracy", 0.95, 1),
    ),
    "BaselineEstimator": (
        lambda **o: estimators.BaselineEstimator(
            estimators.BinaryClassHead(), optimizer=adam, **o
        ),
        CLASSES,
        ("prediction/mean", CLASSES.mean() - 0.02, CLASSES.mean() + 0.02),
    ),
    "DNNLinearCombinedEstimator": (
        lambda **o: estimators.DNNLinearCombinedEstimator(
            estimators.LogisticRegressionHead(),
            linear_feature_columns=[x],
            dnn_feature_columns=[x],
            dnn_hidden_units=[8],
            dnn_optimizer=adam,
            **o,
        ),
        CLASSES.astype(np.float32),
        ("average_loss", 0, 0.3),
    ),
    "KMeans": (
        lambda **o: estimators.experimental.KMeans(
            4, feature_columns=[x], use_mini_batch=False, **o
        ),
        None,
        ("score", 0, 0.5 * float((FEATURES["x"] ** 2).sum())),
    ),
}


def learn(make, labels, folder):
    learner = make(config=run_config(folder))
    learner.train(input_fn(labels), steps=60)
    return learner


def is_within(metrics, metric, low, high):
    return low <= metrics[metric] <= high


@pytest.fixture(scope="module", params=LEARNERS)
def learned(request, tmp_path_factory):
    """A trained estimator: constructor, labels, estimator, its metrics, the bounds."""
    make, labels, bounds = LEARNERS[request.param]
    learner = learn(make, labels, tmp_path_factory.mktemp(request.param))
    return make, labels, learner, learner.evaluate(input_fn(labels, 1)), bounds


def test_it_learns(learned):
    _, _, _, metrics, bounds = learned
    assert is_within(metrics, *bounds), metrics
    assert metrics["global_step"] == 60


def test_predictions_agree_with_the_evaluation(learned):
    _, labels, learner, metrics, _ = learned
    found = list(learner.predict(input_fn(None, 1)))
    if "accuracy" in metrics:
        hits = [int(p["class_ids"][0]) == y for p, y in zip(found, labels, strict=True)]
        assert np.mean(hits) == pytest.approx(metrics["accuracy"])
    else:
        squares = np.square([p["predictions"][0] for p in found] - labels)
        assert np.mean(squares) == pytest.approx(metrics["average_loss"], rel=1e-4)


def test_another_estimator_restores_and_goes_on(learned):
    make, labels, learner, metrics, _ = learned
    again = make(config=run_config(learner.model_dir))
    assert again.evaluate(input_fn(labels, 1)) == metrics
    assert again.get_variable_names() == learner.get_variable_names()


def test_the_export_predicts_the_same(learned, tmp_path):
    _, _, learner, _, _ = learned
    spec = columns.make_parse_example_spec([x, color])
    receive = estimators.export.build_parsing_serving_input_receiver_fn(spec)
    folder = learner.export_saved_model(str(tmp_path), receive).decode()
    rows = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=x)),
                    "color": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[color.encode()])
                    ),
                }
            )
        ).SerializeToString()
        for x, color in zip(*FEATURES.values(), strict=True)
    ]
    expected = list(learner.predict(input_fn(None, 1)))
    with tf.Graph().as_default(), tf.Session() as session:
        model = tf.saved_model.loader.load(session, ["serve"], folder)
        signature = model.signature_def["predict"]
        for name in ("probabilities", "predictions"):
            if name in signature.outputs:
                found = session.run(
                    signature.outputs[name].name,
                    {signature.inputs["examples"].name: rows},
                )
                np.testing.assert_allclose(
                    found, [row[name] for row in expected], rtol=1e-4, atol=1e-6
                )
                return
    pytest.fail("The signature has neither probabilities nor predictions.")


def test_a_warm_start_begins_with_what_was_learned(learned, tmp_path):
    make, labels, learner, _, bounds = learned
    if isinstance(learner, estimators.BaselineClassifier):
        pytest.skip("Baseline estimators have no warm_start_from.")
    warm = make(config=run_config(tmp_path), warm_start_from=learner.model_dir)
    warm.train(input_fn(labels), steps=1)
    metrics = warm.evaluate(input_fn(labels, 1))
    assert is_within(metrics, *bounds), metrics


def test_batch_normalization_keeps_averages(tmp_path):
    learner = estimators.DNNClassifier(
        [2], [x], config=run_config(tmp_path), batch_norm=True, dropout=0.1
    )
    learner.train(input_fn(), steps=2)
    mean = learner.get_variable_value("dnn/hiddenlayer_0/batchnorm_0/moving_mean")
    assert np.abs(mean).min() > 0


@pytest.mark.parametrize("name", RELATIVES)
def test_its_relatives_learn(name, tmp_path):
    make, labels, bounds = RELATIVES[name]
    metrics = learn(make, labels, tmp_path).evaluate(input_fn(labels, 1))
    assert is_within(metrics, *bounds), metrics
    assert math.isfinite(metrics["loss"])


def test_dual_coordinate_ascent_learns(tmp_path):
    def build():
        rows = input_fn()()
        return rows.map(lambda f, y: (f | {"id": tf.as_string(f["x"][:, 0])}, y))

    optimizer = estimators.experimental.LinearSDCA("id")
    learner = estimators.LinearClassifier(
        [x], config=run_config(tmp_path), optimizer=optimizer
    )
    learner.train(build, steps=10)
    assert learner.evaluate(build, steps=2)["accuracy"] > 0.95
