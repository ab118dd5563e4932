"""All-reduce workers as threads of this process, each with its own server and graph."""

import concurrent.futures
import contextlib
import shutil
import socket

import toy_training

from deployment.cluster import Workers
from deployment.train import shared_run, training
from tf_slim_compat import tf


def find_free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("localhost", 0))
        return [opened.getsockname()[1] for opened in sockets]


def run(count, function, **options):
    """Returns `function(workers)` of each of `count` workers that run at a time.

    If one fails, so do the others, as they would in processes of their own.
    """
    addresses = [f"localhost:{port}" for port in find_free_ports(count)]
    members = [Workers(addresses, i, timeout_secs=60, **options) for i in range(count)]

    def work(index):
        try:
            members[index].start()
            return function(members[index])
        except BaseException:
            for other in members:
                other.close()
            raise

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def build_batches(config):
    """Returns the input of toy training, divided among the workers of a config."""
    index, count = config.part

    def build(seed, start_image):
        del seed
        examples = toy_training.list_examples().repeat().skip(start_image)
        return examples.shard(count, index).batch(config.batch_size)

    return build


def train(count, folder, *, network_fn=toy_training.network, **options):
    """Trains with workers; returns the folders that have the last variables of each."""
    evaluated = {"build_evaluator", "card", "on_new_best"} & set(options)
    others = {name: options.pop(name) for name in evaluated}
    bucket_bytes = options.pop("bucket_bytes", 1000)
    following = shared_run.following

    @contextlib.contextmanager
    def kept(config):
        with following(config) as own:
            yield own
            shutil.copytree(own.train_dir, folder / f"worker_{config.workers.index}")

    def work(workers):
        config = toy_training.make_config(
            folder / "worker_0", workers=workers, **options
        )
        own = dict(others)
        if "build_evaluator" in own:
            own["build_evaluator"] = lambda: others["build_evaluator"](config.part)
        with tf.Graph().as_default():
            return training.train(config, network_fn, build_batches(config), **own)

    shared_run.following = kept
    try:
        results = run(count, work, bucket_bytes=bucket_bytes)
    finally:
        shared_run.following = following
    return results, [folder / f"worker_{index}" for index in range(count)]
