r"""Predicts how a training step grows from 1 to 1,024 all-reduce workers.

  python -m benchmarks.scaling
  python -m benchmarks.all_reduce --json=measured.json resnet_v1_50
  python -m benchmarks.scaling --measured=measured.json

Prints the tables of benchmarks/scaling.md. Gradients become ready one after the other
during the backward pass, fill buckets, and each bucket goes around a ring; what the
network and the processor can do are parameters. `--measured` instead compares the model
with what `benchmarks.all_reduce` found on this machine.
"""

import argparse
import json
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import options as options_
from deployment.cluster.collectives import BUCKET_BYTES, split_bucket
from deployment.inspect import network as inspected
from nets import nets_factory

NETWORKS = ("mobilenet_v1", "resnet_v1_50", "vgg_16")
WORKERS = (1, 2, 4, 16, 64, 256, 1024)
GIGABITS = (1, 10, 25, 100)
LATENCIES = (50e-6, 500e-6)
_CLASSES, _SIZE = 1000, 224
# The backward pass computes the gradients of activations and of weights.
_FORWARD_SHARE = 1 / 3


class Gradient(NamedTuple):
    """The bytes of a variable's gradient, and the multiply-adds with the variable."""

    bytes: int
    multiply_adds: int


class Link(NamedTuple):
    """What connects a worker to the next one.

    Attributes:
      bytes_per_sec: of one direction.
      latency_secs: from sending a message to its arrival; others are under way
        meanwhile.
      message_secs: how long a message occupies the sender beside its bytes.
    """

    bytes_per_sec: float
    latency_secs: float
    message_secs: float = 0.0


def list_gradients(network: str) -> list[Gradient]:
    """Returns the gradients of a network for 1,000 classes at 224 px, input first."""
    network_fn = nets_factory.get_network_fn(network, _CLASSES)
    summary = inspected.summarize(network_fn, (_SIZE, _SIZE, 3))
    costs = {
        layer.name: layer.multiply_adds
        for layer in summary.layers
        if layer.multiply_adds
    }
    return [
        Gradient(
            4 * math.prod(shape),
            costs.get(name.rpartition("/")[0], 0) if name.endswith("weights") else 0,
        )
        for name, shape in summary.shapes.items()
        if "/moving_" not in name
    ]


def count_messages(workers: int) -> int:
    """Returns how many messages follow each other in the all-reduce of a bucket."""
    return 2 * (workers - 1)


def count_ring_bytes(size: int, workers: int) -> float:
    """Returns the bytes that each worker sends, and receives, for `size` bytes."""
    return count_messages(workers) / workers * size


def fill_buckets(
    gradients: Sequence[Gradient], bucket_bytes: int, workers: int
) -> list[tuple[float, int]]:
    """Returns (share of the backward pass after which it is ready, bytes) per bucket.

    A bucket is sent when it has `bucket_bytes` or more, a large one in pieces, as by
    `Collectives`.
    """
    total = sum(gradient.multiply_adds for gradient in gradients)
    buckets, done, size = [], 0, 0
    for gradient in reversed(gradients):
        done += gradient.multiply_adds
        size += gradient.bytes
        if size >= bucket_bytes:
            pieces = split_bucket(size // 4, bucket_bytes, workers)
            buckets += [(done / total, 4 * piece) for piece in pieces]
            size = 0
    return [*buckets, (1.0, size)] if size else buckets


def compute_transfer_secs(
    buckets: Sequence[tuple[float, int]], workers: int, link: Link
) -> float:
    """Returns how long sending buckets takes that are all ready."""
    return _send([(0.0, size) for _, size in buckets], workers, link)


def simulate_step(
    buckets: Sequence[tuple[float, int]],
    workers: int,
    link: Link,
    computing_secs: float,
    overlaps: bool = True,
) -> float:
    """Returns the seconds of a step.

    Args:
      buckets: as of `fill_buckets`.
      workers: their number; one sends nothing.
      link: between them.
      computing_secs: of the forward and the backward pass.
      overlaps: whether buckets leave during the backward pass.
    """
    if workers == 1:
        return computing_secs
    forward = _FORWARD_SHARE * computing_secs
    backward = computing_secs - forward
    ready = [
        (forward + share * backward if overlaps else computing_secs, size)
        for share, size in buckets
    ]
    # The agreement whether to go on: a gather, whose n - 1 messages follow each other.
    agreement = (workers - 1) * (link.latency_secs + link.message_secs)
    return max(computing_secs, _send(ready, workers, link)) + agreement


def _send(ready: Sequence[tuple[float, int]], workers: int, link: Link) -> float:
    """Returns when all buckets have gone around; they share the link in turn."""
    messages = count_messages(workers)
    is_free = arrived = 0.0
    for moment, size in ready:
        busy = count_ring_bytes(size, workers) / link.bytes_per_sec
        is_free = max(is_free, moment) + busy + messages * link.message_secs
        arrived = max(arrived, is_free + messages * link.latency_secs)
    return arrived


def simulate_slowest(workers: int, spread: float, steps: int = 2000) -> float:
    """Returns the mean time of the slowest of workers whose mean time is 1.

    Args:
      workers: their number.
      spread: standard deviation of each one's times, normally distributed.
      steps: how many are simulated.
    """
    times = np.random.RandomState(0).normal(1.0, spread, [steps, workers])
    return float(times.max(1).mean())


def fit_link(result: dict) -> Link:
    """Returns the link that explains three measurements of two workers.

    Args:
      result: a line of `benchmarks.all_reduce`. The difference between one by one and
        4 MB gives the cost of a message, one number the latency, 4 MB the bandwidth.
    """
    rows = result["rows"]
    alone, fused, number = (rows[name] for name in ("one by one", "4 MB", "one number"))
    messages = count_messages(2)
    more = alone["collectives"] - fused["collectives"]
    per_message = max(0.0, (alone["ms"] - fused["ms"]) / more / messages) / 1e3
    latency = max(0.0, number["ms"] / messages / 1e3 - per_message)
    fixed = messages * (fused["collectives"] * per_message + latency)
    sent = count_ring_bytes(result["bytes"], 2)
    return Link(sent / (fused["ms"] / 1e3 - fixed), latency, per_message)


def compare(results: Sequence[dict]) -> None:
    """Prints measured beside predicted times, from the link of two workers' results."""
    links = {r["network"]: fit_link(r) for r in results if r["workers"] == 2}
    for network, link in links.items():
        print(
            f"{network}: {link.bytes_per_sec / 1e6:.0f} MB/s, "
            f"{1e6 * link.latency_secs:.0f} us latency, "
            f"{1e6 * link.message_secs:.0f} us per message\n"
        )
    print("| network | workers | sent | alone, ms | predicted | added to a step, ms |")
    print("|---|---|---|---|---|---|")
    for result in results:
        link, count = links[result["network"]], result["workers"]
        # All processes send with the same cores, which two of them used up.
        slower = count / 2
        link = Link(
            link.bytes_per_sec / slower, link.latency_secs, slower * link.message_secs
        )
        for name, row in result["rows"].items():
            size = 4 if name == "one number" else result["bytes"]
            buckets = [(0.0, size / row["collectives"])] * row["collectives"]
            secs = compute_transfer_secs(buckets, count, link)
            added = f"{row['added_ms']:.0f}" if "added_ms" in row else ""
            print(
                f"| {result['network']} | {count} | {name} | {row['ms']:.1f} "
                f"| {1e3 * secs:.1f} | {added} |"
            )


def compute_secs(
    gradients: Sequence[Gradient], batch_size: int, teraflops: float
) -> float:
    """Returns the computing time of a step from multiply-adds per image."""
    operations = 2 * sum(gradient.multiply_adds for gradient in gradients)
    return operations / _FORWARD_SHARE * batch_size / (1e12 * teraflops)


def print_bytes(networks: dict[str, list[Gradient]]) -> None:
    """Prints what is sent per step."""
    print("| network | gradients | MB | buckets of 4 MB | " + _join("MB sent", WORKERS))
    print("|---|---|---|---|" + "---|" * len(WORKERS))
    for name, gradients in networks.items():
        size = sum(gradient.bytes for gradient in gradients)
        sent = [f"{count_ring_bytes(size, n) / 1e6:.1f}" for n in WORKERS]
        count = len(fill_buckets(gradients, BUCKET_BYTES, WORKERS[-1]))
        row = [name, len(gradients), f"{size / 1e6:.1f}", count, *sent]
        print(f"| {' | '.join(map(str, row))} |")


def _join(label: str, counts: Sequence[int]) -> str:
    return (
        " | ".join(
            f"{label if i == 0 else ''} n={n}".strip() for i, n in enumerate(counts)
        )
        + " |"
    )


def print_efficiency(
    name: str, gradients: Sequence[Gradient], options: argparse.Namespace
) -> None:
    """Prints the shares of steps that are computing, overlapped and not."""
    for teraflops in options.teraflops:
        secs = compute_secs(gradients, options.batch_size, teraflops)
        print(
            f"\n{name}, {teraflops} TFLOP/s: {secs:.3f} s of computing per step, "
            f"{options.batch_size / secs:.0f} images/s per worker\n"
        )
        print("| Gbit/s | latency, us | " + _join("", WORKERS[1:]))
        print("|---|---|" + "---|" * len(WORKERS[1:]))
        for gigabits in GIGABITS:
            for latency in LATENCIES:
                link = Link(gigabits * 1e9 / 8, latency)
                cells = []
                for n in WORKERS[1:]:
                    buckets = fill_buckets(gradients, options.bucket_mb * 2**20, n)
                    both = [
                        secs / simulate_step(buckets, n, link, secs, overlaps)
                        for overlaps in (True, False)
                    ]
                    cells.append(" / ".join(f"{100 * share:.0f}" for share in both))
                print(f"| {gigabits} | {1e6 * latency:.0f} | {' | '.join(cells)} |")


def print_bucket_sizes(
    networks: dict[str, list[Gradient]], options: argparse.Namespace
) -> None:
    """Prints efficiency by the size of buckets, at 10 and 100 Gbit/s and 50 us."""
    sizes = (0, 1, 4, 16, 64)
    print("| network | workers | Gbit/s | one by one | 1 MB | 4 MB | 16 MB | 64 MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, gradients in networks.items():
        secs = compute_secs(gradients, options.batch_size, options.teraflops[-1])
        for workers in (4, 64, 1024):
            for gigabits in (10, 100):
                link = Link(gigabits * 1e9 / 8, 50e-6, options.message_us / 1e6)
                shares = [
                    secs
                    / simulate_step(
                        fill_buckets(gradients, mb * 2**20, workers),
                        workers,
                        link,
                        secs,
                    )
                    for mb in sizes
                ]
                cells = " | ".join(f"{100 * share:.1f}" for share in shares)
                print(f"| {name} | {workers} | {gigabits} | {cells} |")


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("--batch_size", type=int, default=32, help="per worker")
    parser.add_argument("--bucket_mb", type=int, default=BUCKET_BYTES // 2**20)
    parser.add_argument("--teraflops", type=float, nargs="+", default=[0.1, 20.0])
    parser.add_argument("--message_us", type=float, default=20.0)
    parser.add_argument("--measured", type=pathlib.Path)
    options = parser.parse_args()
    if options.measured:
        lines = options.measured.read_text().splitlines()
        compare([json.loads(line) for line in lines])
        return
    networks = {name: list_gradients(name) for name in NETWORKS}
    print_bytes(networks)
    for name, gradients in networks.items():
        print_efficiency(name, gradients, options)
    print("\nEfficiency by the size of buckets\n")
    print_bucket_sizes(networks, options)
    print("\n| workers | " + _join("", WORKERS))
    print("|---|" + "---|" * len(WORKERS))
    for spread in (0.02, 0.05, 0.1):
        slowest = [f"{simulate_slowest(n, spread):.3f}" for n in WORKERS]
        print(f"| spread {spread:.0%} | {' | '.join(slowest)} |")


if __name__ == "__main__":
    main()
