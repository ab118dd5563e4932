r"""Compares the precision that training chooses with each single precision.

  python -m benchmarks.precision_choice                       # all networks
  python -m benchmarks.precision_choice --batch_size=8 mobilenet_v1 vgg_16

Each network trains on synthetic images of its own size, in a process of its own: first
a trial chooses, as at the start of a run, then steps of all precisions alternate.
`auto` should never be more than 2 % slower than the best.
"""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import options as options_
from deployment import model_deploy, precision
from deployment.models.spec import ModelSpec
from deployment.train import precision_choice, step, training
from nets import nets_factory
from tf_slim_compat import tf

CLASSES = 6
_MOST_SECS = 20
_FRAMES = 16
_FLAGS = ("batch_size", "steps", "blocks")


def make_config(network, batch_size):
    size = nets_factory.get_network(network).default_image_size
    return training.TrainingConfig(
        train_dir="unused",
        spec=ModelSpec(model_name=network, num_outputs=CLASSES, image_size=size),
        num_samples=1000,
        batch_size=batch_size,
        deployment=model_deploy.choose_deployment(),
    )


def build(config):
    """Adds the training graph of a network on one synthetic batch; returns it."""
    network = nets_factory.get_network(config.spec.model_name)
    size = config.spec.image_size
    frames = [_FRAMES] if network.input_rank == 5 else []
    shape = [config.batch_size, *frames, size, size, 3]
    images = np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)

    def build_batches():
        batch = (images, np.arange(config.batch_size) % CLASSES)
        return tf.data.Dataset.from_tensors(batch).cache().repeat()

    network_fn = nets_factory.get_network_fn(
        config.spec.model_name, CLASSES, weight_decay=4e-5, is_training=True
    )
    return step.build_training_graph(config, network_fn, build_batches)


def measure(network, options):
    """Prints the row of one network."""
    config = make_config(network, options.batch_size)
    chosen = precision_choice.choose(config, build).precision
    names = precision.list_candidates()
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                precision_choice.opened(
                    dataclasses.replace(config, precision=name), build
                )
            )
            for name in names
        ]
        secs = [[] for _ in runs]
        for _ in range(options.blocks + 1):
            for run, times in zip(runs, secs, strict=True):
                started = time.perf_counter()
                for _ in range(options.steps):
                    run()
                times.append((time.perf_counter() - started) / options.steps)
                if times[0] > _MOST_SECS:
                    print(f"{network:28} takes more than {_MOST_SECS} s per step")
                    return
    # Graphs are optimized and kernels compiled in the first block.
    secs = {name: times[1:] for name, times in zip(names, secs, strict=True)}
    medians = {name: statistics.median(times) for name, times in secs.items()}
    best = min(names, key=medians.get)
    loss = statistics.median(
        ours / other for ours, other in zip(secs[chosen], secs[best], strict=True)
    )
    columns = "  ".join(f"{name} {medians[name]:7.3f} s" for name in names)
    print(
        f"{network:28} {columns}  auto: {chosen:8} {100 * (loss - 1):5.1f} % slower "
        "than the best",
        flush=True,
    )


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("networks", nargs="*", default=nets_factory.list_networks())
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=5)
    options = parser.parse_args()
    if len(options.networks) == 1:
        measure(options.networks[0], options)
        return
    for network in options.networks:
        flags = [f"--{name}={getattr(options, name)}" for name in _FLAGS]
        command = [sys.executable, "-m", "benchmarks.precision_choice", *flags, network]
        with tempfile.TemporaryDirectory() as folder:  # No earlier trial counts.
            environment = {**os.environ, "XDG_CACHE_HOME": folder}
            subprocess.run(command, check=False, env=environment)


if __name__ == "__main__":
    main()
