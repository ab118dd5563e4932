r"""Measures the memory of a process: the peak, and growth over time.

  python benchmarks/memory.py python train_image_classifier.py --train_dir=run ...

Runs the command and reads its resident memory twice per second (Linux).
"""

import pathlib
import subprocess
import sys
import time


def read_resident_bytes(pid):
    """Returns the resident memory of a process, or None if it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def main():
    process = subprocess.Popen(sys.argv[1:])
    samples = []
    while process.poll() is None:
        resident = read_resident_bytes(process.pid)
        if resident:
            samples.append(resident)
        time.sleep(0.5)
    tenth = max(1, len(samples) // 10)
    print(f"peak {max(samples) / 1e9:.2f} GB; mean of each tenth of the run, in GB:")
    means = [
        sum(part) / len(part) / 1e9
        for part in (samples[i : i + tenth] for i in range(0, len(samples), tenth))
    ]
    print(" ".join(f"{mean:.2f}" for mean in means))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
