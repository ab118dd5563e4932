"""Fine-tuning in two phases of one run: first the head, then all layers."""

import json
import logging
import signal

import numpy as np
import pytest
from toy_training import build_batches, make_config, network, read_all
from toy_training import train as train_plainly

from deployment.config_flags import SettingError
from deployment.durations import Duration
from deployment.models.run_card import RunCard
from deployment.optimize.learning_rates import Schedule
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import phases
from tf_slim_compat import tf

HEAD = "Net/Logits"
CARD = RunCard(
    model_name="toy", num_classes=3, image_size=8, preprocessing_name="lenet"
)


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A checkpoint to fine-tune."""
    folder = tmp_path_factory.mktemp("trunk")
    train_plainly(folder, steps=5, seed=7)
    return str(folder)


def interrupted_at(step):
    """Returns a network that sends the process a signal at a step of the run."""

    def network_fn(images):
        logits, end_points = network(images)

        def interrupt(now):
            if now == step:
                signal.raise_signal(signal.SIGTERM)
            return now

        now = tf.train.get_global_step().read_value() + 1
        seen = tf.py_func(interrupt, [now], tf.int64)
        with tf.control_dependencies([seen]):
            return tf.identity(logits), end_points

    return network_fn


def train(folder, trunk, steps=8, head="4", network_fn=network, **options):
    options.setdefault("optimizer", OptimizerConfig("adam", layer_decay=0.5))
    config = make_config(
        folder,
        steps=steps,
        checkpoint_path=trunk,
        checkpoint_exclude_scopes=HEAD,
        head_first=Duration(int(head)),
        schedule=Schedule("cosine", 0.01),
        seed=3,
        **options,
    )
    return phases.train(config, network_fn, build_batches, card=CARD)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, trunk):
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("phases") / "whole"
    options = {"max_checkpoints_to_keep": 0, "save_interval_secs": 0}
    result = train(folder, trunk, log_every_n_steps=1, **options)
    assert result.step == 8 and result.is_complete
    return folder


def read_step(folder, step):
    reader = tf.train.NewCheckpointReader(f"{folder}/model.ckpt-{step}")
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()}


def test_only_the_head_changes_first(whole, trunk):
    before, middle, after = read_all(trunk), read_step(whole, 4), read_step(whole, 8)
    others = [name for name in before if name.startswith("Net/Conv/")]
    others = [name for name in others if "Adam" not in name]
    assert {name.rpartition("/")[2] for name in others} == {
        *("weights", "beta", "moving_mean", "moving_variance"),
    }
    for name in others:
        np.testing.assert_array_equal(before[name], middle[name])
        assert not np.array_equal(middle[name], after[name])
    first = read_step(whole, 1)
    assert not np.array_equal(first["Net/Logits/weights"], middle["Net/Logits/weights"])
    assert "Net/Conv/weights/Adam" in after and "Net/Conv/weights/Adam" not in middle


def test_it_is_one_run_with_one_history_and_schedule(whole):
    lines = (whole / "training.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    card = json.loads((whole / "run.json").read_text())
    assert [session["from_step"] for session in card["sessions"]] == [0, 4]
    assert card["results"]["step"] == 8
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose([row["learning_rate"] for row in rows], cosine, 1e-5)


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_it_resumes_exactly_in_either_phase(tmp_path, whole, trunk, stop):
    result = train(tmp_path, trunk, network_fn=interrupted_at(stop))
    assert not result.is_complete and result.step == stop
    assert result.stopped_because == "SIGTERM was received"
    assert train(tmp_path, trunk).is_complete
    expected, found = read_all(whole), read_all(tmp_path)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], name)


def test_what_contradicts_itself_is_refused(tmp_path, trunk):
    with pytest.raises(SettingError, match="takes 8 steps, but the run ends at step 8"):
        train(tmp_path, trunk, head="8")
    with pytest.raises(SettingError, match="give these scopes, and leave"):
        train(tmp_path, trunk, trainable_scopes=HEAD)
    with pytest.raises(SettingError, match="give these scopes, and leave"):
        make_config(tmp_path, head_first=Duration(4))
    for duration in (Duration(60, "secs"), Duration(0)):
        with pytest.raises(SettingError, match="must be above 0, in steps"):
            make_config(tmp_path, head_first=duration)
    with pytest.raises(SettingError, match="trains in one process"):
        train(tmp_path, trunk, sync_replicas=True)
    assert not list(tmp_path.iterdir())
