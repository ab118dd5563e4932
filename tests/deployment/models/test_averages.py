"""Moving averages of the weights: names in checkpoints, and restoring them."""

import numpy as np
import pytest

from deployment.models import averages
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A folder with the checkpoint of a run with averages: weights 1, average 2."""
    folder = tmp_path_factory.mktemp("run")
    save(folder, with_averages=True)
    return folder


def save(folder, with_averages):
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in {"Net/weights": 1.0, "Net/frozen": 5.0}.items():
            tf.get_variable(name, initializer=[value])
        if with_averages:
            name = averages.average_name("Net/weights")
            tf.get_variable(name, initializer=[2.0])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "model.ckpt"), global_step=3)


def test_averages_have_the_names_that_tensorflow_gives_them(graph):
    weights = tf.get_variable("Net/weights", initializer=[1.0])
    average = tf.train.ExponentialMovingAverage(0.9)
    average.apply([weights])
    name = average.average(weights).op.name
    assert name == averages.average_name("Net/weights") == average.average_name(weights)


@pytest.mark.parametrize("decay", [None, 0, 0.9])
def test_variables_are_mapped_to_their_averages_if_there_is_a_decay(graph, decay):
    weights = tf.get_variable("Net/weights", initializer=[1.0])
    other = tf.get_variable("other", initializer=[1.0], trainable=False)
    expected = {"Net/weights": weights}
    if decay:
        expected = {"Net/weights/ExponentialMovingAverage": weights, "other": other}
    assert averages.get_variables_to_restore([weights], decay) == expected


def test_averages_are_found(run_dir, tmp_path):
    save(tmp_path, with_averages=False)
    assert averages.has_averages(Checkpoint(str(run_dir)))
    assert not averages.has_averages(Checkpoint(str(tmp_path)))
    averages.check_averages(Checkpoint(str(run_dir)))
    with pytest.raises(ValueError, match="model.ckpt-3' holds no moving averages"):
        averages.check_averages(Checkpoint(str(tmp_path)))
    with (
        pytest.raises(ValueError, match="model.ckpt-3' holds no moving averages"),
        averages.averaged_checkpoint(str(tmp_path)),
    ):
        pass


def test_the_averaged_checkpoint_is_temporary_and_changes_only_the_weights(run_dir):
    with averages.averaged_checkpoint(str(run_dir)) as path:
        reader = tf.train.NewCheckpointReader(path)
        shapes = reader.get_variable_to_shape_map()
        values = {name: reader.get_tensor(name) for name in shapes}
    np.testing.assert_equal(
        values,
        {
            "Net/frozen": [5.0],
            "Net/weights": [2.0],
            "Net/weights/ExponentialMovingAverage": [2.0],
        },
    )
    assert not tf.train.checkpoint_exists(path)


def test_errors_name_the_checkpoint_that_was_given(run_dir):
    with (
        pytest.raises(ValueError, match=f"^{run_dir}/model.ckpt-3 is bad$"),
        averages.averaged_checkpoint(str(run_dir)) as path,
    ):
        raise ValueError(f"{path} is bad")
