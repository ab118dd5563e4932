"""Clones: devices, scopes, shared variables and joint updates."""

import numpy as np
import pytest

from deployment import model_deploy
from tf_slim_compat import slim, tf

pytestmark = pytest.mark.usefixtures("graph")


def linear_model(inputs, labels):
    logits = slim.fully_connected(inputs, 3, activation_fn=None, scope="linear")
    tf.losses.sparse_softmax_cross_entropy(labels, logits)
    return logits


def batch_norm_model(inputs, labels):
    net = slim.fully_connected(inputs, 4, normalizer_fn=slim.batch_norm, scope="hidden")
    return linear_model(net, labels)


def sharded_inputs(num_clones, batch_size, seed=7):
    """Returns a model function whose clones get consecutive random batches."""
    rng = np.random.RandomState(seed)
    inputs = rng.randn(16, 5).astype(np.float32)
    labels = rng.randint(3, size=16)
    shards = [
        (
            inputs[i * batch_size : (i + 1) * batch_size],
            labels[i * batch_size :][:batch_size],
        )
        for i in range(num_clones)
    ]
    turn = iter(shards)

    def model_fn():
        shard_inputs, shard_labels = next(turn)
        return linear_model(tf.constant(shard_inputs), tf.constant(shard_labels))

    return model_fn


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("/device:GPU:0", "", "/device:CPU:0", "/device:CPU:0")),
        (
            {"clone_on_cpu": True},
            ("/device:CPU:0", "", "/device:CPU:0", "/device:CPU:0"),
        ),
        (
            {"num_clones": 2},
            ("/device:GPU:0", "clone_0", "/device:CPU:0", "/device:CPU:0"),
        ),
        (
            {"num_clones": 2, "num_ps_tasks": 1},
            (
                "/job:worker/device:GPU:0",
                "clone_0",
                "/job:worker/device:CPU:0",
                "/job:ps/task:0/device:CPU:0",
            ),
        ),
    ],
)
def test_devices_and_scopes(options, expected):
    config = model_deploy.DeploymentConfig(**options)
    variables_device = config.variables_device()
    if callable(variables_device):
        variables_device = variables_device(None)
    assert (
        config.clone_device(0),
        config.clone_scope(0),
        config.optimizer_device(),
        variables_device,
    ) == expected
    assert config.inputs_device() == config.optimizer_device()


def test_parameter_servers_get_variables_round_robin():
    config = model_deploy.DeploymentConfig(num_ps_tasks=2)
    with tf.device(config.variables_device()):
        names = [tf.get_variable(f"v{i}", [1]).device for i in range(4)]
    assert names == [f"/job:ps/task:{i}/device:CPU:0" for i in (0, 1, 0, 1)]
    assert config.caching_device() is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_replicas": 2}, "num_ps_tasks"),
        ({"replica_id": 1}, "replica_id must be from 0 to 0"),
        ({"num_clones": 0}, "num_clones must be 1 or more"),
    ],
)
def test_invalid_configurations_are_errors(options, said):
    with pytest.raises(ValueError, match=said):
        model_deploy.DeploymentConfig(**options)


def test_the_default_places_clones_on_gpus_only_if_there_are_any():
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    assert model_deploy.choose_deployment().clone_on_cpu is not has_gpu
    with pytest.raises(ValueError, match="this machine has"):
        model_deploy.choose_deployment(num_clones=999, clone_on_cpu=False)


def test_clones_share_variables_and_have_their_own_scopes():
    config = model_deploy.DeploymentConfig(num_clones=3, clone_on_cpu=True)
    inputs, labels = tf.ones([2, 5]), tf.zeros([2], tf.int32)
    clones = model_deploy.create_clones(config, linear_model, [inputs, labels])
    assert [clone.scope for clone in clones] == ["clone_0/", "clone_1/", "clone_2/"]
    assert [clone.device for clone in clones] == ["/device:CPU:0"] * 3
    assert [v.op.name for v in slim.get_model_variables()] == [
        "linear/weights",
        "linear/biases",
    ]
    assert all(v.device == "/device:CPU:0" for v in slim.get_model_variables())
    assert clones[1].outputs.op.name.startswith("clone_1/linear/")


def test_arguments_are_passed_to_the_model_function():
    config = model_deploy.DeploymentConfig(clone_on_cpu=True)
    (clone,) = model_deploy.create_clones(
        config, lambda a, b=0: (a, b), args=[1], kwargs={"b": 2}
    )
    assert clone == ((1, 2), "", "/device:CPU:0")


def test_losses_are_averaged_over_clones_and_regularized_once():
    def model_fn():
        slim.fully_connected(
            tf.ones([1, 1]),
            1,
            weights_initializer=tf.ones_initializer(),
            weights_regularizer=lambda weights: 0.5 * tf.reduce_sum(weights),
            scope="linear",
        )
        tf.losses.add_loss(tf.constant(3.0))

    config = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    clones = model_deploy.create_clones(config, model_fn)
    total_loss, _ = model_deploy.optimize_clones(
        clones, tf.train.GradientDescentOptimizer(1.0)
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(total_loss) == pytest.approx(3.0 + 0.5)


def test_a_model_without_a_loss_is_an_error():
    config = model_deploy.DeploymentConfig(clone_on_cpu=True)
    clones = model_deploy.create_clones(config, lambda: tf.constant(1.0))
    with pytest.raises(ValueError, match="No clone has a loss"):
        model_deploy.optimize_clones(clones, tf.train.GradientDescentOptimizer(1.0))


def test_update_ops_are_found_by_the_scope_of_the_first_clone():
    config = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    inputs, labels = tf.random.normal([4, 5]), tf.zeros([4], tf.int32)
    clones = model_deploy.create_clones(config, batch_norm_model, [inputs, labels])
    everything = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    first = tf.get_collection(tf.GraphKeys.UPDATE_OPS, clones[0].scope)
    assert (len(first), len(everything)) == (2, 4)


def train_linear(num_clones, batch_size, steps=5):
    """Returns the weights after some steps on the same 16 examples."""
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        config = model_deploy.DeploymentConfig(num_clones=num_clones, clone_on_cpu=True)
        model = model_deploy.deploy(
            config,
            sharded_inputs(num_clones, batch_size),
            optimizer=tf.train.MomentumOptimizer(0.5, 0.9),
        )
        weights = slim.get_model_variables()[0]
        start = np.random.RandomState(3).randn(5, 3)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            weights.load(start, session)
            for _ in range(steps):
                session.run(model.train_op)
            assert session.run(tf.train.get_global_step()) == steps
            return session.run(slim.get_model_variables())


def test_two_clones_of_8_equal_one_of_16():
    for two, one in zip(train_linear(2, 8), train_linear(1, 16), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)


def test_clones_on_logical_devices():
    """Each clone runs on its own device; two logical CPUs stand in for GPUs."""

    class OnCpus(model_deploy.DeploymentConfig):
        def clone_device(self, clone_index):
            return super().clone_device(clone_index).replace("GPU", "CPU")

    config = OnCpus(num_clones=2)
    model = model_deploy.deploy(
        config, sharded_inputs(2, 8), optimizer=tf.train.GradientDescentOptimizer(0.1)
    )
    assert model.clones[1].outputs.device == "/device:CPU:1"
    options = tf.ConfigProto(device_count={"CPU": 2})
    with tf.Session(config=options) as session:
        session.run(tf.global_variables_initializer())
        first = session.run(model.train_op)
        for _ in range(10):
            last = session.run(model.train_op)
    assert last < first


def test_deploy_without_an_optimizer_reports_the_loss():
    def model_fn():
        tf.losses.add_loss(tf.constant(3.0))
        tf.summary.scalar("in_the_model", 1.0)

    config = model_deploy.DeploymentConfig(num_clones=2, clone_on_cpu=True)
    tf.losses.add_loss(tf.constant(0.5), tf.GraphKeys.REGULARIZATION_LOSSES)
    model = model_deploy.deploy(config, model_fn)
    assert model.train_op is None
    assert model.summary_op.op.name == "summary_op/summary_op"
    with tf.Session() as session:
        total_loss, summaries = session.run([model.total_loss, model.summary_op])
    assert total_loss == 3.5
    tags = {value.tag for value in tf.Summary.FromString(summaries).value}
    assert {"total_loss_1", "clone_0/in_the_model"} <= tags
