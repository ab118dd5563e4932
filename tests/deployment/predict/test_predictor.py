"""Checkpoints as predictors, and batches."""

import numpy as np
import pytest
import tiny_models
from tiny_models import CLASSES, SIZE

from deployment.predict import predictor
from tf_slim_compat import slim, tf


def test_checkpoints(tmp_path):
    folder = tiny_models.save_checkpoint(tmp_path)
    with predictor.CheckpointPredictor(
        folder, tiny_models.get_network_fn, tiny_models.make_spec()
    ) as opened:
        tiny_models.check(opened)
    for count in (CLASSES - 1, CLASSES + 1, 9):
        said = rf"the shape \[3, {count}\], but \[3, 4\]"
        with pytest.raises(ValueError, match=said):
            predictor.CheckpointPredictor(
                folder, tiny_models.get_network_fn, tiny_models.make_spec(count)
            )
    (data,) = tmp_path.glob("*.data-*")
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(ValueError, match="is incomplete"):
        predictor.CheckpointPredictor(
            folder, tiny_models.get_network_fn, tiny_models.make_spec()
        )


def test_the_task_of_a_checkpoint_determines_its_scores(tmp_path):
    folder = tiny_models.save_checkpoint(tmp_path)
    state = {"mean": [1.0, 2.0, 3.0, 4.0], "scale": [2.0, 1.0, 0.5, 3.0]}
    spec = tiny_models.make_spec(task="regression", task_state=state)
    logits = tiny_models.IMAGES.mean(axis=(1, 2)) @ tiny_models.WEIGHTS
    with predictor.CheckpointPredictor(
        folder, tiny_models.get_network_fn, spec
    ) as opened:
        expected = logits * state["scale"] + state["mean"]
        tiny_models.check(opened, expected=expected)


class Sums(predictor.Predictor):
    """Returns two more than the sum of each image as the first of two logits."""

    def __init__(self, batch_size=None, spec=None):
        self.batch_size, self.spec, self.sizes = batch_size, spec, []

    def _score(self, inputs):
        self.sizes.append(len(inputs))
        sums = inputs.sum(axis=(1, 2, 3))
        return np.stack([sums + 2, np.zeros(len(inputs))], axis=1)


@pytest.mark.parametrize("size", [None, 1, 3, 8])
def test_fixed_batches_are_filled_up(size):
    opened = Sums(size)
    images = np.arange(5.0).reshape(5, 1, 1, 1)
    expected = 1 / (1 + np.exp(-2 - np.arange(5.0)))
    np.testing.assert_allclose(opened.predict(images)[:, 0], expected, rtol=1e-6)
    assert set(opened.sizes) == {size or 5}


def test_scores_of_other_tasks_are_left_alone():
    images = np.arange(5.0).reshape(5, 1, 1, 1)
    spec = tiny_models.make_spec(2, task="regression")
    scores = Sums(spec=spec).predict(images)
    np.testing.assert_array_equal(scores[:, 0], np.arange(5) + 2)
    assert scores.dtype == np.float32


def test_a_checkpoint_for_grayscale_images(tmp_path):
    def get_network_fn(num_outputs):
        def network_fn(images):
            net = slim.conv2d(images, num_outputs, SIZE, padding="VALID", scope="Gray")
            return net, {}

        return network_fn

    with tf.Graph().as_default(), tf.Session() as session:
        get_network_fn(2)(tf.zeros([1, SIZE, SIZE, 1]))
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    with predictor.CheckpointPredictor(
        path, get_network_fn, tiny_models.make_spec(2)
    ) as opened:
        assert opened.channels == 1 and opened.spec.use_grayscale
        assert opened.predict(np.zeros([3, SIZE, SIZE, 1])).shape == (3, 2)
