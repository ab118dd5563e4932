r"""Measures how soon the commands do their work, beside `import tensorflow` alone.

  python -m benchmarks.start_up --dataset_dir=data --model_path=frozen_graph.pb \
      --image_file=photo.jpg mobilenet_v1

From the command line to the end of the first training step, and to the class of one
image. The commands and the bare import take turns, and ratios are medians over the
rounds, so other load on the machine hardly affects them. The first round, which fills
the caches of files, does not count. Processor time is that of all threads together.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import options as options_

IMPORT = "import tensorflow"


def run(arguments, until=None):
    """Runs Python; returns its seconds and its seconds of processor time.

    Args:
      arguments: its arguments.
      until: text in the line of output that ends the measurement; None for the end of
        the process. The processor time is always that of the whole process.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    secs = None
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if until is not None and secs is None and until in line:
                secs = time.perf_counter() - started
    if secs is None:
        secs = time.perf_counter() - started
    if process.returncode or (until and not any(until in line for line in lines)):
        raise RuntimeError("".join(lines))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return secs, user + system


def train(network, options):
    """Trains one step in a new folder; returns what `run` does."""
    with tempfile.TemporaryDirectory() as folder:
        return run(
            [
                "train_image_classifier.py",
                f"--train_dir={folder}",
                f"--dataset_name={options.dataset_name}",
                f"--dataset_dir={options.dataset_dir}",
                f"--model_name={network}",
                f"--batch_size={options.batch_size}",
                "--max_number_of_steps=1",
                "--log_every_n_steps=1",
            ],
            until="global step 1:",
        )


def measure(measurements, rounds):
    """Prints the durations, and their ratios to that of the first measurement."""
    taken = {name: [] for name in measurements}
    for _ in range(rounds + 1):
        for name, take in measurements.items():
            taken[name].append(take())
    base = next(iter(taken.values()))
    for name, pairs in taken.items():
        secs, processor_secs = map(statistics.median, zip(*pairs[1:], strict=True))
        ratios = [
            statistics.median(
                own[i] / bare[i] for own, bare in zip(pairs[1:], base[1:], strict=True)
            )
            for i in range(2)
        ]
        print(
            f"{name:32} {secs:6.2f} s, {ratios[0]:5.2f} of the import; "
            f"{processor_secs:6.2f} s of processor time, {ratios[1]:5.2f} of it"
        )


def main():
    parser = options_.make_training_parser(__doc__, blocks=5)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--image_file", required=True)
    options = parser.parse_args()
    classify = [
        "classify_image.py",
        f"--model_path={options.model_path}",
        f"--image_file={options.image_file}",
    ]
    measurements = {
        IMPORT: lambda: run(["-c", IMPORT]),
        "import tf_slim_compat": lambda: run(["-c", "import tf_slim_compat"]),
        "classify one image": lambda: run(classify),
    }
    for network in options.networks:
        measurements[f"first step of {network}"] = lambda n=network: train(n, options)
    measure(measurements, options.blocks)


if __name__ == "__main__":
    main()
