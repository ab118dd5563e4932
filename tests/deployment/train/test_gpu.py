"""What is particular to GPUs, as far as the graph and the messages show it."""

import dataclasses
import logging

import pytest
from toy_training import make_config, network

from deployment import model_deploy
from deployment.config_flags import SettingError
from deployment.train import gpu, memory, precision_choice
from tf_slim_compat import tf

GPUS = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]


@pytest.fixture
def with_gpus(monkeypatch):
    """Has this machine appear to have GPUs."""

    def appear(capability):
        details = {"device_name": "Old GPU", "compute_capability": capability}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: GPUS)
        monkeypatch.setattr(
            tf.config.experimental, "get_device_details", lambda _: details
        )

    return appear


def make(folder, on_cpu=True, num_clones=1, **options):
    deployment = model_deploy.DeploymentConfig(num_clones, clone_on_cpu=on_cpu)
    return dataclasses.replace(make_config(folder), deployment=deployment, **options)


@pytest.mark.parametrize(
    ("options", "capability", "message"),
    [
        ({}, (6, 1), "7.0 or more, but Old GPU has 6.1: use --precision=float32"),
        ({"sync_replicas": True}, (9, 0), "float16 scales the loss within one process"),
        ({"master": "grpc://host:1"}, (9, 0), "several train together"),
        ({"precision": "bfloat16"}, (9, 0), "bfloat16 on processors only, but the"),
    ],
)
def test_a_precision_that_gpus_do_not_have_is_an_error(
    tmp_path, with_gpus, options, capability, message
):
    with_gpus(capability)
    config = make(tmp_path, on_cpu=False, **{"precision": "float16", **options})
    with pytest.raises(SettingError) as error:
        gpu.check(config)
    assert message in error.value.explain()


def test_capable_gpus_train_in_float16(tmp_path, with_gpus):
    with_gpus((7, 0))
    config = make(tmp_path, on_cpu=False, num_clones=2, precision="float16", xla=True)
    gpu.check(config)
    session_config = precision_choice.build_session_config(config)
    gpu.configure(session_config, config)
    options = session_config.graph_options
    assert options.rewrite_options.auto_mixed_precision == 1
    assert options.optimizer_options.global_jit_level == 1
    plain = gpu.configure(tf.ConfigProto(), make(tmp_path))
    assert plain == tf.ConfigProto()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "",
            "--xla has no effect on the CPU, where it makes convolutions slower; TF_X",
        ),
        ("--tf_xla_cpu_global_jit", "--xla makes convolutions slower on the CPU: comp"),
    ],
)
def test_xla_on_the_cpu_is_warned_of(tmp_path, monkeypatch, caplog, flags, said):
    caplog.set_level(logging.WARNING, logger="absl")
    monkeypatch.setenv("TF_XLA_FLAGS", flags)
    gpu.check(make(tmp_path, xla=True))
    assert said in caplog.text


@pytest.mark.parametrize(
    ("num_clones", "expected"),
    [(1, [[0, 1], [2, 3], [4, 5]]), (2, [[0, 1, 2, 3], [4, 5, 6, 7]])],
)
def test_batches_go_to_the_clones_in_order(graph, monkeypatch, num_clones, expected):
    monkeypatch.setattr(  # Processors stand in for GPUs.
        model_deploy.DeploymentConfig, "clone_device", lambda _, i: f"/device:CPU:{i}"
    )
    deployment = model_deploy.DeploymentConfig(num_clones)
    batches = tf.data.Dataset.range(100).batch(2, drop_remainder=True)
    next_batch = gpu.build_batch_source(deployment, batches)
    tensors = [next_batch(deployment.clone_device(i)) for i in range(num_clones)]
    assert [t.device for t in tensors] == [
        f"/device:CPU:{i}" for i in range(num_clones)
    ]
    assert all(tensor.shape == [2] for tensor in tensors)
    session_config = tf.ConfigProto(device_count={"CPU": num_clones})
    with tf.Session(config=session_config) as session:
        session.run(tf.tables_initializer())
        for values in expected:
            assert [v for part in session.run(tensors) for v in part] == values


@pytest.mark.parametrize("num_ps_tasks", [0, 1])
def test_gpus_of_one_machine_add_gradients_by_nccl(graph, num_ps_tasks):
    deployment = model_deploy.DeploymentConfig(2, num_ps_tasks=num_ps_tasks)

    def model():
        logits, _ = network(tf.zeros([4, 8, 8, 1]))
        tf.losses.sparse_softmax_cross_entropy(tf.zeros([4], tf.int64), logits)

    clones = model_deploy.create_clones(deployment, model)
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    _, pairs = model_deploy.optimize_clones(clones, optimizer)
    for gradient, variable in pairs:
        assert gradient.op.name == f"{variable.op.name}/sum_grads"
        if num_ps_tasks:
            assert gradient.op.type == "AddN"
            continue
        added = gradient.op.inputs[0].op
        assert (added.type, added.device) == ("NcclReduce", "/device:GPU:0")
        assert [t.device for t in added.inputs] == ["/device:GPU:0", "/device:GPU:1"]


def test_the_free_memory_of_gpus_is_not_that_of_the_machine(tmp_path, with_gpus):
    with_gpus((9, 0))
    assert memory.is_on_gpu(make(tmp_path, on_cpu=False))
    assert not memory.is_on_gpu(make(tmp_path))
