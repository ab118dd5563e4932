"""Estimators on several machines, which TF_CONFIG names."""

import contextlib
import json
import socket
import threading
import types

import numpy as np
import pytest
from estimator_toys import custom_estimator, eval_spec, input_fn, run_config

from tf_slim_compat import tf


def find_address():
    """Returns a free address on loopback."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def set_role(monkeypatch):
    """Makes this process one of a cluster."""

    def set_role(cluster, role):
        task = {"type": role, "index": 0}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))

    return set_role


class Meet(tf.estimator.SessionRunHook):
    """Has the chief wait for a step of the worker, which begins after it."""

    def __init__(self, role, is_ready, has_stepped):
        self._role = role
        self._is_ready = is_ready
        self._has_stepped = has_stepped

    def after_create_session(self, session, coord):
        if self._role == "chief":
            self._is_ready.set()

    def before_run(self, run_context):
        if self._role == "chief":
            self._has_stepped.wait()

    def after_run(self, run_context, run_values):
        if self._role == "worker":
            self._has_stepped.set()


def test_chief_worker_parameter_server_and_evaluator(set_role, tmp_path):
    cluster = {role: [find_address()] for role in ("chief", "worker", "ps")}
    estimators, errors = {}, []
    for role in (*cluster, "evaluator"):
        set_role(cluster, role)
        estimators[role] = custom_estimator(
            tmp_path,
            save_checkpoints_steps=20,
            keep_checkpoint_max=None,
            experimental_max_worker_delay_secs=0,
        )
    config = estimators["worker"].config
    assert (config.is_chief, config.num_ps_replicas) == (False, 1)
    assert config.master == f"grpc://{cluster['worker'][0]}"

    events = (threading.Event(), threading.Event())

    def run(role, estimator):
        try:
            train_spec = tf.estimator.TrainSpec(
                input_fn(), max_steps=40, hooks=[Meet(role, *events)]
            )
            if role == "worker":  # It would wait 30 seconds for the chief otherwise.
                events[0].wait()
            tf.estimator.train_and_evaluate(
                estimator, train_spec, eval_spec(throttle_secs=1)
            )
        except Exception as error:
            errors.append(error)
            for event in events:
                event.set()

    # The parameter server never ends by itself.
    threads = {
        role: threading.Thread(target=run, args=[role, estimator], daemon=True)
        for role, estimator in estimators.items()
    }
    for thread in threads.values():
        thread.start()
    for role in ("chief", "worker", "evaluator"):
        threads[role].join()
    assert not errors
    assert estimators["chief"].get_variable_value("global_step") >= 40
    assert list((tmp_path / "eval").glob("events.*"))


@pytest.mark.filterwarnings("ignore:To make it possible to preserve tf.data")
def test_a_strategy_on_a_cluster(set_role, tmp_path):
    set_role({"chief": [find_address()]}, "chief")
    strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
    estimator = custom_estimator(
        tmp_path, train_distribute=strategy, eval_distribute=strategy
    )
    # Two steps are an epoch, and a resumed input starts a new one.
    estimator.train(input_fn(), max_steps=4)
    assert estimator.evaluate(input_fn(epochs=1))["global_step"] == 4
    train_spec = tf.estimator.TrainSpec(input_fn(), max_steps=10)
    tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec())
    set_role({}, "worker")
    alone = custom_estimator(tmp_path / "alone").train(input_fn(), max_steps=10)
    np.testing.assert_allclose(
        estimator.get_variable_value("weights"), alone.get_variable_value("weights")
    )


def test_a_strategy_on_one_machine(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    estimator = custom_estimator(tmp_path, train_distribute=strategy)
    estimator.train(input_fn(), max_steps=5)
    assert estimator.evaluate(input_fn(epochs=1))["global_step"] == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("train_distribute",), "either the one or the others"),
        ((), "remote_cluster, which is not supported"),
    ],
)
def test_a_cluster_that_is_not_supported_is_an_error(tmp_path, given, message):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    wanted = types.SimpleNamespace(
        train_distribute=strategy, eval_distribute=None, remote_cluster="127.0.0.1:1"
    )
    options = dict.fromkeys(given, strategy)
    with pytest.raises(ValueError, match=message):
        run_config(tmp_path, experimental_distribute=wanted, **options)
