"""Training in this process: it learns, resumes, warm-starts and logs its progress."""

import collections
import logging
import os
import signal

import numpy as np
import pytest
from toy_training import (
    IMAGES,
    LABELS,
    NUM_CLASSES,
    build_one_pass,
    evaluate,
    make_config,
    make_spec,
    network,
    read,
    train,
)

from deployment.evaluate import evaluation
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import loop
from tf_slim_compat import slim, tf


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


@pytest.fixture(scope="module")
def trained_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(folder)
    return folder


def test_a_short_run_evaluates_as_well_as_it_trained(trained_dir):
    assert evaluate(trained_dir)["Accuracy"] > 0.9


def test_moving_averages_of_a_short_run_are_unbiased(trained_dir):
    """With plain averages of decay 0.9997, 40 steps would keep 99 % of the start."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        network(tf.constant(IMAGES), is_training=False)
        path = tf.train.latest_checkpoint(str(trained_dir))
        tf.train.Saver(slim.get_model_variables()).restore(session, path)
        maps = session.run(graph.get_tensor_by_name("Net/Conv/Conv2D:0"))
    for leaf, expected in (
        ("moving_mean", maps.mean(axis=(0, 1, 2))),
        ("moving_variance", maps.var(axis=(0, 1, 2))),
    ):
        average = read(trained_dir, f"Net/Conv/BatchNorm/{leaf}")
        np.testing.assert_allclose(average, expected, rtol=0.2, atol=0.2)
    assert np.abs(maps.mean(axis=(0, 1, 2))).max() > 1  # Not the initial value.


def test_progress_shows_loss_rate_and_time_left(tmp_path, info_log):
    train(tmp_path, steps=20)
    lines = [m for m in info_log.messages if m.startswith("global step 20: loss = ")]
    assert len(lines) == 1
    for word in ("sec/step", "images/s", "learning rate 0.01", "0:00:00 left"):
        assert word in lines[0]


def test_resumes_where_it_stopped(tmp_path, info_log):
    train(tmp_path, steps=5)
    before = read(tmp_path, "Net/Conv/weights/Adam")
    train(tmp_path, steps=8)
    assert "Resuming from" in info_log.text
    assert read(tmp_path, "global_step") == 8
    assert not np.array_equal(before, read(tmp_path, "Net/Conv/weights/Adam"))


def test_a_finished_run_takes_no_further_step(tmp_path, info_log):
    train(tmp_path, steps=5)
    weights = read(tmp_path, "Net/Conv/weights")
    result = train(tmp_path, steps=5)
    assert (result.step, result.loss) == (5, None)
    assert "already at step 5; nothing to do for --max_number" in info_log.text
    np.testing.assert_array_equal(read(tmp_path, "Net/Conv/weights"), weights)


def test_a_checkpoint_path_is_ignored_with_a_message_when_resuming(
    tmp_path, trained_dir, info_log
):
    train(tmp_path, steps=2)
    train(tmp_path, steps=3, checkpoint_path=str(trained_dir))
    assert "is not used: the checkpoint in --train_dir" in info_log.text


def test_warm_start_restores_and_logs_it(tmp_path, trained_dir, info_log):
    train(
        tmp_path,
        steps=1,
        checkpoint_path=str(trained_dir),
        checkpoint_exclude_scopes="Net/Logits",
        trainable_scopes="Net/Logits",
    )
    assert "Net/Logits/biases" in info_log.text
    table = [m.split() for m in info_log.messages]
    for row in (
        "trained randomly initialized 2 387",
        "frozen restored 2 80",
        "statistics restored 2 16",
    ):
        assert row.split() in table
    np.testing.assert_array_equal(
        read(tmp_path, "Net/Conv/weights"), read(trained_dir, "Net/Conv/weights")
    )
    assert not np.array_equal(
        read(tmp_path, "Net/Logits/weights"), read(trained_dir, "Net/Logits/weights")
    )


def test_trainable_scopes_that_overlap_train_once(tmp_path, trained_dir):
    """Such updates must not be applied twice."""
    options = {
        "steps": 1,
        "checkpoint_path": str(trained_dir),
        "optimizer": OptimizerConfig("sgd"),
    }
    train(tmp_path / "one", trainable_scopes="Net/Logits", **options)
    train(tmp_path / "two", trainable_scopes="Net/Logits,Net/Logits/weights", **options)
    for leaf in ("weights", "biases"):
        np.testing.assert_array_equal(
            read(tmp_path / "one", f"Net/Logits/{leaf}"),
            read(tmp_path / "two", f"Net/Logits/{leaf}"),
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"spec": make_spec(num_outputs=7)},
            r"Net/Logits/weights has the shape \[128, 7\].*"
            r"--checkpoint_exclude_scopes=Net/Logits\.$",
        ),
        ({"trainable_scopes": "Net/Logit5"}, "nearest scopes: Net/Logits"),
        ({"checkpoint_exclude_scopes": "Ned"}, "--checkpoint_exclude_scopes has"),
        ({"checkpoint_path": "/nowhere/model.ckpt"}, "There is no checkpoint"),
        ({"optimizer": OptimizerConfig("adamax")}, "Nearest: adam"),
    ],
)
def test_mistakes_raise_one_clear_sentence(tmp_path, trained_dir, options, said):
    options = {"checkpoint_path": str(trained_dir), **options}
    num_classes = options.get("spec", make_spec()).num_outputs
    with pytest.raises(ValueError, match=said) as error:
        train(tmp_path, network_fn=lambda x: network(x, num_classes), **options)
    assert "\n" not in str(error.value)


def test_missing_variables_need_ignore_missing_vars(tmp_path, trained_dir):
    def larger(images):
        logits, end_points = network(images)
        slim.fully_connected(logits, 2, scope="Net/Extra")
        return logits, end_points

    options = {"network_fn": larger, "checkpoint_path": str(trained_dir), "steps": 1}
    with pytest.raises(ValueError, match="Net/Extra.*or --ignore_missing_vars"):
        train(tmp_path, **options)
    train(tmp_path, ignore_missing_vars=True, **options)
    assert read(tmp_path, "Net/Extra/weights").shape == (NUM_CLASSES, 2)


def test_a_train_dir_of_another_run_is_an_error(tmp_path):
    train(tmp_path, steps=1)
    with pytest.raises(ValueError, match="or used another optimizer: its checkp"):
        train(tmp_path, steps=2, optimizer=OptimizerConfig("momentum"))


def test_a_train_dir_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        train(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"quantize_delay": 0, "feature_copies": 1, "trainable_scopes": "Net"},
            "quantize_delay=0 and feature_copies cannot be combined",
        ),
        ({"quantize_per_channel": True}, "also give quantize_delay, 0 or more"),
        ({"steps": 0}, "number_of_steps must be 1 or more"),
        ({"batch_size": 0}, "batch_size must be 1 or more, but is 0"),
        ({"gradient_accumulation_steps": 0}, "steps must be 1 or more, but is 0"),
        ({"on_bad_numbers": "halt"}, "must be stop or skip, but is 'halt'"),
        ({"huber_delta": 0.0}, "huber_delta must be positive, but is 0.0"),
        ({"huber_delta": float("inf")}, "huber_delta must be positive, but is inf"),
        (
            {"sync_replicas": True, "gradient_accumulation_steps": 2},
            "leave gradient_accumulation_steps at 1",
        ),
        (
            {"sync_replicas": True, "on_bad_numbers": "skip"},
            "leave gradient_accumulation_steps at 1 and on_bad_numbers at stop",
        ),
    ],
)
def test_impossible_settings_are_errors(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        make_config(tmp_path, **options)


def test_a_nan_loss_stops_and_keeps_the_last_checkpoint(tmp_path):
    train(tmp_path, steps=2)

    def broken(images):
        logits, end_points = network(images)
        return logits + tf.math.log(-1.0), end_points

    with pytest.raises(
        ValueError,
        match="At step 3 the loss softmax_cross_entropy_loss/value became NaN",
    ):
        train(tmp_path, steps=5, network_fn=broken)
    assert read(tmp_path, "global_step") == 2


def test_sigterm_ends_after_the_step_with_a_checkpoint(tmp_path, monkeypatch, info_log):
    class Interrupting(loop.Progress):
        def report(self, step, *values, **times):
            super().report(step, *values, **times)
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "Progress", Interrupting)
    before = signal.getsignal(signal.SIGTERM)
    train(tmp_path, steps=1000)
    assert read(tmp_path, "global_step") == 3
    assert "Training ended: SIGTERM was received." in info_log.text
    assert signal.getsignal(signal.SIGTERM) is before


def test_moving_averages_of_the_weights_are_saved_and_evaluated(tmp_path):
    train(tmp_path, steps=30, moving_average_decay=0.9)
    weights = read(tmp_path, "Net/Conv/weights")
    average = read(tmp_path, "Net/Conv/weights/ExponentialMovingAverage")
    assert np.abs(weights - average).max() > 0
    assert evaluate(tmp_path, moving_average_decay=0.9)["Accuracy"] > 0.9


def count_tags(train_dir):
    """Returns how many values each tag has."""
    (events,) = train_dir.glob("events*")
    return collections.Counter(
        value.tag
        for event in tf.train.summary_iterator(str(events))
        for value in event.summary.value
    )


SCALARS = {
    *("total_loss", "loss", "training_accuracy", "learning_rate"),
    *("global_step/sec", "images/sec", "data_wait_share"),
    "losses/softmax_cross_entropy_loss/value",
}


def test_scalars_are_written_with_every_line_and_histograms_rarely(tmp_path):
    train(tmp_path / "often", steps=12, log_every_n_steps=3)
    tags = count_tags(tmp_path / "often")
    assert {tag: tags[tag] for tag in SCALARS} == dict.fromkeys(SCALARS, 4)
    assert tags["Net/Conv/weights"] == tags["sparsity/Conv"] == 1
    train(tmp_path / "scalars", steps=2, log_every_n_steps=1, save_summaries_secs=0)
    assert count_tags(tmp_path / "scalars") == dict.fromkeys(SCALARS, 2)
    train(tmp_path / "none", steps=2, log_every_n_steps=0, save_summaries_secs=0)
    assert not count_tags(tmp_path / "none")


def test_summaries_have_the_usual_tags(tmp_path):
    train(tmp_path, steps=2, save_summaries_secs=1)
    assert {
        *SCALARS,
        "sparsity/Conv",
        "activations/Conv",
        "Net/Conv/weights",
    } <= set(count_tags(tmp_path))


def test_evaluation_counts_every_image_once(trained_dir):
    config = evaluation.EvaluationConfig(str(trained_dir), None, make_spec())
    predictions = evaluation.predict(
        config, lambda images: network(images, is_training=False), build_one_pass
    )
    np.testing.assert_array_equal(predictions.labels, LABELS)
    assert predictions.step == 40


def test_max_num_batches_limits_the_evaluation(trained_dir):
    config = evaluation.EvaluationConfig(
        str(trained_dir), None, make_spec(), max_num_batches=2
    )
    predictions = evaluation.predict(
        config, lambda images: network(images, is_training=False), build_one_pass
    )
    assert len(predictions.labels) == 14


def test_another_networks_checkpoint_cannot_be_evaluated(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("Other/weights", [1])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    with pytest.raises(ValueError, match="is of another network: it holds Other"):
        evaluate(tmp_path)
