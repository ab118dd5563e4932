"""Noise images, and a session that evaluates what is built on them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_slim_compat import tf


def evaluate(build: Callable[[], Any], times: int = 1, seed: int | None = 7) -> list:
    """Builds tensors in a fresh graph; returns the values of each of `times` runs."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        tensors = build()
        return [session.run(tensors) for _ in range(times)]


def noise_image(
    height: int = 40, width: int = 50, channels: int = 3, seed: int = 0
) -> np.ndarray:
    """Returns a noise image, uint8 [height, width, channels]."""
    shape = (height, width, channels)
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
