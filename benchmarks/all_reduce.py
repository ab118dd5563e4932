r"""Measures what averaging gradients over workers costs, in buckets and one by one.

  python -m benchmarks.all_reduce resnet_v1_50 mobilenet_v1
  python -m benchmarks.all_reduce --workers=2 --image_size=224 --alone vgg_16

For each network and number of workers, so many processes on this machine average its
gradients over loopback, by the collectives of `deployment.cluster`: alone, and in a
step that computes them on synthetic images. All ways of sending are measured in turn
in the same processes, and the first turn is left out, so that other load on the machine
hardly affects the ratios. The processes share the machine's cores: on separate machines
both computing and sending are faster.
"""

import argparse
import copy
import json
import operator
import os
import socket
import stat
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import options as options_
from benchmarks.peers import serving
from deployment.cluster import Workers
from nets import nets_factory
from scripts import local_cluster
from tf_slim_compat import tf

_MB = 2**20
_TIMEOUT_SECS = 600
_ONE_BY_ONE = "one by one"
_COMPUTING = "computing only"
_NUMBER = "one number"
# Offset of the received bytes in Linux' struct tcp_info.
_TCP_INFO_BYTES, _RECEIVED_AT = 136, 128


def count_received_bytes() -> int:
    """Returns the bytes that this process's open TCP connections have received."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                info = connection.getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES
                )
        except OSError:
            continue  # It is no TCP connection, or was closed meanwhile.
        if len(info) == _TCP_INFO_BYTES:
            total += struct.unpack_from("<Q", info, _RECEIVED_AT)[0]
    return total


def name_sizes(bucket_mb: Sequence[int]) -> dict[str, int]:
    """Returns the sizes of buckets in bytes by what they are called."""
    return {_ONE_BY_ONE: 0, **{f"{size} MB": size * _MB for size in bucket_mb}}


class Job:
    """The graph of a worker, whose operations are measured.

    Args:
      network: name of the network.
      workers: the workers.
      options: those of the command line.

    Attributes:
      gradients: number of gradients.
      bytes: their size.
      alone: the operations that only send, by what they are called.
      steps: those that compute gradients first.
      collectives: number of collectives by way of sending.
    """

    def __init__(
        self, network: str, workers: Workers, options: argparse.Namespace
    ) -> None:
        self._workers = workers
        with tf.Graph().as_default() as graph:
            variables, gradients = _build_gradients(network, options)
            self.gradients = len(variables)
            self.bytes = sum(4 * v.shape.num_elements() for v in variables)
            values = [variable.read_value() for variable in variables]
            number = tf.get_variable("number", [])
            mean = workers.collectives.average(number.read_value())
            self.alone = {_NUMBER: [mean.op]}
            self.steps = {} if options.alone else {_COMPUTING: _list_ops(gradients)}
            self.collectives = {_NUMBER: 1}
            for name, size in name_sizes(options.bucket_mb).items():
                # A copy counts on, so that no two collectives have the same key.
                collectives = copy.copy(workers.collectives)
                collectives._bucket_bytes = size
                before = _count_collectives(graph)
                self.alone[name] = _list_ops(collectives.average_all(values))
                self.collectives[name] = _count_collectives(graph) - before
                if not options.alone:
                    averages = collectives.average_all(gradients)
                    self.steps[name] = _list_ops(averages)
            self.session = tf.Session(workers.target, graph, workers.configure())
            self.session.run(tf.global_variables_initializer())

    def measure(
        self, operations: Sequence[tf.Operation], runs: int = 1
    ) -> tuple[float, float]:
        """Returns the seconds and received bytes per run, with all workers at once."""
        self._workers.gather([])
        received, started = count_received_bytes(), time.perf_counter()
        for _ in range(runs):
            self.session.run(operations)
        secs = time.perf_counter() - started
        return secs / runs, (count_received_bytes() - received) / runs


def _build_gradients(
    network: str, options: argparse.Namespace
) -> tuple[list[tf.Variable], list[tf.Tensor]]:
    """Returns the trained variables of a network and their gradients."""
    network_fn = nets_factory.get_network_fn(
        network, serving.CLASSES, weight_decay=0.0, is_training=True
    )
    size = options.image_size or network_fn.default_image_size
    images = tf.get_variable(
        "images",
        initializer=serving.make_batch(options.batch_size, size)[0],
        trainable=False,
    )
    logits, _ = network_fn(images.read_value())
    labels = tf.range(options.batch_size) % serving.CLASSES
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    variables = tf.trainable_variables()
    return variables, tf.gradients(loss, variables)


def _list_ops(tensors: Sequence[tf.Tensor]) -> list[tf.Operation]:
    """Returns the operations to run; a group of them would be optimized away."""
    return [tensor.op for tensor in tensors]


def _count_collectives(graph: tf.Graph) -> int:
    return sum(op.type == "CollectiveReduceV2" for op in graph.get_operations())


def measure(job: Job, options: argparse.Namespace) -> tuple[dict, dict, dict]:
    """Runs everything in turn.

    Returns:
      Seconds of each repetition alone and in a step, and received bytes alone, each by
      way of sending.
    """
    alone = {name: [] for name in job.alone}
    received = {name: [] for name in job.alone}
    steps = {name: [] for name in job.steps}
    for repetition in range(options.repetitions + 1):
        for name in job.alone:
            secs, size = job.measure(job.alone[name], 20 if name == _NUMBER else 2)
            if repetition:
                alone[name].append(secs)
                received[name].append(size)
        for name in job.steps:
            secs, _ = job.measure(job.steps[name])
            if repetition:
                steps[name].append(secs)
    return alone, steps, received


def compare(
    secs: dict[str, list[float]],
    name: str,
    base: str,
    by: Callable = lambda a, b: a / b,
) -> float:
    """Returns the median over repetitions of a comparison of two ways."""
    return statistics.median(map(by, secs[name], secs[base]))


def summarize(job: Job, count: int, measured: tuple[dict, dict, dict]) -> dict:
    """Returns what was measured, by way of sending, for the table and for JSON."""
    alone, steps, received = measured
    rows = {}
    for name in alone:
        row = {
            "collectives": job.collectives[name],
            "ms": 1e3 * statistics.median(alone[name]),
            "over_one_by_one": compare(alone, name, _ONE_BY_ONE),
            "received_mb": statistics.median(received[name]) / 1e6,
        }
        if name in steps:
            added = compare(steps, name, _COMPUTING, operator.sub)
            row["step_ms"] = 1e3 * statistics.median(steps[name])
            row["added_ms"] = 1e3 * added
            row["share"] = compare(steps, name, _COMPUTING, lambda a, b: 1 - b / a)
        rows[name] = row
    result = {"workers": count, "gradients": job.gradients, "bytes": job.bytes}
    if steps:
        result["computing_ms"] = 1e3 * statistics.median(steps[_COMPUTING])
    return {**result, "rows": rows}


def report(network: str, result: dict, options: argparse.Namespace) -> None:
    """Prints the table of one network and number of workers."""
    ring = 2 * (result["workers"] - 1) / result["workers"] * result["bytes"] / 1e6
    print(
        f"{network}, {result['workers']} workers, {result['gradients']} gradients, "
        f"{result['bytes'] / 1e6:.1f} MB; a ring sends {ring:.1f} MB per worker "
        f"(medians of {options.repetitions} repetitions in turn)"
    )
    if "computing_ms" in result:
        size = options.image_size or "its own"
        print(
            f"  a step of batch {options.batch_size} at {size} pixels computes for "
            f"{result['computing_ms']:.0f} ms"
        )
    print(
        f"  {'sent':12}{'collectives':>12}{'ms':>9}{'ratio':>7}{'MB received':>13}"
        f"{'step ms':>9}{'added ms':>10}{'of step':>9}"
    )
    for name, row in result["rows"].items():
        line = (
            f"  {name:12}{row['collectives']:12}{row['ms']:9.1f}"
            f"{row['over_one_by_one']:7.3f}{row['received_mb']:13.3f}"
        )
        if "share" in row:
            line += f"{row['step_ms']:9.0f}{row['added_ms']:10.0f}{row['share']:9.1%}"
        print(line)
    buckets = {n: row for n, row in result["rows"].items() if n.endswith("MB")}
    fastest = min(buckets, key=lambda name: buckets[name]["ms"])
    print(f"  fastest alone: {fastest}", end="")
    if "computing_ms" in result:
        fastest = min(buckets, key=lambda name: buckets[name]["added_ms"])
        print(f"; adds least to the step: {fastest}", end="")
    print(flush=True)


def work(network: str, place: dict, options: argparse.Namespace) -> None:
    """Measures one network as one of the workers; the first one reports."""
    addresses = place["cluster"]["worker"]
    workers = Workers(addresses, place["task"]["index"], _TIMEOUT_SECS)
    workers.start()
    job = Job(network, workers, options)
    measured = measure(job, options)
    workers.leave()
    if not workers.is_chief:
        return
    result = summarize(job, len(workers), measured)
    report(network, result, options)
    if options.json:
        with open(options.json, "a") as file:
            file.write(json.dumps({"network": network, **result}) + "\n")


def run(network: str, count: int) -> None:
    """Starts the workers with this process's command line; waits for them.

    Raises:
      SystemExit: if one of them fails.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.all_reduce", *sys.argv[1:]],
            env={**os.environ, "TF_CONFIG": json.dumps(task), "NETWORK": network},
        )
        for task in local_cluster.list_tasks(count)
    ]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        sys.exit(f"Workers ended with {statuses}.")


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("networks", nargs="*", default=["resnet_v1_50"])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--bucket_mb", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--alone", action="store_true", help="without computing")
    parser.add_argument("--json", help="file to which results are appended")
    options = parser.parse_args()
    if "TF_CONFIG" in os.environ:
        work(os.environ["NETWORK"], json.loads(os.environ["TF_CONFIG"]), options)
        return
    for network in options.networks:
        for count in options.workers:
            run(network, count)


if __name__ == "__main__":
    main()
