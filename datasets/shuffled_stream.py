"""The endless stream of encoded training images, which can be resumed anywhere.

Every epoch has each image once, or each class equally often. Within an epoch the order
of the shards, the choices of the shuffle buffer and, if classes are balanced, the
choice of images that are repeated or left out are functions of the seed and the
epoch's number.
"""

import dataclasses
import os
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from datasets import shard_files
from tf_slim_compat import as_written, tf

# Encoded bytes that the shuffle buffer may hold. A smaller dataset is read once and
# stays in memory.
SHUFFLE_BYTES = 256 * 2**20
# Shards are shuffled in groups of about this size, and resuming skips whole groups. It
# is many times the buffer's size, as the buffer runs empty at the end of each group.
GROUP_BYTES = 16 * SHUFFLE_BYTES
# Number of shards that feed the buffer in turn; the order depends on it.
MIXED_SHARDS = 8
# An image's index in the stream is this times its epoch plus its position there, which
# does not depend on the length of an epoch.
_EPOCH = 2**32


def build_stream(
    files: Sequence[str],
    guard: Callable[[tf.Tensor | Sequence[str]], tf.Tensor],
    num_samples: int,
    num_readers: int,
    read_label: Callable[[tf.Tensor], tf.Tensor],
    seed: int | None = None,
    start_image: int = 0,
    class_counts: Sequence[int] | None = None,
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Builds the stream, or the part of it that one of several processes takes.

    Args:
      files: paths of the shards.
      guard: passes on the paths of shards that are about to be opened; see
        `shard_files.build_guard`.
      num_samples: approximate number of images in them; for the size of the buffer.
      num_readers: number of shards that are read in parallel.
      read_label: function from a record to its class, int64 scalar.
      seed: None for an order that is not reproducible.
      start_image: number of images to skip. Whole epochs and groups of shards are
        skipped without reading, the rest without decoding.
      class_counts: the number of images of each class, to balance the classes, or None;
        see `input_pipeline.build_batches`.
      part: index and number of the processes that share the stream: image i, counted
        from `start_image`, is for process i % number. Of local files that do not stay
        in memory, a process reads its own records only.

    Returns:
      A `tf.data.Dataset` of (record, int64 [2]: the seed and the image's index in the
      stream, which no other image of the stream shares).

    Raises:
      ValueError: if `start_image` is negative, or `class_counts` do not fit the files.
      OSError: if a file is truncated.
    """
    if start_image < 0:
        raise ValueError(f"start_image={start_image} must be at least 0.")
    record_counts, epoch, skipped = None, 0, 0
    if start_image or class_counts is not None:
        record_counts = shard_files.count_records(files)
        epoch, skipped = divmod(start_image, sum(record_counts))
    if class_counts is not None:
        class_counts = _check_class_counts(class_counts, sum(record_counts))
    stream = _Stream(
        files=files,
        guard=guard,
        # Without a seed, a different one whenever the iterator is initialized.
        seed=tf.random.uniform([], maxval=tf.int64.max, dtype=tf.int64)
        if seed is None
        else tf.constant(seed, tf.int64),
        is_deterministic=seed is not None,
        num_readers=num_readers,
        buffer_size=fit_buffer(files, num_samples),
        # The lengths of groups are unknown if classes are balanced.
        group_size=_fit_group(files) if class_counts is None else len(files),
        record_counts=record_counts,
        class_counts=class_counts,
        read_label=read_label,
        part=part,
        # Elsewhere it takes a request to find the next record.
        is_indexed=part[1] > 1
        and class_counts is None
        and _sum_bytes(files) > SHUFFLE_BYTES
        and all(map(os.path.isfile, files)),
    )
    return stream.open(epoch, skipped)


def fit_buffer(files: Sequence[str], num_samples: int) -> int:
    """Returns how many records of mean size fill `SHUFFLE_BYTES`, at most all."""
    return max(1, min(num_samples, num_samples * SHUFFLE_BYTES // _sum_bytes(files)))


def _fit_group(files: Sequence[str]) -> int:
    """Returns how many shards of mean size fill `GROUP_BYTES`, but enough to mix."""
    return max(MIXED_SHARDS, len(files) * GROUP_BYTES // _sum_bytes(files))


def _sum_bytes(files: Sequence[str]) -> int:
    return sum(map(shard_files.measure, files))


def _check_class_counts(class_counts: Sequence[int], num_records: int) -> np.ndarray:
    class_counts = np.asarray(class_counts, np.int64)
    if class_counts.sum() != num_records:
        raise ValueError(
            f"class_counts add up to {class_counts.sum()}, but there are {num_records} "
            "images: count them with dataset_utils.count_labels."
        )
    return class_counts


@dataclasses.dataclass(frozen=True)
class _Stream:
    """The settings of a stream; see `build_stream`.

    Attributes:
      group_size: shards per group.
      record_counts: of each shard; None if nothing is skipped.
      is_indexed: whether the places of records are shuffled instead of the records,
        which are read after other processes' ones are left out.
    """

    files: Sequence[str]
    guard: Callable[[tf.Tensor | Sequence[str]], tf.Tensor]
    seed: tf.Tensor
    is_deterministic: bool
    num_readers: int
    buffer_size: int
    group_size: int
    record_counts: Sequence[int] | None
    class_counts: np.ndarray | None
    read_label: Callable[[tf.Tensor], tf.Tensor]
    part: tuple[int, int]
    is_indexed: bool

    def open(self, first_epoch: int, skipped: int) -> tf.data.Dataset:
        """Returns the stream without the first images of its first epoch."""
        resident = None
        if _sum_bytes(self.files) <= SHUFFLE_BYTES:
            resident = self._read(self.files).cache()

        @as_written
        def read_epoch(epoch):
            left_out = tf.where(tf.equal(epoch, first_epoch), [skipped], [0])[0]
            left_out = tf.cast(left_out, tf.int64)
            images = self._read_epoch(epoch, left_out, resident)
            return images.enumerate(epoch * _EPOCH + left_out)

        @as_written
        def add_seed(index, record):
            return record, tf.stack([self.seed, index])

        index, count = self.part
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        images = epochs.flat_map(read_epoch).shard(count, index)
        if self.is_indexed:
            images = images.map(
                _read_at,
                num_parallel_calls=self.num_readers,
                deterministic=self.is_deterministic,
            )
        return images.map(add_seed)

    def _read_epoch(
        self, epoch: tf.Tensor, skipped: tf.Tensor, resident: tf.data.Dataset | None
    ) -> tf.data.Dataset:
        """Returns the records of an epoch, without the first ones."""
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(self.files)), self._derive("shards", epoch)
        )
        files = tf.gather(self.files, order)
        num_groups = -(-len(self.files) // self.group_size)
        first_group = 0
        if num_groups > 1 and self.record_counts:
            first_group, skipped = self._skip_groups(order, skipped)

        @as_written
        def read_group(group):
            begin = group * self.group_size
            records = resident or self._read(files[begin : begin + self.group_size])
            if self.class_counts is not None:
                records = self._balance(records, epoch)
            seed = self._derive("buffer", epoch * _EPOCH + group)
            # The buffer also uses the seed of its graph, which here is this function's
            # own; a fixed one makes the order independent of the graph around it.
            tf.set_random_seed(0)
            return records.shuffle(
                self.buffer_size, _sample(seed, []), reshuffle_each_iteration=False
            )

        groups = tf.data.Dataset.range(first_group, num_groups)
        return groups.flat_map(read_group).skip(skipped)

    def _skip_groups(
        self, order: tf.Tensor, skipped: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first group needed and how many of its records to skip."""
        counts = tf.gather(np.array(self.record_counts, np.int64), order)
        groups = tf.range(len(self.files)) // self.group_size
        ends = tf.cumsum(tf.math.segment_sum(counts, groups))
        first_group = tf.reduce_sum(tf.cast(ends <= skipped, tf.int64))
        begins = tf.concat([[0], ends], 0)
        return first_group, skipped - begins[first_group]

    def _read(self, files: Sequence[str] | tf.Tensor) -> tf.data.Dataset:
        """Returns the records of shards, with labels if classes are balanced."""
        num_mixed = min(MIXED_SHARDS, len(self.files))
        records = tf.data.Dataset.from_tensor_slices(self.guard(files)).interleave(
            _locate if self.is_indexed else tf.data.TFRecordDataset,
            cycle_length=num_mixed,
            num_parallel_calls=min(self.num_readers, num_mixed),
            deterministic=self.is_deterministic,
        )
        if self.class_counts is None:
            return records
        return records.map(lambda record: (record, self.read_label(record)))

    def _balance(self, records: tf.data.Dataset, epoch: tf.Tensor) -> tf.data.Dataset:
        """Drops and repeats records to make all classes equally frequent.

        Each record adds its class's rate, such as 2.4 images per record, to an account
        of the class, and is repeated as often as the account holds whole images.
        """
        quotas = tf.constant(_share_out(self.class_counts))
        counts = tf.constant(self.class_counts)
        # In units of 1 / counts, which avoids rounding.
        random = _sample(self._derive("classes", epoch), self.class_counts.shape)
        accounts = tf.math.floormod(random, tf.maximum(counts, 1))

        @as_written
        def count_copies(state, element):
            accounts, left = state
            record, label = element
            label = _check_label(label, left)
            total = accounts[label] + quotas[label]
            rest = tf.math.floormod(total, counts[label])
            accounts = tf.tensor_scatter_nd_update(accounts, [[label]], [rest])
            left = tf.tensor_scatter_nd_sub(left, [[label]], [1])
            return (accounts, left), (record, total // counts[label])

        @as_written
        def repeat(record, copies):
            return tf.data.Dataset.from_tensors(record).repeat(copies)

        return records.scan((accounts, counts), count_copies).flat_map(repeat)

    def _derive(self, purpose: str, place: tf.Tensor) -> tf.Tensor:
        """Returns a seed, int64 [2], for one purpose at one place of the stream."""
        return tf.stack([self.seed + zlib.crc32(purpose.encode()), place])


@as_written
def _locate(path: tf.Tensor) -> tf.data.Dataset:
    """Returns the places of a shard's records, in the order of the file."""
    places = tf.numpy_function(shard_files.locate_records, [path], tf.int64)
    places.set_shape([None, 2])
    places = tf.data.Dataset.from_tensor_slices(places)
    return places.map(lambda place: (path, place))


@as_written
def _read_at(
    index: tf.Tensor, record: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the image's index in the stream and its record."""
    # TensorFlow's readers would read all that is before it in the file.
    content = tf.numpy_function(shard_files.read_record, record, tf.string)
    content.set_shape([])
    return index, content


def _sample(seed: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns random int64 numbers of the full range."""
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int64
    )


def _share_out(counts: np.ndarray) -> np.ndarray:
    """Returns the images of each class per epoch: equal parts of the same total."""
    present = np.flatnonzero(counts)
    quotas = np.zeros_like(counts)
    quotas[present] = counts.sum() // len(present)
    quotas[present[: counts.sum() % len(present)]] += 1
    return quotas


def _check_label(label: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """Returns the label; an error at run time if its class has no image left."""
    num_classes = tf.size(left, out_type=tf.int64)
    is_known = tf.logical_and(label >= 0, label < num_classes)
    is_expected = tf.gather(left, tf.where(is_known, [label], [0])[0]) > 0
    message = (
        "class_counts do not fit the images, count them with "
        "dataset_utils.count_labels: there are more images of the label"
    )
    assertion = tf.Assert(tf.logical_and(is_known, is_expected), [message, label])
    with tf.control_dependencies([assertion]):
        return tf.identity(label)
