"""Random numbers for image distortions, reproducible where a seed is given.

By default they come from TensorFlow's stateful generators and differ in each run of the
graph. Within `seeded` each is a function of the seed and of its purpose:

    with random_ops.seeded((3, 14)):
        image = inception_preprocessing.preprocess_image(image, 224, 224, True)

Both kinds have the same distributions.
"""

import contextlib
import contextvars
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from tf_slim_compat import tf


class _Seed:
    """Derives a seed for every random number from its purpose, not from its turn.

    Thus a window is the same whether it is sampled alone or before other things.
    """

    def __init__(self, seed: tf.Tensor | Sequence[int]):
        self._seed = tf.cast(seed, tf.int64)
        self._times = {}

    def derive(self, purpose: str) -> tf.Tensor:
        times = self._times[purpose] = self._times.get(purpose, 0) + 1
        return derive_seed(self._seed, f"{purpose} {times}")


_seed: contextvars.ContextVar[_Seed | None] = contextvars.ContextVar(
    "seed", default=None
)


@contextlib.contextmanager
def seeded(seed: tf.Tensor | Sequence[int] | None) -> Iterator[None]:
    """Makes the random numbers of ops that are built within it functions of a seed.

    Args:
      seed: two integers, a tensor or not; None uses the stateful generators.
    """
    token = _seed.set(None if seed is None else _Seed(seed))
    try:
        yield
    finally:
        _seed.reset(token)


def derive_seed(seed: tf.Tensor, purpose: str) -> tf.Tensor:
    """Returns another seed, int64 [2], for a purpose."""
    # The ops scramble their seeds, which may therefore be neighbors.
    offset = tf.constant([zlib.crc32(purpose.encode()), 0], tf.int64)
    return tf.cast(seed, tf.int64) + offset


def get_seed(purpose: str) -> tf.Tensor:
    """Returns a seed, int64 [2], for TensorFlow's stateless random ops.

    Args:
      purpose: as for `uniform`.
    """
    seed = _seed.get()
    if seed is None:
        return tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
    return seed.derive(purpose)


def uniform(
    purpose: str,
    shape: Sequence[int],
    low: float,
    high: float,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Samples uniformly from [low, high).

    Args:
      purpose: what the numbers are for, a word; numbers for different purposes, and
        repeated ones for the same purpose, are independent of each other.
      shape: of the result.
      low: lower bound.
      high: upper bound, exclusive.
      dtype: float32 or int32.
    """
    seed = _seed.get()
    if seed is None:
        return tf.random.uniform(shape, low, high, dtype)
    return tf.random.stateless_uniform(shape, seed.derive(purpose), low, high, dtype)


def distorted_bounding_box(
    purpose: str, **options: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Samples a window by area and aspect ratio.

    Args:
      purpose: as for `uniform`.
      **options: all arguments of `tf.raw_ops.SampleDistortedBoundingBoxV2` but seeds.

    Returns:
      (begin, size, boxes) of that op.
    """
    seed = _seed.get()
    if seed is not None:
        return tf.raw_ops.StatelessSampleDistortedBoundingBox(
            seed=seed.derive(purpose), **options
        )
    # The public wrappers of this op ignore the graph's seed.
    graph_seed, op_seed = tf.get_seed(None)
    return tf.raw_ops.SampleDistortedBoundingBoxV2(
        seed=graph_seed or 0, seed2=op_seed or 0, **options
    )
