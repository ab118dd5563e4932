"""Compares convert_dataset.py on Apache Beam's direct runner with the local one.

    python benchmarks/beam_conversion.py --images=100000 --workers=2

Draws small JPEG files in a temporary folder, converts them with each command, and
prints for each the wall time, the time of processors, and the peak memory, summed over
its processes and of the largest one. Exits with status 1 unless all files of the
datasets are identical.
"""

import argparse
import filecmp
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLASSES = 10
PIXELS = 32
SAMPLE_SECS = 0.2


def draw_images(folder: pathlib.Path, count: int) -> None:
    """Draws `count` JPEG files of smooth noise, evenly over the classes."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        path = folder / f"class{number % CLASSES}" / f"{number:08d}.jpg"
        noise.resize((PIXELS, PIXELS)).save(path, quality=85)


def measure(command: list[str], log: pathlib.Path) -> tuple[float, float, int, int]:
    """Runs a command; returns wall and processor seconds, and two peaks in bytes.

    The peaks are those of all processes together and of the largest one. Bytes are
    proportional set sizes: pages that processes share count once.
    """
    peak = largest = 0
    started, computed = time.monotonic(), get_processor_secs()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        while process.poll() is None:
            sizes = [read_memory(pid) for pid in list_family(process.pid)]
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes)
            time.sleep(SAMPLE_SECS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed: {log.read_text()}")
    secs = time.monotonic() - started
    return secs, get_processor_secs() - computed, peak, largest


def get_processor_secs() -> float:
    """Returns the time that processes took that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def list_family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    family = [pid]
    for parent in family:  # Grows meanwhile.
        for path in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                family += map(int, path.read_text().split())
            except OSError:
                continue  # It has ended.
    return family


def read_memory(pid: int) -> int:
    """Returns the proportional set size of a process in bytes; 0 if it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def is_same(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Returns whether two folders hold the same files."""
    names = sorted(os.listdir(first))
    if names != sorted(os.listdir(second)):
        return False
    _, different, failed = filecmp.cmpfiles(first, second, names, shallow=False)
    return not different and not failed


def main() -> None:
    """Draws, converts and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        draw_images(folder / "images", options.images)
        for target, extra in ("local", []), ("beam", ["--runner=direct"]):
            command = [
                *(sys.executable, str(ROOT / "convert_dataset.py")),
                *(f"--source={folder / 'images'}", f"--dataset_dir={folder / target}"),
                *(f"--workers={options.workers}", *extra),
            ]
            secs, computed, peak, largest = measure(command, folder / "log")
            print(
                f"{target}: {secs:.1f} s ({computed:.1f} s of processors), "
                f"{peak / 2**20:.0f} MiB in all, "
                f"{largest / 2**20:.0f} MiB in the largest process",
                flush=True,
            )
        if not is_same(folder / "local", folder / "beam"):
            sys.exit("The datasets differ.")
        print("All files are identical.")


if __name__ == "__main__":
    main()
