"""The side of a measurement that runs in a contender's own process.

It needs nothing but numpy, so that it works in any environment. The other side is
`benchmarks/against_peers.py`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np

CLASSES = 6
# RMSprop as TF-Slim's flags have it by default.
LEARNING_RATE, DECAY, MOMENTUM, EPSILON = 0.01, 0.9, 0.9, 1.0
WEIGHT_DECAY = 4e-5
AUXILIARY_LOSS_WEIGHT = 0.4
_WARM_UP_STEPS = 2


def make_batch(batch_size: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images, float32 [batch_size, size, size, 3], and int64 labels."""
    images = np.random.RandomState(0).uniform(-1, 1, [batch_size, size, size, 3])
    return images.astype(np.float32), np.arange(batch_size) % CLASSES


def measure_peak(build_product: Callable[[int], Callable[[], object]]) -> float:
    """Returns the FLOP/s of the fastest of some matrix products.

    Args:
      build_product: function of n that returns a function that multiplies two matrices
        [n, n]. The larger n is left out where the smaller is slow, as it is without
        instructions for a precision.
    """
    best = 0.0
    for size in (1024, 4096):
        multiply = build_product(size)
        multiply()
        for _ in range(5):
            started = time.perf_counter()
            multiply()
            secs = time.perf_counter() - started
            best = max(best, 2 * size**3 / secs)
        if secs > 0.1:
            break
    return best


def serve(
    build: Callable[..., tuple[Callable[[], object], str]],
    measure_peaks: Callable[[], dict[str, float]],
) -> None:
    """Trains on request: the `main` of a contender.

    Each line of standard input is a number of steps; the answer is the seconds taken.
    Before the first one, prints a JSON object when it is ready.

    Args:
      build: function of (network, precision, batch_size, size) that returns a function
        that takes one training step, and a description of the contender; raises
        KeyError if there is no such network.
      measure_peaks: returns the FLOP/s of matrix products by precision.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--peaks", action="store_true")
    parser.add_argument("--network")
    parser.add_argument("--precision")
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--size", type=int)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print goes to standard error.

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    if options.peaks:
        answer(measure_peaks())
        return
    step, description = build(
        options.network, options.precision, options.batch_size, options.size
    )
    for _ in range(_WARM_UP_STEPS):
        step()
    answer(description)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        answer(time.perf_counter() - started)
