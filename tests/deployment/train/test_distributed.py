"""Training with a parameter server, the whole cluster in this process."""

import socket

import numpy as np
import pytest
import toy_training

from deployment import model_deploy
from deployment.cluster import LostWorkerError
from deployment.models.spec import ModelSpec
from deployment.optimize.learning_rates import Schedule
from deployment.optimize.optimizers import OptimizerConfig
from deployment.train import training
from tf_slim_compat import slim, tf


def find_free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """Starts a parameter server and a worker; returns the worker's address."""
    jobs = {job: [f"127.0.0.1:{find_free_port()}"] for job in ("ps", "worker")}
    spec = tf.train.ClusterSpec(jobs)
    servers = [tf.train.Server(spec, job_name=job, task_index=0) for job in jobs]
    return servers[1].target


def network_fn(images):
    net = slim.conv2d(images, 4, 3, normalizer_fn=slim.batch_norm, scope="Net/Conv")
    net = tf.reduce_mean(net, [1, 2])
    return slim.fully_connected(net, 2, activation_fn=None, scope="Net/Logits"), {}


def build_batches(seed, start_image):
    del seed, start_image  # Every batch is the same.
    labels = np.arange(8, dtype=np.int64) % 2
    images = np.zeros([8, 6, 6, 1], np.float32) + labels[:, None, None, None]
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


@pytest.mark.slow
@pytest.mark.parametrize("sync_replicas", [False, True])
def test_a_worker_trains_variables_on_the_parameter_server(
    cluster, tmp_path, monkeypatch, sync_replicas
):
    config = training.TrainingConfig(
        train_dir=str(tmp_path),
        spec=ModelSpec(model_name="toy", num_outputs=2),
        num_samples=8,
        batch_size=8,
        number_of_steps=30,
        deployment=model_deploy.DeploymentConfig(clone_on_cpu=True, num_ps_tasks=1),
        schedule=Schedule("fixed", 0.5),
        optimizer=OptimizerConfig("sgd"),
        sync_replicas=sync_replicas,
        master=cluster,
    )
    waited_for = []
    join = tf.train.Coordinator.join

    def watch(self, *args, **kwargs):
        waited_for.extend(t for t in self._registered_threads if t.is_alive())
        join(self, *args, **kwargs)

    monkeypatch.setattr(tf.train.Coordinator, "join", watch)
    assert training.train(config, network_fn, build_batches).loss < 0.3
    # A thread of synchronous replicas would not end by itself.
    assert not waited_for
    path = tf.train.latest_checkpoint(str(tmp_path))
    assert tf.train.load_variable(path, "global_step") == 30


def test_a_lost_parameter_server_is_named(cluster, tmp_path, monkeypatch):
    lost = tf.errors.UnavailableError(None, None, "Socket closed")

    def fail(*args, **kwargs):
        raise lost

    def fail_to_save(*args, **kwargs):
        raise OSError("The checkpoint of step 2 could not be saved.") from lost

    monkeypatch.setattr(slim.learning, "train", fail)
    spec = toy_training.make_spec(num_outputs=2)
    alone = toy_training.make_config(tmp_path / "alone", spec=spec)
    with pytest.raises(tf.errors.UnavailableError):
        training.train(alone, network_fn, build_batches)
    config = toy_training.make_config(tmp_path, master=cluster, spec=spec)
    for failure in (fail, fail_to_save):
        monkeypatch.setattr(slim.learning, "train", failure)
        with pytest.raises(LostWorkerError, match="A parameter server does not answer"):
            training.train(config, network_fn, build_batches)
