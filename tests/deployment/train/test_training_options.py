"""Options of training: limits, averages, class weights, frozen layers."""

import json
import logging
import time

import numpy as np
import pytest
from toy_training import build_batches as build_batches_from
from toy_training import (
    build_evaluator,
    evaluate,
    make_config,
    make_spec,
    network,
    read,
    read_all,
    train,
)

from deployment.models import run_card
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import dry_run, summaries, training
from deployment.train.config import ValidationConfig
from tf_slim_compat import slim, tf

SGD = OptimizerConfig("sgd")


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def without_batch_norm(images):
    logits = slim.fully_connected(
        slim.flatten(images), 3, activation_fn=None, scope="Net/Logits"
    )
    return logits, {}


def broken_at(step):
    """Returns a network whose loss is NaN at one step."""

    def network_fn(images):
        logits, end_points = network(images)
        now = tf.train.get_global_step().read_value() + 1
        bad = tf.where(tf.equal(now, step), np.float32("nan"), np.float32(0))
        return logits + bad, end_points

    return network_fn


def test_a_nan_loss_stops_at_its_step_and_keeps_the_checkpoints(tmp_path):
    train(tmp_path, steps=6, seed=1)
    before = read_all(tmp_path)
    message = "At step 7 the loss softmax_cross_entropy_loss/value became NaN"
    with pytest.raises(ValueError, match=message) as error:
        train(tmp_path, steps=20, network_fn=broken_at(7), seed=1)
    assert "model.ckpt-6" in str(error.value) and "\n" not in str(error.value)
    after = read_all(tmp_path)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_bad_gradient_is_named(tmp_path):
    def network_fn(images):
        logits, end_points = network(images)
        # The square root at 0: its value is finite, its gradient is not.
        kink = tf.sqrt(tf.nn.relu(tf.reduce_sum(logits, 1, keepdims=True)) * 0)
        return logits + kink, end_points

    with pytest.raises(ValueError, match="step 1 the gradient of Net/Logits/biases"):
        train(tmp_path, steps=2, network_fn=network_fn)


def test_bad_updates_are_skipped_up_to_a_limit(tmp_path, info_log):
    options = {"on_bad_numbers": "skip", "seed": 1}
    train(tmp_path / "run", steps=10, network_fn=broken_at(5), **options)
    assert "At step 5 the loss" in info_log.text
    assert all(
        np.isfinite(value).all() for value in read_all(tmp_path / "run").values()
    )
    # Variables have the same names as with on_bad_numbers="stop".
    train(tmp_path / "other", steps=1)
    assert read_all(tmp_path / "run").keys() == read_all(tmp_path / "other").keys()

    def always_broken(images):
        logits, end_points = network(images)
        return logits * np.float32("nan"), end_points

    with pytest.raises(ValueError, match="more than --max_skipped_steps=3 updates"):
        options["max_skipped_steps"] = 3
        train(tmp_path / "bad", steps=9, network_fn=always_broken, **options)


def test_accumulated_gradients_equal_those_of_a_large_batch(tmp_path):
    options = {"network_fn": without_batch_norm, "optimizer": SGD, "seed": 1}
    train(tmp_path / "large", steps=5, batch_size=24, **options)
    train(
        tmp_path / "small",
        steps=5,
        batch_size=8,
        gradient_accumulation_steps=3,
        **options,
    )
    large, small = read_all(tmp_path / "large"), read_all(tmp_path / "small")
    assert large.keys() == small.keys()
    for name in large:
        np.testing.assert_allclose(large[name], small[name], rtol=1e-4, atol=1e-6)


def test_a_clipped_step_has_the_largest_norm_allowed(tmp_path):
    options = {"network_fn": without_batch_norm, "optimizer": SGD, "seed": 1}
    train(tmp_path / "run", steps=1, **options)
    before = read_all(tmp_path / "run")
    train(tmp_path / "run", steps=2, clip_gradient_norm=0.5, **options)
    after = read_all(tmp_path / "run")
    change = [
        (after[name] - before[name]).ravel() for name in after if "Logits" in name
    ]
    norm = np.linalg.norm(np.concatenate(change))
    assert norm == pytest.approx(0.01 * 0.5, rel=1e-4)


def test_class_weights_scale_the_loss(tmp_path):
    """With weight 0 for the other classes, only the first is learned."""
    train(tmp_path, steps=60, class_weights=(1.0, 0.0, 0.0), seed=1)
    assert evaluate(tmp_path)["Accuracy"] == pytest.approx(1 / 3)


def test_frozen_layers_stay_bit_identical(tmp_path):
    train(tmp_path / "first", steps=2, seed=1)
    before = read_all(tmp_path / "first")
    options = {
        "steps": 50,
        "checkpoint_path": str(tmp_path / "first"),
        "trainable_scopes": "Net/Logits",
        "seed": 2,
    }
    train(tmp_path / "second", **options)
    after = read_all(tmp_path / "second")
    frozen = [name for name in after if name.startswith("Net/Conv")]
    assert {name.rpartition("/")[2] for name in frozen} == {
        *("weights", "beta", "moving_mean", "moving_variance"),
    }
    assert all(np.array_equal(before[name], after[name]) for name in frozen)
    assert not np.array_equal(before["Net/Logits/weights"], after["Net/Logits/weights"])
    # On request, they move.
    train(tmp_path / "third", freeze_batch_norm=False, **options)
    moved = read(tmp_path / "third", "Net/Conv/BatchNorm/moving_mean")
    assert not np.array_equal(moved, before["Net/Conv/BatchNorm/moving_mean"])


def test_a_warm_start_initializes_the_moving_averages(tmp_path):
    train(tmp_path / "first", steps=30)
    train(
        tmp_path / "second",
        steps=1,
        checkpoint_path=str(tmp_path / "first"),
        moving_average_decay=0.999,
        optimizer=SGD,
    )
    weights = read(tmp_path / "first", "Net/Conv/weights")
    average = read(tmp_path / "second", "Net/Conv/weights/ExponentialMovingAverage")
    np.testing.assert_allclose(average, weights, atol=0.02)


def make_card(**others):
    return run_card.RunCard(
        model_name="toy",
        num_classes=3,
        image_size=8,
        preprocessing_name="lenet",
        **others,
    )


def test_the_run_card_records_seed_sessions_and_results(tmp_path):
    train(tmp_path, steps=4, card=make_card(), seed=5)
    train(tmp_path, steps=10, batch_size=16, card=make_card())
    card = json.loads((tmp_path / "run.json").read_text())
    assert card["seed"] == 5
    assert [s["from_step"] for s in card["sessions"]] == [0, 4]
    assert [s["images_per_step"] for s in card["sessions"]] == [8, 16]
    assert card["results"]["step"] == 10
    assert card["results"]["stopped_because"] == "step 10 of 10 is reached"
    assert run_card.images_seen(run_card.find(str(tmp_path)), 10) == 4 * 8 + 6 * 16
    with pytest.raises(ValueError, match="--seed=6 is not the seed 5"):
        train(tmp_path, steps=12, card=make_card(), seed=6)
    other = make_card(labels_offset=1)
    with pytest.raises(ValueError, match="labels_offset 0, but it is 1"):
        train(tmp_path, steps=12, card=other)


def test_a_damaged_checkpoint_is_skipped(tmp_path, info_log):
    train(tmp_path, steps=3, seed=1)
    whole = read_all(tmp_path)
    train(tmp_path, steps=6, seed=1)
    (data,) = tmp_path.glob("model.ckpt-6.data-*")
    data.write_bytes(data.read_bytes()[:-20])
    train(tmp_path, steps=6, seed=1)
    assert f"Resuming from {tmp_path}/model.ckpt-3" in info_log.text
    assert read(tmp_path, "global_step") == 6 and whole["global_step"] == 3


def test_old_checkpoints_are_deleted_after_a_restart_too(tmp_path):
    for steps in range(1, 5):
        train(tmp_path, steps=steps, max_checkpoints_to_keep=2)
    left = sorted(path.name for path in tmp_path.glob("*.index"))
    assert left == ["model.ckpt-3.index", "model.ckpt-4.index"]


def test_a_dry_run_reports_its_cost_and_writes_nothing(tmp_path, info_log):
    config = make_config(tmp_path / "run", steps=5000)
    dry_run.dry_run(config, network, build_batches_from)
    for word in ("memory", "speed", "duration", "for 5000 steps", "MB per checkpoint"):
        assert word in info_log.text
    assert "dry_run_" not in info_log.text  # The temporary folder.
    assert "global step 5: " in info_log.text
    assert not (tmp_path / "run").exists()


class Clock:
    """Stands still, except where a graph lets it advance by a second."""

    def __init__(self, monkeypatch):
        self._now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)
        monkeypatch.setattr(
            tf, "timestamp", lambda: tf.py_func(lambda: self._now, [], tf.float64)
        )

    def advance_after(self, tensor):
        """Returns the tensor, available a second later."""

        def advance(value):
            self._now += 1
            return value

        late = tf.py_func(advance, [tensor], tensor.dtype)
        late.set_shape(tensor.shape)
        return late


@pytest.mark.parametrize(("slow", "share"), [("network", 0.0), ("data", 1.0)])
def test_time_waiting_for_data_is_measured(tmp_path, monkeypatch, slow, share):
    clock = Clock(monkeypatch)

    def network_fn(images):
        return network(clock.advance_after(images) if slow == "network" else images)

    def build_batches(seed, start_image):
        def load(images, labels):
            return clock.advance_after(images) if slow == "data" else images, labels

        options = tf.data.Options()  # Nothing is to be loaded ahead of its step.
        options.autotune.enabled = False
        options.experimental_optimization.inject_prefetch = False
        batches = build_batches_from(seed, start_image).map(load)
        return batches.with_options(options)

    config = make_config(tmp_path, steps=5, log_every_n_steps=5)
    training.train(config, network_fn, build_batches)
    lines = (tmp_path / "training.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["data_wait_share"] == share


def test_a_resumed_run_keeps_what_its_task_has_learned(tmp_path):
    for state in ({"a": [1.0]}, {"a": [2.0]}):
        train(
            tmp_path,
            steps=2 if state["a"] == [1.0] else 4,
            card=make_card(task_state=state),
            spec=make_spec(task_state=state),
            validation=ValidationConfig(),
            build_evaluator=build_evaluator,
        )
        card = json.loads((tmp_path / "run.json").read_text())
        assert card["task_state"] == {"a": [1.0]}


def test_without_summaries_none_are_built(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        summaries, "build_summaries", lambda *args: built.append(args) or None
    )
    train(tmp_path / "without", steps=1, save_summaries_secs=0)
    assert not built
    train(tmp_path / "with", steps=1)
    assert len(built) == 1
