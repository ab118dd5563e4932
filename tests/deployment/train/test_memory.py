"""The estimate of a training step's memory, and what is free."""

import logging
import resource

import pytest
from toy_training import make_config, network, train

from deployment.config_flags import SettingError
from deployment.train import available_memory, memory
from tf_slim_compat import slim, tf

GB = 10**9


def build_graph(batch_size):
    images = tf.zeros([batch_size, 10])
    hidden = slim.fully_connected(images + 1.0, 20, tf.nn.relu)
    logits = slim.fully_connected(slim.flatten(hidden), 3, None)
    tf.losses.sparse_softmax_cross_entropy(tf.zeros([batch_size], tf.int64), logits)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    optimizer.minimize(tf.losses.get_total_loss())


def test_variables_gradients_and_activations_count(graph):
    build_graph(4)
    needs = memory.estimate(graph, 4)
    num_weights = 10 * 20 + 20 + 20 * 3 + 3
    # With the momentum and the gradients, which are there at once before the update.
    assert needs.fixed_bytes == 3 * 4 * num_weights
    # At least the input and the hidden layer.
    assert 4 * (10 + 20) <= needs.bytes_per_image <= 2 * 4 * (10 + 20)
    assert needs.total(2) == needs.fixed_bytes + 2 * needs.bytes_per_image


@pytest.mark.parametrize("batch_size", [4, 12])
def test_results_take_memory_until_their_last_use(graph, batch_size):
    first = tf.random.uniform([batch_size, 10])
    second = tf.sqrt(tf.reshape(first, [batch_size, 5, 2]))
    third = tf.sqrt(second)
    fourth = tf.sqrt(tf.sqrt(third))  # The second is gone by now.
    tf.reduce_sum(tf.squeeze(first)) + tf.reduce_sum(fourth)
    assert memory.estimate(graph, batch_size) == memory.Needs(0, 3 * 4 * 10)


def check(tmp_path, monkeypatch, available, needs, **options):
    monkeypatch.setattr(memory, "find_available", lambda: available)
    monkeypatch.setattr(memory, "estimate", lambda *_: needs)
    memory.check(make_config(tmp_path, **options), None)


@pytest.mark.parametrize(
    ("needs", "options", "advice"),
    [
        ((GB, 1e9), {}, "--batch_size=2 with --gradient_accumulation_steps=4,"),
        (
            (GB, 1e9),
            {"gradient_accumulation_steps": 3},
            "--batch_size=2 with --gradient_accumulation_steps=12,",
        ),
        ((GB, 1e9), {"sync_replicas": True}, "use --batch_size=2 or less."),
        ((5 * GB, 1e9), {}, "use a smaller image size or network."),
        ((9 * GB, 0.0), {}, "use a smaller image size or network."),
    ],
)
def test_a_run_that_does_not_fit_is_refused_with_a_remedy(
    tmp_path, monkeypatch, needs, options, advice
):
    with pytest.raises(SettingError) as error:
        check(tmp_path, monkeypatch, 5 * GB, memory.Needs(*needs), **options)
    message = error.value.explain()
    assert "Training needs at least 9.0 GB" in message or "13.0 GB" in message
    assert "but only 5.0 GB are available" in message and advice in message


def test_a_run_that_may_not_fit_is_warned_of(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, logger="absl")
    needs = memory.Needs(GB, 1e9)  # 9 GB for the batch of 8.
    for available in (15.1 * GB, None):
        check(tmp_path, monkeypatch, available, needs)
    assert not caplog.records
    for available in (11.9 * GB, 9.1 * GB):
        check(tmp_path, monkeypatch, available, needs)
    assert len(caplog.records) == 2
    assert all("--batch_size=4 with" in r.getMessage() for r in caplog.records)


def test_training_stops_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "find_available", lambda: 1000)
    with pytest.raises(SettingError, match="smaller image size or network"):
        train(tmp_path, network_fn=network)
    assert not list(tmp_path.glob("model.ckpt*"))


def write_files(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


MACHINE = {
    "proc/meminfo": "MemTotal: 900 kB\nMemAvailable: 600 kB\nSwapFree: 100 kB\n",
    "proc/self/status": "Name:\tpython\nVmSize:\t  150 kB\nVmData:\t 100 kB\n",
}
STAT = "anon 5\ninactive_file 1024\nactive_file 2048\n"


@pytest.mark.parametrize(
    ("files", "kilobytes"),
    [
        ({}, 700),
        (  # Version 2, with a limit of the group above; the caches are free.
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "1024\n",
                "sys/fs/cgroup/a/memory.max": f"{200 * 1024}\n",
                "sys/fs/cgroup/a/memory.current": f"{150 * 1024}\n",
                "sys/fs/cgroup/a/memory.stat": STAT,
            },
            50 + 3 + 100,
        ),
        (  # Version 1, whose files lie at the mount point of a container.
            {
                "proc/self/cgroup": "4:memory:/docker/x\n1:cpu:/docker/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{90 * 1024}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{80 * 1024}\n",
                "sys/fs/cgroup/memory/memory.stat": (
                    STAT + "total_inactive_file 4096\ntotal_active_file 0\n"
                ),
            },
            10 + 4 + 100,
        ),
    ],
)
def test_the_available_memory_is_that_of_the_narrowest_limit(
    tmp_path, files, kilobytes
):
    write_files(tmp_path, MACHINE | files)
    assert available_memory.find_available(str(tmp_path)) == kilobytes * 1024


def test_the_limits_of_the_process_count(tmp_path, monkeypatch):
    write_files(tmp_path, MACHINE)
    limits = {resource.RLIMIT_AS: 450 * 1024, resource.RLIMIT_DATA: 390 * 1024}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits[which], -1))
    assert available_memory.find_available(str(tmp_path)) == 290 * 1024


def test_nothing_is_known_of_other_systems(tmp_path):
    assert available_memory.find_available(str(tmp_path)) is None
    assert available_memory.find_available() > 0
