"""Measures how fast predictors are, in turn, so that other load affects all alike."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from deployment.predict.predictor import Predictor

_BLOCKS = 10  # In each of which every predictor is measured once at every batch size.


class Case(NamedTuple):
    """What is measured: a predictor in one of its precisions, and a batch size."""

    model: str
    precision: str
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Speed:
    """The speed of a case.

    Attributes:
      images_per_sec: images per second of computing, by the median block.
      p50_millisecs: median time of a batch in milliseconds.
      p99_millisecs: 99th percentile of the same.
      num_batches: number of batches that were timed.
    """

    images_per_sec: float
    p50_millisecs: float
    p99_millisecs: float
    num_batches: int


def measure(
    predictors: Mapping[tuple[str, str], Predictor],
    batch_sizes: Sequence[int],
    image_sizes: Mapping[str, Sequence[int]],
    secs: float,
) -> dict[Case, Speed]:
    """Measures predictors in blocks that alternate, on random images.

    Args:
      predictors: (model, precision) to an open predictor of preprocessed images.
      batch_sizes: numbers of images at a time.
      image_sizes: model to height, width and channels.
      secs: time to measure each case, in seconds.
    """
    random = np.random.RandomState(0)
    cases = {
        Case(*key, size): random.uniform(-1, 1, [size, *image_sizes[key[0]]])
        for key in predictors
        for size in batch_sizes
    }
    cases = {case: images.astype(np.float32) for case, images in cases.items()}
    blocks = {case: [] for case in cases}
    for _ in range(_BLOCKS):
        for case, images in cases.items():
            predictor = predictors[case[:2]]
            blocks[case].append(_time(predictor, images, secs / _BLOCKS))
    return {case: _summarize(case, times) for case, times in blocks.items()}


def _time(predictor: Predictor, images: np.ndarray, secs: float) -> list[float]:
    """Returns the seconds of each batch, of at least one."""
    predictor.predict(images)  # Fills the caches again.
    times = []
    while not times or sum(times) < secs:
        started = time.perf_counter()
        predictor.predict(images)
        times.append(time.perf_counter() - started)
    return times


def _summarize(case: Case, blocks: Sequence[Sequence[float]]) -> Speed:
    times = np.concatenate(blocks)
    return Speed(
        images_per_sec=float(case.batch_size / np.median([np.mean(b) for b in blocks])),
        p50_millisecs=float(np.percentile(times, 50) * 1e3),
        p99_millisecs=float(np.percentile(times, 99) * 1e3),
        num_batches=len(times),
    )
