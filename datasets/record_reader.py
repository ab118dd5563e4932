"""Reads single records of a split again: their file names and images.

Batches contain only pixels and labels. Evaluation reads records in file order, so its
n-th image is record n here.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from datasets import record_loader, shard_files
from tf_slim_compat import slim, tf

THUMBNAIL_PX = 224
_BATCH_SIZE = 256


def read_file_names(
    dataset: slim.dataset.Dataset, num_images: int | None = None
) -> list[str]:
    """Returns the file names from which the images of a split were converted.

    Args:
      dataset: a dataset of TFRecord shards.
      num_images: how many, from the first; None for all.

    Returns:
      The records' `image/filename`; for records without one, the shard's name and the
      index of the record in it, such as `x.tfrecord#17`.
    """
    names = []
    with tf.Graph().as_default():
        records = _number_records(dataset).take(
            -1 if num_images is None else num_images
        )
        named = records.batch(_BATCH_SIZE).map(_parse_names)
        for batch in _iterate(named):
            names.extend(name.decode("utf-8", "surrogateescape") for name in batch)
    return names


def read_images(
    dataset: slim.dataset.Dataset,
    indices: Sequence[int],
    max_size: int = THUMBNAIL_PX,
) -> dict[int, np.ndarray]:
    """Decodes some images of a split and scales large ones down.

    Args:
      dataset: a dataset of TFRecord shards.
      indices: positions in file order.
      max_size: of height and width, in pixels; smaller images keep their size.

    Returns:
      A dict from index to uint8 [height, width, channels].
    """
    indices = np.unique(np.asarray(indices, np.int64))
    if not indices.size:
        return {}
    is_wanted = np.zeros([indices[-1] + 1], bool)
    is_wanted[indices] = True
    with tf.Graph().as_default():
        wanted = tf.constant(is_wanted)
        load = record_loader.build_loader(dataset, _shrink, max_size, max_size, 0)
        files = shard_files.list_shards(dataset)
        records = tf.data.TFRecordDataset(files).enumerate().take(len(is_wanted))
        records = records.filter(lambda index, _: tf.gather(wanted, index))
        images = records.map(lambda _, record: load(record)[0])
        return {
            int(index): _cut_padding(image)
            for index, image in zip(indices, _iterate(images), strict=True)
        }


def _number_records(dataset: slim.dataset.Dataset) -> tf.data.Dataset:
    """Returns a `tf.data.Dataset` of (shard's path, index in it, record)."""

    def number(path):
        return (
            tf.data.TFRecordDataset(path)
            .enumerate()
            .map(lambda index, record: (path, index, record))
        )

    files = shard_files.list_shards(dataset)
    return tf.data.Dataset.from_tensor_slices(files).flat_map(number)


def _parse_names(paths: tf.Tensor, indices: tf.Tensor, records: tf.Tensor) -> tf.Tensor:
    features = {"image/filename": tf.FixedLenFeature((), tf.string, "")}
    names = tf.io.parse_example(records, features)["image/filename"]
    shards = tf.strings.regex_replace(paths, "^.*/", "")
    places = tf.strings.join([shards, tf.strings.as_string(indices)], "#")
    return tf.where(tf.equal(names, ""), places, names)


def _shrink(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Fits an image into the upper left of a box; the rest of the box is -1."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    ratio = tf.minimum(
        1.0, tf.reduce_min(tf.constant([height, width], tf.float32) / size)
    )
    size = tf.maximum(1, tf.cast(tf.round(size * ratio), tf.int32))
    image = tf.image.resize(image, size, tf.image.ResizeMethod.AREA)
    rest = [[0, height - size[0]], [0, width - size[1]], [0, 0]]
    return tf.pad(image, rest, constant_values=-1)


def _cut_padding(image: np.ndarray) -> np.ndarray:
    is_inside = image[..., 0] >= 0
    height, width = is_inside[:, 0].sum(), is_inside[0].sum()
    return np.clip(np.round(image[:height, :width]), 0, 255).astype(np.uint8)


def _iterate(elements: tf.data.Dataset) -> Iterator[Any]:
    """Yields the elements of a `tf.data.Dataset` of the default graph."""
    iterator = tf.data.make_initializable_iterator(elements)
    element = iterator.get_next()
    with contextlib.closing(tf.Session()) as session:
        session.run([iterator.initializer, tf.tables_initializer()])
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                yield session.run(element)
