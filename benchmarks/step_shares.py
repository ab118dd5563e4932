r"""Measures which kinds of operations a training step spends its time in.

  python -m benchmarks.step_shares resnet_v1_50
  python -m benchmarks.step_shares --precision=bfloat16 resnet_v1_50

On synthetic images, from traces of some steps. An operation's time is that between its
start and its end; with one clone on the CPU, operations run one at a time.
"""

import argparse
import collections
import re
import statistics

import numpy as np

from benchmarks import options as options_
from benchmarks.peers import ours
from nets import nets_factory
from tf_slim_compat import tf

# What a step does beside the layers themselves, by patterns of operations' names or
# kinds; the first match counts.
_BESIDE = {
    "health checks": r"^(health|L2Loss|Reverse|stack|mul$|mul_\d+$|IsFinite)",
    "moving averages": r"AssignMovingAvg|batch_norm_decay_warmup|/IsFinite",
    "optimizer": r"ResourceApply|ResourceSparseApply|/update_",
    "L2 losses": r"Regularizer|L2Loss|regularization_loss",
    "casts": r"(^|=)Cast$|-Cast",
    "AddN": r"(^|/)AddN(_\d+)?$",
}


def classify(name: str, kind: str) -> str | None:
    """Returns which of the kinds beside the layers an operation is of, or None."""
    for group, pattern in _BESIDE.items():
        if re.search(pattern, name) or re.search(pattern, kind):
            return group
    return None


def read_times(metadata: "tf.RunMetadata") -> list[tuple[str, str, float]]:
    """Returns (name, kind, seconds) of every operation that ran in a traced step."""
    times = []
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            # Such as "conv1/Conv2D = _MklNativeConv2D(...)"; else only a name.
            found = re.search(r"= ?(\w+)\(", node.timeline_label)
            kind = found[1] if found else node.node_name.rpartition(":")[2]
            micros = node.op_end_rel_micros - node.op_start_rel_micros
            times.append((node.node_name, kind, micros / 1e6))
    return times


def measure(network: str, options: argparse.Namespace) -> None:
    """Prints the shares of one network."""
    size = options.image_size or nets_factory.get_network(network).default_image_size
    choice, traces = ours.trace(
        network, options.precision, options.batch_size, size, options.steps
    )
    kinds, beside = collections.Counter(), collections.Counter()
    totals = []
    for metadata in traces:
        times = read_times(metadata)
        totals.append(sum(secs for *_, secs in times))
        for name, kind, secs in times:
            kinds[kind] += secs / len(traces)
            beside[classify(name, kind)] += secs / len(traces)
    total = np.mean(totals)
    print(
        f"{network}, {choice.precision}, batch {options.batch_size}: "
        f"{statistics.median(totals):.3f} s in operations per step"
    )
    for kind, secs in kinds.most_common(options.kinds):
        print(f"  {kind:40} {1e3 * secs:9.1f} ms {100 * secs / total:6.2f} %")
    del beside[None]
    print("  Beside the layers:")
    for group, secs in [*beside.most_common(), ("together", sum(beside.values()))]:
        print(f"    {group:38} {1e3 * secs:9.1f} ms {100 * secs / total:6.2f} %")


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("networks", nargs="*", default=["resnet_v1_50"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    parser.add_argument("--steps", type=int, default=3, help="steps to trace")
    parser.add_argument("--kinds", type=int, default=25, help="kinds to list")
    options = parser.parse_args()
    for network in options.networks:
        measure(network, options)


if __name__ == "__main__":
    main()
