"""Noise images, and a session that evaluates what is built on them."""

import numpy as np

from tf_slim_compat import tf


def draw(build, times=1, seed=7):
    """Builds tensors in a fresh graph; returns what each of `times` runs gives."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        tensors = build()
        return [session.run(tensors) for _ in range(times)]


def picture(height=40, width=50, channels=3, seed=0):
    """A noise picture, uint8."""
    shape = (height, width, channels)
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
