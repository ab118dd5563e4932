"""Estimators with a model_fn of their own: training that stops, breaks off, goes on."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from estimator_toys import (
    CLASSES,
    FEATURES,
    custom_estimator,
    eval_spec,
    input_fn,
    receiver_fn,
    run_saved_model,
)

from tf_slim_compat import tf

estimators = tf.estimator
KILLED_AT = 25
KILLED_RUN = f"""
import os, signal, sys
from estimator_toys import custom_estimator, input_fn
from tf_slim_compat import tf

class Kill(tf.estimator.SessionRunHook):
    steps = 0
    def after_run(self, run_context, run_values):
        self.steps += 1
        if self.steps == {KILLED_AT}:
            os.kill(os.getpid(), signal.SIGKILL)

estimator = custom_estimator(sys.argv[1], save_checkpoints_steps=10)
estimator.train(input_fn(), max_steps=50, hooks=[Kill()])
"""


class RecordSteps(estimators.SessionRunHook):
    """Records the global step before each training step."""

    def __init__(self):
        self.steps = []
        self.events = []

    def begin(self):
        self.events.append("begin")
        self._step = tf.train.get_global_step()

    def after_create_session(self, session, coord):
        self.events.append("after_create_session")
        self.steps.append(int(session.run(self._step)))

    def before_run(self, run_context):
        return estimators.SessionRunArgs(tf.train.get_global_step())

    def after_run(self, run_context, run_values):
        self.events.append("run")

    def end(self, session):
        self.events.append("end")


def test_a_killed_run_goes_on_from_its_newest_checkpoint(tmp_path):
    places = [str(ROOT), str(ROOT / "tests"), *sys.path]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, str(tmp_path / "killed")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    record = RecordSteps()
    resumed = custom_estimator(tmp_path / "killed", save_checkpoints_steps=10)
    resumed.train(input_fn(), max_steps=50, hooks=[record])
    # One batch is the half of the table, so 20 steps are whole epochs.
    whole = custom_estimator(tmp_path / "whole").train(input_fn(), max_steps=50)
    assert record.steps == [20]
    assert resumed.latest_checkpoint().endswith("model.ckpt-50")
    np.testing.assert_allclose(
        resumed.get_variable_value("weights"), whole.get_variable_value("weights")
    )


def test_hooks_are_called_in_order(tmp_path):
    record = RecordSteps()
    custom_estimator(tmp_path).train(
        input_fn(), hooks=[record, estimators.StopAtStepHook(last_step=2)]
    )
    assert record.events == ["begin", "after_create_session", "run", "run", "end"]


@pytest.mark.parametrize(
    ("hook", "metric", "limit", "rate"),
    [
        ("stop_if_higher_hook", "accuracy", 0.9, 0.1),
        # Without a learning rate nothing improves.
        ("stop_if_no_decrease_hook", "loss", 20, 0.0),
    ],
)
def test_early_stopping_stops(hook, metric, limit, rate, tmp_path):
    estimator = custom_estimator(tmp_path, rate, save_checkpoints_steps=10)
    os.makedirs(estimator.eval_dir())
    stop = getattr(estimators.experimental, hook)(
        estimator, metric, limit, run_every_secs=None, run_every_steps=10
    )
    train_spec = estimators.TrainSpec(input_fn(), max_steps=200, hooks=[stop])
    estimators.train_and_evaluate(estimator, train_spec, eval_spec())
    stopped_at = int(estimator.latest_checkpoint().rpartition("-")[2])
    assert 10 <= stopped_at < 100


def test_exporters_keep_the_best_over_a_restart(tmp_path):
    exported = {}
    for max_steps in (20, 40):
        estimator = custom_estimator(tmp_path, save_checkpoints_steps=10)
        best = estimators.BestExporter(
            serving_input_receiver_fn=receiver_fn(), exports_to_keep=2
        )
        exporters = [best, estimators.FinalExporter("final", receiver_fn())]
        estimators.train_and_evaluate(
            estimator,
            estimators.TrainSpec(input_fn(), max_steps=max_steps),
            eval_spec(exporters=exporters),
        )
        folder = tmp_path / "export" / "best_exporter"
        exported[max_steps] = sorted(folder.iterdir())
    # Each checkpoint was better than the one before, so both old ones were removed.
    assert [len(folders) for folders in exported.values()] == [2, 2]
    assert not set(exported[20]) & set(exported[40])
    predicted = next(estimator.predict(input_fn(None, 1)))
    found = run_saved_model(exported[40][-1], {"x": FEATURES["x"]})
    np.testing.assert_allclose(
        found["probabilities"][0], predicted["probabilities"], rtol=1e-5
    )
    assert len(list((tmp_path / "export" / "final").iterdir())) == 2
    # After another restart, a worse model is not exported.
    worse = custom_estimator(tmp_path, rate=-1.0, save_checkpoints_steps=10)
    estimators.train_and_evaluate(
        worse,
        estimators.TrainSpec(input_fn(), max_steps=50),
        eval_spec(
            exporters=estimators.BestExporter(
                serving_input_receiver_fn=receiver_fn(), exports_to_keep=2
            )
        ),
    )
    assert sorted(folder.iterdir()) == exported[40]


def test_a_run_config_settles_checkpoints_and_the_session(tmp_path):
    session_config = tf.ConfigProto(allow_soft_placement=True)
    estimator = custom_estimator(
        tmp_path,
        save_checkpoints_steps=1,
        keep_checkpoint_max=2,
        session_config=session_config,
    )
    estimator.train(input_fn(), max_steps=3)
    state = tf.train.get_checkpoint_state(str(tmp_path))
    names = [os.path.basename(path) for path in state.all_model_checkpoint_paths]
    assert names == ["model.ckpt-2", "model.ckpt-3"]
    config = estimator.config
    assert (config.is_chief, config.num_worker_replicas) == (True, 1)
    assert config.session_config == session_config
    assert config.replace(tf_random_seed=5).tf_random_seed == 5
    with pytest.raises(ValueError, match="save_checkpoints"):
        estimators.RunConfig(save_checkpoints_steps=1, save_checkpoints_secs=1)


@pytest.mark.parametrize(("pattern", "is_taken"), [("weights", True), ("b", False)])
def test_a_warm_start_takes_the_named_variables(pattern, is_taken, tmp_path):
    trained = custom_estimator(tmp_path / "a").train(input_fn(), max_steps=5)
    settings = estimators.WarmStartSettings(str(tmp_path / "a"), pattern)
    warm = custom_estimator(tmp_path / "warm", 0.0, settings)
    weights = warm.train(input_fn(), steps=1).get_variable_value("weights")
    expected = trained.get_variable_value("weights") * is_taken
    np.testing.assert_array_equal(weights, expected)
    assert warm.get_variable_value("global_step") == 1


def test_numpy_arrays_are_fed_by_queues(tmp_path):
    rows = {"x": FEATURES["x"]}
    feed = estimators.inputs.numpy_input_fn(
        rows, CLASSES, batch_size=32, num_epochs=None, shuffle=True
    )
    estimator = custom_estimator(tmp_path).train(feed, steps=40)
    whole = estimators.inputs.numpy_input_fn(rows, CLASSES, shuffle=False)
    assert estimator.evaluate(whole)["accuracy"] > 0.9


def test_a_metric_and_an_evaluation_in_training_can_be_added(tmp_path):
    estimator = estimators.add_metrics(
        custom_estimator(tmp_path),
        lambda features, labels: {"label": tf.metrics.mean(labels)},
    )
    hook = estimators.experimental.InMemoryEvaluatorHook(
        estimator, input_fn(epochs=1), every_n_iter=2
    )
    estimator.train(input_fn(), max_steps=4, hooks=[hook])
    metrics = estimator.evaluate(input_fn(epochs=1))
    assert metrics["label"] == pytest.approx(CLASSES.mean())
    assert os.listdir(estimator.eval_dir())
