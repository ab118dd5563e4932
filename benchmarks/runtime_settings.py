r"""Compares settings of the process that trains: memory allocators, caches of kernels.

  python -m benchmarks.runtime_settings mobilenet_v1 resnet_v1_50

Each setting trains in a process of its own, in turns. Allocators whose library is not
installed (Debian: libjemalloc2, libtcmalloc-minimal4) are left out.

Measured on two cores of an AMD EPYC with AVX512-BF16 (mobilenet_v1, batch 32,
bfloat16; medians of ratios, which vary by 0.05 from run to run): jemalloc 1.02,
tcmalloc 0.97, huge pages 0.93, no mmap 0.96, 8,192 kernels 0.89 (inception_v3: 0.96).
None helps, so nothing is set: after the first steps, TensorFlow's allocator asks the
system for little, and its 1,024 kernels hold a network.
"""

import ctypes.util
import statistics
import sys

from benchmarks import against_peers, options
from nets import nets_factory

_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_NO_MMAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
_MORE_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8192"}


def list_settings() -> dict[str, dict[str, str]]:
    """Returns the variables of the environment of each setting."""
    settings = {
        "default": {},
        "huge pages": _HUGE_PAGES,
        "no mmap": _NO_MMAP,
        "8,192 kernels": _MORE_KERNELS,
    }
    for name in ("jemalloc", "tcmalloc_minimal"):
        path = ctypes.util.find_library(name)
        if path:
            settings[name] = {"LD_PRELOAD": path}
        else:
            print(f"{name} is not installed")
    return settings


def measure(network: str, batch_size: int, steps: int, blocks: int) -> None:
    """Prints the speed of a network with each setting."""
    size = nets_factory.get_network(network).default_image_size
    workers = {}
    for name, environment in list_settings().items():
        workers[name] = against_peers.Worker(
            "ours",
            sys.executable,
            f"--network={network}",
            "--precision=auto",
            f"--batch_size={batch_size}",
            f"--size={size}",
            environment=environment,
        )
        workers[name].read()
    secs = against_peers.take_turns(workers, steps, blocks)
    for name, times in secs.items():
        workers[name].close()
        pairs = zip(secs["default"], times, strict=True)
        ratio = statistics.median(default / own for default, own in pairs)
        rate = batch_size / statistics.median(times)
        print(f"{network}, {name:16} {rate:7.1f} images/s, ratio {ratio:.3f}")


def main():
    parser = options.make_parser(__doc__)
    parser.add_argument("networks", nargs="*", default=["mobilenet_v1"])
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=7)
    arguments = parser.parse_args()
    for network in arguments.networks:
        measure(network, arguments.batch_size, arguments.steps, arguments.blocks)


if __name__ == "__main__":
    main()
