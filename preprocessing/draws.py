"""Where the random distortions take their numbers from.

By default from TensorFlow's stateful generators: each run draws anew. Within `seeded`
every draw is a function of the seed and of what is drawn:

    with draws.seeded((3, 14)):
        image = inception_preprocessing.preprocess_image(image, 224, 224, True)

Both ways draw from the same distributions.
"""

import contextlib
import contextvars
import zlib

from tf_slim_compat import tf

_seed = contextvars.ContextVar("seed", default=None)


class _Seed:
    """Gives every draw a seed of its own, by its purpose and not by its turn.

    So a window is the same whether it is drawn alone or before other things.
    """

    def __init__(self, seed):
        self._seed = tf.cast(seed, tf.int64)
        self._times = {}

    def of(self, purpose):
        times = self._times[purpose] = self._times.get(purpose, 0) + 1
        # The ops scramble what they are given, so seeds may lie side by side.
        offset = zlib.crc32(f"{purpose} {times}".encode())
        return self._seed + tf.constant([offset, 0], tf.int64)


@contextlib.contextmanager
def seeded(seed):
    """Within it, what is built draws functions of the seed.

    Args:
      seed: integers [2], a tensor or not; None draws from the stateful generators.
    """
    token = _seed.set(None if seed is None else _Seed(seed))
    try:
        yield
    finally:
        _seed.reset(token)


def uniform(purpose, shape, low, high, dtype=tf.float32):
    """Draws uniformly from [low, high).

    Args:
      purpose: what the draw is for, a word; draws for different purposes, and
        repeated ones for the same, are independent of each other.
      shape: of the result.
      low: the least value.
      high: the bound above, not drawn.
      dtype: float32 or int32.
    """
    seed = _seed.get()
    if seed is None:
        return tf.random.uniform(shape, low, high, dtype)
    return tf.random.stateless_uniform(shape, seed.of(purpose), low, high, dtype)


def distorted_bounding_box(purpose, **options):
    """Draws a window by area and aspect ratio.

    Args:
      purpose: as for `uniform`.
      **options: all arguments of `tf.raw_ops.SampleDistortedBoundingBoxV2` but seeds.

    Returns:
      (begin, size, boxes) of that op.
    """
    seed = _seed.get()
    if seed is not None:
        return tf.raw_ops.StatelessSampleDistortedBoundingBox(
            seed=seed.of(purpose), **options
        )
    # The public wrappers of this op leave the graph's seed out.
    graph_seed, op_seed = tf.get_seed(None)
    return tf.raw_ops.SampleDistortedBoundingBoxV2(
        seed=graph_seed or 0, seed2=op_seed or 0, **options
    )
