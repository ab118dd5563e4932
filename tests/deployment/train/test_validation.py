"""Validation during training: metrics, best checkpoints, exports, early stopping."""

import json
import logging
import os
import signal

import numpy as np
import pytest
from kept_checkpoints import write_checkpoint
from toy_training import (
    build_evaluator,
    evaluate,
    make_config,
    make_spec,
    network_in_evaluation,
    read_all,
    train,
)

from deployment import model_deploy
from deployment.durations import Duration
from deployment.models.history import History
from deployment.models.run_card import RunCard
from deployment.optimize.learning_rates import Schedule
from deployment.tasks.base import Metric
from deployment.train.best_checkpoints import BestCheckpoints
from deployment.train.config import ValidationConfig
from deployment.train.validation import Validator
from tf_slim_compat import tf


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def train_and_validate(train_dir, steps, every=4, best=2, **options):
    judged = {n: options.pop(n) for n in ("patience", "min_change") if n in options}
    config = ValidationConfig(
        every=Duration(every), num_best_checkpoints=best, **judged
    )
    return train(
        train_dir,
        steps,
        validation=config,
        build_evaluator=build_evaluator,
        seed=1,
        **options,
    )


def read_rows(train_dir, name="metrics.jsonl"):
    return [json.loads(line) for line in (train_dir / name).open()]


def read_scalars(train_dir, tag):
    """Returns the values of a tag by step."""
    return {
        event.step: value.simple_value
        for events in train_dir.glob("events*")
        for event in tf.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == tag
    }


def test_every_evaluation_is_recorded_and_the_best_are_kept(tmp_path, info_log):
    exported = []
    train_and_validate(
        tmp_path, 18, on_new_best=lambda prefix, spec: exported.append(prefix)
    )
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 18]
    epochs = [row["step"] / 6 for row in rows]
    assert [row["epoch"] for row in rows] == pytest.approx(epochs, abs=1e-4)
    assert all(row["num_images"] == 48 for row in rows)
    assert rows[-1]["accuracy"] == evaluate(tmp_path)["Accuracy"]
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 6
    assert "Validation at step 18: accuracy" in info_log.text

    ranking = json.loads((tmp_path / "best" / "best.json").read_text())["checkpoints"]
    by_value = sorted(rows, key=lambda row: (-row["accuracy"], row["step"]))
    assert [kept["step"] for kept in ranking] == [row["step"] for row in by_value[:2]]
    best = tf.train.latest_checkpoint(str(tmp_path / "best"))
    assert best.endswith(f"model.ckpt-{by_value[0]['step']}")
    assert exported[-1].endswith(best.rpartition("/")[2])

    expected = {row["step"]: row["accuracy"] for row in rows}
    assert read_scalars(tmp_path, "eval/Accuracy") == pytest.approx(expected)


def test_an_interrupted_export_is_repeated_and_loses_no_evaluation(tmp_path, info_log):
    exported = []

    def interrupt(prefix, spec):
        assert [row["step"] for row in read_rows(tmp_path)] == [4]
        os.kill(os.getpid(), signal.SIGINT)
        exported.append(prefix)

    result = train_and_validate(tmp_path, 8, on_new_best=interrupt)
    assert (result.step, result.stopped_because) == (4, "SIGINT was received")
    assert not exported
    assert "interrupted; resuming the run repeats it." in info_log.text
    assert [row["step"] for row in read_rows(tmp_path)] == [4]
    assert list(read_scalars(tmp_path, "eval/Accuracy")) == [4]

    def export(prefix, spec):
        exported.append(prefix)

    # The run has nothing else to do.
    train_and_validate(tmp_path, 4, on_new_best=export)
    best = str(tmp_path / "best" / "model.ckpt-4")
    assert exported == [best] and tf.train.checkpoint_exists(best)
    assert [row["step"] for row in read_rows(tmp_path)] == [4]
    train_and_validate(tmp_path, 4, on_new_best=export)
    assert exported == [best]


def test_losses_of_training_and_validation_compare(tmp_path):
    """With a learning rate of 0, both are of the same network."""

    def regularized(images):
        weight = tf.get_variable("penalized", [], initializer=tf.ones_initializer())
        tf.losses.add_loss(7 * weight, tf.GraphKeys.REGULARIZATION_LOSSES)
        # Its batch normalization is that of the evaluation.
        logits, end_points = network_in_evaluation(images)
        return logits, {**end_points, "AuxLogits": logits}

    train_and_validate(
        tmp_path,
        6,
        every=6,
        network_fn=regularized,
        schedule=Schedule("fixed", 0.0),
        batch_size=24,
        gradient_accumulation_steps=2,
        log_every_n_steps=1,
    )
    (validated,) = read_rows(tmp_path)
    rows = read_rows(tmp_path, "training.jsonl")
    for row in rows:
        assert row["loss"] == pytest.approx(validated["loss"], rel=1e-4)
        assert row["total_loss"] == pytest.approx(1.4 * row["loss"] + 7, rel=1e-4)
    assert validated["train_loss"] == rows[-1]["loss"]


def test_early_stopping_ends_the_run_and_a_restart_does_not_continue_it(tmp_path):
    result = train_and_validate(tmp_path, 400, patience=2, min_change=0.5)
    rows = read_rows(tmp_path)
    assert result.step == rows[-1]["step"] < 400
    assert "accuracy" in result.stopped_because
    # Early stopping reads its state from the history.
    again = train_and_validate(tmp_path, 400, patience=2, min_change=0.5)
    assert (again.step, again.loss) == (result.step, None)
    assert again.stopped_because == result.stopped_because
    assert train_and_validate(tmp_path, result.step + 4).step == result.step + 4


def test_a_run_killed_before_an_evaluation_repeats_it(tmp_path):
    train_and_validate(tmp_path, 8)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text(lines[0])
    train_and_validate(tmp_path, 12)
    assert [row["step"] for row in read_rows(tmp_path)] == [4, 8, 12]


def test_the_state_of_the_task_is_that_of_the_best_checkpoint(tmp_path):
    """Also where a run was killed before it wrote the state into its run card."""
    best = BestCheckpoints(str(tmp_path), Metric("accuracy", True), 2)
    for step, thresholds in ((4, [0.25, 0.5, 1 / 3]), (8, [0.5, 0.75, 0.5])):
        prefix = write_checkpoint(tmp_path, step)
        best.consider(prefix, step, step / 10, {"thresholds": thresholds})
    validation = ValidationConfig(num_best_checkpoints=2)
    config = make_config(tmp_path, validation=validation)
    validator = Validator(config, History(str(tmp_path)), None)
    assert validator.task_state == {"thresholds": [0.5, 0.75, 0.5]}
    validator.start(7)
    assert validator.task_state == {"thresholds": [0.25, 0.5, 1 / 3]}
    validator.start(3)
    assert validator.task_state == {}


def test_validation_does_not_change_training(tmp_path, monkeypatch):
    # With several threads, sums may be taken in another order.
    build = model_deploy.build_session_config

    def build_session_config(deployment):
        config = build(deployment)
        config.intra_op_parallelism_threads = 1
        return config

    monkeypatch.setattr(model_deploy, "build_session_config", build_session_config)
    train(tmp_path / "without", 8, seed=1)
    train_and_validate(tmp_path / "with", 8)
    without, validated = read_all(tmp_path / "without"), read_all(tmp_path / "with")
    assert all(np.array_equal(without[name], validated[name]) for name in without)


def test_an_unknown_best_metric_is_an_error(tmp_path):
    config = ValidationConfig(every=Duration(2), best_metric="top_5")
    with pytest.raises(ValueError, match="--best_metric is 'top_5', but.*accuracy"):
        train(tmp_path, 4, validation=config, build_evaluator=build_evaluator)


def test_lost_evaluations_are_noticed_and_a_repeated_one_is_complete(tmp_path, caplog):
    spec = make_spec(image_size=8, use_grayscale=True, preprocessing_name="toy")
    card = RunCard.from_spec(spec)
    train_and_validate(tmp_path, 8, card=card, log_every_n_steps=0)
    path = tmp_path / "metrics.jsonl"
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("")
    train_and_validate(tmp_path, 8, card=card, log_every_n_steps=0)
    assert "metrics.jsonl lacks the rows after step 0 up to step" in caplog.text
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["train_loss"] == whole[-1]["train_loss"] is not None
    assert row["learning_rate"] == whole[-1]["learning_rate"]
    caplog.clear()
    train_and_validate(tmp_path, 8, card=card)
    assert "lacks the rows" not in caplog.text


def test_a_second_training_of_a_folder_is_refused(tmp_path):
    said = []

    def build_another():
        with pytest.raises(ValueError) as raised:
            train(tmp_path, 2)
        said.append(str(raised.value))
        return build_evaluator()

    config = ValidationConfig(every=Duration(2), num_best_checkpoints=0)
    train(tmp_path, 2, validation=config, build_evaluator=build_another)
    assert said[0].startswith(f"Another process trains in {str(tmp_path)!r}: process ")
    assert train(tmp_path, 3).step == 3
