"""Test-time augmentation: scores averaged over views."""

import dataclasses
import json

import evaluated_runs
import numpy as np
import pytest
from evaluated_runs import make_spec

from deployment import tasks
from deployment.evaluate import evaluation_runs, views
from tf_slim_compat import slim, tf

RNG = np.random.RandomState(0)
IMAGES = RNG.normal(size=[3, 16, 16, 2]).astype(np.float32)


def evaluate(tensor):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensor)


def network(images):
    """Returns logits that depend on where the image is bright."""
    weights = np.random.RandomState(1).normal(size=[16 * 16 * 2, 4]).astype(np.float32)
    return tf.matmul(slim.flatten(images), weights), {}


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_scores_are_the_mean_of_those_of_the_image_and_its_mirror_image(task):
    spec = make_spec(4, task, task_state={"mean": [0.0] * 4, "scale": [1.0] * 4})
    score_fn = tasks.get_task(task).compute_scores
    with tf.Graph().as_default():
        found, *single = evaluate(
            [
                views.build_logits(network, tf.constant(IMAGES), spec, "flip"),
                network(tf.constant(IMAGES))[0],
                network(tf.constant(IMAGES[:, :, ::-1]))[0],
            ]
        )
    expected = np.mean([score_fn(logits, spec) for logits in single], axis=0)
    np.testing.assert_allclose(score_fn(found, spec), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in views.VIEW_SETS if n != views.NONE])
def test_views_have_the_shape_of_the_images_and_come_in_mirrored_pairs(name):
    view_set = views.VIEW_SETS[name]
    with tf.Graph().as_default():
        built = [view(tf.constant(IMAGES)) for view in view_set]
        assert all(view.shape.as_list() == [*IMAGES.shape] for view in built)
        values = evaluate(built)
    half = len(values) // 2
    for view, mirrored in zip(values[:half], values[half:], strict=True):
        np.testing.assert_array_equal(view[:, :, ::-1], mirrored)
    # No two views are the same.
    assert len({value.tobytes() for value in values}) == len(values)


def test_crops_are_the_corners_and_the_center():
    """The corners of a crop are those of the part of the image, within half a pixel."""
    ramp = np.zeros([1, 17, 17, 2], np.float32)
    ramp[0, ..., 0], ramp[0, ..., 1] = np.mgrid[:17, :17]
    with tf.Graph().as_default():
        values = evaluate([v(tf.constant(ramp)) for v in views.VIEW_SETS["crops"][:5]])
    # Of 16 intervals, a part has 14.
    for value, (top, left) in zip(
        values, [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)], strict=True
    ):
        np.testing.assert_allclose(value[0, 0, 0], [top, left], atol=1e-5)
        np.testing.assert_allclose(value[0, -1, -1], [top + 14, left + 14], atol=1e-5)


def test_a_report_says_that_it_is_of_views(tmp_path, capsys):
    evaluated_runs.save(tmp_path, 5, num_wrong=2)
    plain = evaluated_runs.make_config(tmp_path, tmp_path / "eval")
    accuracies = {}
    for tta in ("none", "flip"):
        evaluated = dataclasses.replace(plain.evaluation, tta=tta)
        evaluation_runs.run(
            dataclasses.replace(plain, evaluation=evaluated),
            evaluated_runs.network,
            evaluated_runs.build_batches,
            evaluated_runs.RECORDS,
        )
        said = "Each image was predicted from 2 views (--tta=flip)."
        assert (said in capsys.readouterr().out) == (tta == "flip")
        record = json.loads((tmp_path / "eval" / "eval.json").read_text())
        assert record["tta"] == tta
        accuracies[tta] = record["accuracy"]
    # The network knows the classes by their pixel.
    assert accuracies["flip"] < accuracies["none"]
