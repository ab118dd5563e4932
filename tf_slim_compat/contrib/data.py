"""`tf.contrib.data`: datasets' transformations, most of them now in `tf.data`."""

from collections.abc import Callable

from tf_slim_compat import tf
from tf_slim_compat.contrib.forwarding import TF, make_getattr

_Transformation = Callable[[tf.data.Dataset], tf.data.Dataset]


def batch_and_drop_remainder(batch_size: int | tf.Tensor) -> _Transformation:
    """Returns a transformation that batches and drops a last batch that is smaller."""
    return lambda dataset: dataset.batch(batch_size, drop_remainder=True)


def padded_batch_and_drop_remainder(
    batch_size: int | tf.Tensor, padded_shapes: object, padding_values: object = None
) -> _Transformation:
    """Returns `batch_and_drop_remainder` with elements padded to the same shape."""
    return lambda dataset: dataset.padded_batch(
        batch_size, padded_shapes, padding_values, drop_remainder=True
    )


def sloppy_interleave(
    map_func: Callable[..., tf.data.Dataset],
    cycle_length: int | tf.Tensor,
    block_length: int | tf.Tensor = 1,
) -> _Transformation:
    """Returns `parallel_interleave` in an order that may vary between runs."""
    interleave = tf.data.experimental.parallel_interleave
    return interleave(map_func, cycle_length, block_length, sloppy=True)


def unbatch() -> _Transformation:
    """Returns a transformation that splits batches into their elements."""
    return lambda dataset: dataset.unbatch()


__getattr__ = make_getattr("data", (f"{TF}:data.experimental", f"{TF}:data"))
