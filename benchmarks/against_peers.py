r"""Compares the training speed of networks with Keras and PyTorch.

  pip install -e '.[benchmark]'
  python -m benchmarks.against_peers
  python -m benchmarks.against_peers --peers_python=peers/bin/python mobilenet_v1

Every contender trains in a process of its own, on the same synthetic images, with
RMSprop. The processes alternate between blocks of steps, in an order that rotates, and
ratios are medians over the blocks, so other load on the machine hardly affects them.
What the steps differ in is said in the modules of benchmarks/peers. Contenders whose
packages are missing are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks import options as options_
from deployment import processor

NETWORKS = ("mobilenet_v1", "resnet_v1_50", "inception_v3")
PRECISIONS = ("float32", "bfloat16")
# For matrix products in low precision, by what Linux calls them.
INSTRUCTION_SETS = {
    "AMX": "amx_bf16",
    "AVX512-BF16": "avx512_bf16",
    "AVX512-VNNI": "avx512_vnni",
}


class Contender(NamedTuple):
    """A framework at some precision.

    Attributes:
      name: what the results call it.
      module: its module in benchmarks/peers.
      precision: one of `PRECISIONS`, or of --precision for ours.
      python: the interpreter that runs it.
    """

    name: str
    module: str
    precision: str
    python: str

    @property
    def is_ours(self) -> bool:
        return self.module == "ours"


def list_contenders(options: argparse.Namespace) -> list[Contender]:
    """Returns ours at each chosen precision, then each peer at each precision."""
    return [
        *(
            Contender(f"ours {precision}", "ours", precision, sys.executable)
            for precision in options.ours
        ),
        *(
            Contender(f"{name} {precision}", module, precision, python)
            for name, module, python in (
                ("Keras", "keras_models", sys.executable),
                ("PyTorch", "torch_models", options.peers_python),
            )
            for precision in PRECISIONS
            if f"{name} {precision}" in options.peers
        ),
    ]


class Worker:
    """The process of a contender.

    Args:
      module: a module in benchmarks/peers.
      python: the interpreter that runs it.
      *arguments: its command line.
      environment: further variables of its environment.
    """

    def __init__(
        self,
        module: str,
        python: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.peers.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
            text=True,
        )

    def read(self) -> object:
        """Returns its next answer; raises RuntimeError if it has none."""
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit {self._process.returncode}")

    def take(self, steps: int) -> float:
        """Runs some steps; returns the seconds per step."""
        print(steps, file=self._process.stdin, flush=True)
        return self.read() / steps

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()


def start(
    contenders: list[Contender], network: str, size: int, batch_size: int
) -> dict[Contender, Worker]:
    """Starts the contenders, one after another; names those that cannot take part."""
    workers = {}
    for contender in contenders:
        worker = Worker(
            contender.module,
            contender.python,
            f"--network={network}",
            f"--precision={contender.precision}",
            f"--batch_size={batch_size}",
            f"--size={size}",
        )
        try:
            description = worker.read()
        except RuntimeError as error:
            print(f"  {contender.name} is left out: {error}", flush=True)
            worker.close()
        else:
            print(f"  {contender.name} is ready ({description})", flush=True)
            workers[contender] = worker
    return workers


def take_turns(
    workers: dict[Contender, Worker], steps: int, blocks: int
) -> dict[Contender, list[float]]:
    """Returns the seconds per step of every contender in every block."""
    secs = {contender: [] for contender in workers}
    order = list(workers)
    for _ in range(blocks):
        for contender in order:
            secs[contender].append(workers[contender].take(steps))
        order = order[1:] + order[:1]
    return secs


def measure_peaks(options: argparse.Namespace) -> dict[str, float]:
    """Returns the highest FLOP/s of matrix products that a framework reaches here."""
    peaks = dict.fromkeys(PRECISIONS, 0.0)
    for module, python in (
        ("ours", sys.executable),
        ("torch_models", options.peers_python),
    ):
        worker = Worker(module, python, "--peaks")
        try:
            for precision, peak in worker.read().items():
                peaks[precision] = max(peaks[precision], peak)
        except RuntimeError:
            pass  # `start` says which packages are missing.
        worker.close()
    return peaks


def summarize(
    secs: dict[Contender, list[float]], batch_size: int, step_flops: int
) -> dict[str, object]:
    """Returns what is reported of a network."""

    def compare(ours, theirs):
        pairs = zip(secs[theirs], secs[ours], strict=True)
        return statistics.median(their / our for their, our in pairs)

    peers = [contender for contender in secs if not contender.is_ours]
    rates = {c: batch_size / statistics.median(column) for c, column in secs.items()}
    return {
        "images_per_sec": {c.name: round(rate, 2) for c, rate in rates.items()},
        "over_peers": {
            ours.name: {peer.name: round(compare(ours, peer), 3) for peer in peers}
            for ours in secs
            if ours.is_ours
        },
        "step_gflops_per_image": round(step_flops / 1e9, 3),
        "gflops_per_sec": {
            c.name: round(rate * step_flops / 1e9, 1)
            for c, rate in rates.items()
            if c.is_ours
        },
    }


def report(summary: dict[str, object], peaks: dict[str, float]) -> None:
    """Prints what `summarize` returned."""
    for name, rate in summary["images_per_sec"].items():
        print(f"  {name:20} {rate:8.2f} images/s")
    for ours, ratios in summary["over_peers"].items():
        if ratios:
            best = min(ratios, key=ratios.get)
            print(f"  {ours} over the best peer, {best}: {ratios[best]:.2f}")
        rate = summary["gflops_per_sec"][ours]
        shares = (
            f"{100e9 * rate / peak:.0f} % of the {precision} peak"
            for precision, peak in peaks.items()
            if peak
        )
        print(f"  {ours} computes {rate:.0f} GFLOP/s, {', '.join(shares)}", flush=True)


def measure(
    network: str, options: argparse.Namespace, peaks: dict[str, float]
) -> dict[str, object]:
    """Measures and reports one network."""
    from benchmarks.peers import ours
    from nets import nets_factory

    size = options.image_size or nets_factory.get_network(network).default_image_size
    print(f"{network} at {size} pixels, batch {options.batch_size}:", flush=True)
    workers = start(list_contenders(options), network, size, options.batch_size)
    secs = take_turns(workers, options.steps, options.blocks)
    for worker in workers.values():
        worker.close()
    summary = summarize(secs, options.batch_size, ours.count_step_flops(network, size))
    report(summary, peaks)
    return {"image_size": size, "batch_size": options.batch_size, **summary}


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, help="default: the network's own")
    parser.add_argument("--steps", type=int, default=3, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument(
        "--ours",
        type=lambda text: text.split(","),
        default=["auto"],
        help="precisions of ours, joined by commas, such as auto,float32,bfloat16",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: text.split(","),
        default=[f"{name} {p}" for name in ("Keras", "PyTorch") for p in PRECISIONS],
        help='peers to measure, joined by commas, such as "Keras float32"; every one '
        "needs a few GB of memory while the others run",
    )
    parser.add_argument(
        "--peers_python",
        default=sys.executable,
        help="interpreter of the environment that has PyTorch; default: this one",
    )
    parser.add_argument("--json", help="file to write the results to")
    options = parser.parse_args()
    sets = {
        name: flag in processor.get_instructions()
        for name, flag in INSTRUCTION_SETS.items()
    }
    words = ", ".join(f"{'' if has else 'no '}{name}" for name, has in sets.items())
    print(f"{processor.get_name()}, {os.cpu_count()} cores; {words}")
    peaks = measure_peaks(options)
    words = (f"{peak / 1e9:.0f} GFLOP/s in {name}" for name, peak in peaks.items())
    print(f"Matrix products: {', '.join(words)}", flush=True)
    results = {
        "processor": processor.get_name(),
        "cores": os.cpu_count(),
        "instruction_sets": sets,
        "matrix_product_gflops_per_sec": {
            name: round(peak / 1e9, 1) for name, peak in peaks.items()
        },
        "steps": options.steps,
        "blocks": options.blocks,
        "networks": {
            network: measure(network, options, peaks) for network in options.networks
        },
    }
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
