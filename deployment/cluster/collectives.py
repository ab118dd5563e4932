"""Collective operations between the workers of a run, in graph mode.

Each worker has its own graph with the same collectives in the same order, which number
them alike; TensorFlow's servers carry the values (ring all-reduce).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tf_slim_compat import tf

# Gradients are sent in buckets of about this size: a small tensor costs a round of
# messages just as a large one, and buckets leave while others are computed.
BUCKET_BYTES = 4 * 2**20
# Messages of tens of megabytes take several times as long as the same in pieces of up
# to twice this.
_MESSAGE_BYTES = 2 * 2**20
_GROUP = 1
# Keys from here on name gathers, which are told apart by the length of their vectors.
_FIRST_GATHER = 10**6
_TYPES = {tf.bool: tf.int32, tf.bfloat16: tf.float32, tf.uint8: tf.int32}
_Pairs = Sequence[tuple[Any, tf.Variable]]


def split_bucket(size: int, bucket_bytes: int, count: int) -> list[int]:
    """Returns the sizes of the pieces in which a bucket is sent.

    Args:
      size: elements of four bytes in the bucket.
      bucket_bytes: see `Collectives`; 0 splits nothing.
      count: number of workers; a message is a piece divided by it.
    """
    most = 2 * max(bucket_bytes, count * _MESSAGE_BYTES) // 4
    pieces = -(-size // most) if bucket_bytes else 1
    return [(size + i) // pieces for i in range(pieces)] if pieces > 1 else [size]


class Collectives:
    """The collective operations of one worker.

    Args:
      index: index of the worker.
      count: number of workers.
      bucket_bytes: size of the buckets in which gradients are sent; 0 sends each alone.
    """

    def __init__(
        self, index: int, count: int, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self._index, self._count = index, count
        self._bucket_bytes = bucket_bytes
        self._keys = itertools.count(1)

    def average(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the mean of a float tensor over the workers; same bits on each."""
        with tf.name_scope("all_reduce"):
            total = tf.raw_ops.CollectiveReduceV2(
                input=tensor,
                group_size=self._count,
                group_key=_GROUP,
                instance_key=next(self._keys),
                ordering_token=[],
                merge_op="Add",
                final_op="Id",
            )
            total.set_shape(tensor.shape)
            return total / self._count

    def average_with_gradient(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the mean over the workers; its gradient is averaged as well.

        With losses that are averaged over the workers, that is the gradient of the loss
        over all their batches.
        """

        @tf.custom_gradient
        def averaged(tensor):
            return self.average(tensor), self.average

        return averaged(tensor)

    def average_all(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the means of float tensors over the workers, sent in buckets."""
        averages = [None] * len(tensors)
        # The last gradients are computed first.
        for bucket in self._fill_buckets(list(enumerate(tensors))[::-1]):
            flat = [tf.reshape(tensor, [-1]) for _, tensor in bucket]
            mean = self._average_vector(tf.concat(flat, 0) if flat[1:] else flat[0])
            sizes = [tensor.shape.num_elements() for _, tensor in bucket]
            parts = tf.split(mean, sizes) if len(flat) > 1 else [mean]
            for (place, tensor), part in zip(bucket, parts, strict=True):
                averages[place] = tf.reshape(part, tensor.shape)
        return averages

    def average_gradients(self, pairs: _Pairs) -> list[tuple[Any, tf.Variable]]:
        """Returns pairs of gradients and variables with the mean gradients.

        Args:
          pairs: (gradient, variable); a `tf.IndexedSlices` becomes dense, None stays.
        """
        present = [
            tf.convert_to_tensor(gradient)
            for gradient, _ in pairs
            if gradient is not None
        ]
        averages = iter(self.average_all(present))
        return [
            (None if gradient is None else next(averages), variable)
            for gradient, variable in pairs
        ]

    def average_variables(self, variables: Sequence[tf.Variable]) -> tf.Operation:
        """Returns an operation that sets float variables to their means."""
        means = self.average_all([variable.read_value() for variable in variables])
        return tf.group(
            *(
                v.assign(m, read_value=False)
                for v, m in zip(variables, means, strict=True)
            )
        )

    def broadcast_variables(self, variables: Sequence[tf.Variable]) -> tf.Operation:
        """Returns an operation that sets variables to the values of the chief."""
        with tf.name_scope("broadcast"):
            return tf.group(*map(self._broadcast_variable, variables))

    def gather(self, vector: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of all workers, float64 [count * length].

        Args:
          vector: float64 [length].
          length: its length, int32 scalar, the same on all workers.
        """
        return tf.raw_ops.CollectiveGatherV2(
            input=vector,
            group_size=self._count,
            group_key=_GROUP,
            instance_key=_FIRST_GATHER + length,
            ordering_token=[],
        )

    def _average_vector(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns the mean of a bucket, sent in pieces if it is a large one."""
        elements = vector.shape.num_elements()
        sizes = split_bucket(elements, self._bucket_bytes, self._count)
        if len(sizes) == 1:
            return self.average(vector)
        return tf.concat(list(map(self.average, tf.split(vector, sizes))), 0)

    def _fill_buckets(
        self, tensors: Sequence[tuple[int, tf.Tensor]]
    ) -> Iterator[list[tuple[int, tf.Tensor]]]:
        """Yields neighbors of one type that fill a bucket."""
        bucket, size = [], 0
        for place, tensor in tensors:
            is_other = bucket and bucket[0][1].dtype != tensor.dtype
            if bucket and (size >= self._bucket_bytes or is_other):
                yield bucket
                bucket, size = [], 0
            bucket.append((place, tensor))
            size += tensor.shape.num_elements() * tensor.dtype.size
        if bucket:
            yield bucket

    def _broadcast_variable(self, variable: tf.Variable) -> tf.Operation:
        dtype = variable.dtype.base_dtype
        sent = _TYPES.get(dtype, dtype)
        arguments = {
            "group_size": self._count,
            "group_key": _GROUP,
            "instance_key": next(self._keys),
        }
        if not self._index:
            value = tf.cast(variable.read_value(), sent)
            return tf.raw_ops.CollectiveBcastSendV2(input=value, **arguments).op
        value = tf.raw_ops.CollectiveBcastRecvV2(
            T=sent, shape=variable.shape.as_list(), **arguments
        )
        value.set_shape(variable.shape)
        return variable.assign(tf.cast(value, dtype), read_value=False)
