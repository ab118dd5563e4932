"""Batches of cached features: in random order for training, in file order else."""

import functools
from collections.abc import Callable

import numpy as np

from tf_slim_compat import as_written, tf

_PREFETCHED_BATCHES = 2


def build_stream(
    features: np.ndarray,
    labels: np.ndarray,
    num_images: int,
    *,
    batch_size: int,
    seed: int,
    start_image: int = 0,
) -> "tf.data.Dataset":
    """Builds an endless stream that is a function of the seed and the image's index.

    Each epoch has each image once, in another order, and the copies take turns from
    epoch to epoch.

    Args:
      features: float32 [copies * num_images, n], first all of one copy.
      labels: [copies * num_images, ...].
      num_images: images per epoch.
      batch_size: images per batch.
      seed: seed of the order.
      start_image: index of the first image in the stream.

    Returns:
      A `tf.data.Dataset` of (features [batch_size, n], labels [batch_size, ...]).
    """
    num_copies = len(features) // num_images

    def find_rows(first):
        indices = np.arange(first, first + batch_size)
        rows = np.empty_like(indices)
        epochs = indices // num_images
        for epoch in np.unique(epochs):
            is_in = epochs == epoch
            order = _permute(seed, int(epoch), num_images)
            begin = epoch % num_copies * num_images
            rows[is_in] = begin + order[indices[is_in] % num_images]
        return rows

    firsts = tf.data.Dataset.range(start_image, tf.int64.max, batch_size)
    return _load(firsts, find_rows, features, labels, batch_size)


def build_pass(
    features: np.ndarray, labels: np.ndarray, batch_size: int
) -> "tf.data.Dataset":
    """Builds one pass over all rows in their order, with a smaller last batch."""

    def find_rows(first):
        return slice(first, first + batch_size)

    firsts = tf.data.Dataset.range(0, len(features), batch_size)
    return _load(firsts, find_rows, features, labels, None)


def _load(
    firsts: "tf.data.Dataset",
    find_rows: Callable[[int], np.ndarray | slice],
    features: np.ndarray,
    labels: np.ndarray,
    batch_size: int | None,
) -> "tf.data.Dataset":
    """Turns the index of the first image of each batch into the batch."""

    def read(first):
        rows = find_rows(int(first))
        # Copies: both are views of one file.
        return tuple(np.ascontiguousarray(part[rows]) for part in (features, labels))

    @as_written
    def load(first):
        types = (tf.float32, tf.as_dtype(labels.dtype))
        batch = tf.numpy_function(read, [first], types)
        for tensor, part in zip(batch, (features, labels), strict=True):
            tensor.set_shape([batch_size, *part.shape[1:]])
        return tuple(batch)

    return firsts.map(load).prefetch(_PREFETCHED_BATCHES)


@functools.lru_cache(maxsize=2)
def _permute(seed: int, epoch: int, count: int) -> np.ndarray:
    """Returns a random order of so many, the same with every version of NumPy."""
    # NumPy keeps the numbers of its bit generators, but not of what samples with them.
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64))
    return np.argsort(bits.random_raw(count), kind="stable")
