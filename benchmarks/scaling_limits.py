r"""Measures what grows with workers and images beside the gradients.

  python -m benchmarks.scaling_limits

Reads a dataset of 320 MB as each of 1 to 16 workers does, locates its records, and asks
up to 1,023 workers whether they live; benchmarks/scaling.md extends the numbers to 10
million images and 1,024 workers. The files are in the page cache. All requests go to
one server in this process, over one connection.
"""

import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

from benchmarks import options as options_
from datasets import shard_files, shuffled_stream
from deployment.cluster import liveness, servers
from scripts import local_cluster
from tf_slim_compat import tf

_IMAGE_BYTES, _IMAGES, _SHARDS = 100_000, 3200, 16


def count_reads() -> tuple[int, int]:
    """Returns the bytes that this process has read, and by how many calls."""
    text = pathlib.Path("/proc/self/io").read_text()
    numbers = dict(line.split(": ") for line in text.splitlines())
    return int(numbers["rchar"]), int(numbers["syscr"])


def write_shards(folder: str) -> list[str]:
    """Writes the dataset; returns the paths."""
    paths = [os.path.join(folder, f"{i:02d}.tfrecord") for i in range(_SHARDS)]
    content = os.urandom(_IMAGE_BYTES)
    for path in paths:
        with tf.io.TFRecordWriter(path) as writer:
            for _ in range(_IMAGES // _SHARDS):
                writer.write(content)
    return paths


def measure_stream(files: Sequence[str], workers: int) -> None:
    """Prints what the last of the workers reads in an epoch."""
    own = _IMAGES // workers
    with tf.Graph().as_default(), tf.Session() as session:
        stream = shuffled_stream.build_stream(
            files,
            lambda paths: paths,
            _IMAGES,
            num_readers=4,
            read_label=lambda record: record,
            seed=1,
            part=(workers - 1, workers),
        )
        lengths = stream.map(lambda record, _: tf.strings.length(record))
        iterator = tf.data.make_initializable_iterator(lengths)
        length = iterator.get_next()
        session.run(iterator.initializer)
        session.run(length)  # The first image waits for the shuffle buffer.
        before, started = count_reads(), time.perf_counter()
        for _ in range(2 * own):
            session.run(length)
        secs = time.perf_counter() - started
        read = [now - then for now, then in zip(count_reads(), before, strict=True)]
    print(
        f"| {workers} | {own} | {read[0] / 2e6:.1f} | {read[1] / 2:.0f} "
        f"| {1e3 * secs / 2 / own:.2f} |"
    )


def measure_probes(peers: liveness.Peers) -> tuple[float, float]:
    """Returns the seconds and the processor's seconds of asking all peers."""
    started, used = time.perf_counter(), time.process_time()
    silent = peers.find_silent()
    if silent:
        raise RuntimeError(f"{len(silent)} of {len(peers)} did not answer.")
    return time.perf_counter() - started, time.process_time() - used


def take_median(measure: Callable[[], tuple[float, ...]], times: int) -> list[float]:
    """Returns the medians of what is measured some times, after a first time."""
    rows = [measure() for _ in range(times + 1)][1:]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_shards(folder)

        def locate():
            before, started = count_reads()[1], time.perf_counter()
            for path in files:
                shard_files.locate_records(path.encode())
            secs = time.perf_counter() - started
            return secs / _IMAGES, (count_reads()[1] - before) / _IMAGES

        secs, calls = take_median(locate, options.repetitions)
        print(f"Locating a record: {1e6 * secs:.1f} us, {calls:.1f} reads\n")
        print("| workers | own images | MB read per epoch | reads | ms per image |")
        print("|---|---|---|---|---|")
        for workers in (1, 2, 4, 16):
            measure_stream(files, workers)
    (port,) = local_cluster.find_free_ports(1)
    address = f"localhost:{port}"
    servers.start({"worker": [address]}, "worker", 0, tf.ConfigProto())
    print("\n| other workers | ms to ask all | ms of processor |")
    print("|---|---|---|")
    for count in (1, 15, 63, 255, 1023):
        peers = liveness.Peers({f"worker {i}": address for i in range(count)})
        times = take_median(lambda p=peers: measure_probes(p), options.repetitions)
        print(f"| {count} | {' | '.join(f'{1e3 * secs:.1f}' for secs in times)} |")
        peers.close()


if __name__ == "__main__":
    main()
