"""Helpers that dataset modules and converters share."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from datasets import input_pipeline, record_loader, shard_files
from datasets.downloads import (
    download_and_uncompress_tarball,
    download_and_uncompress_zipfile,
    download_url,
)
from tf_slim_compat import slim, tf

__all__ = [
    "bytes_feature",
    "bytes_list_feature",
    "count_labels",
    "download_and_uncompress_tarball",
    "download_and_uncompress_zipfile",
    "download_url",
    "fingerprint",
    "float_feature",
    "float_list_feature",
    "has_labels",
    "image_to_labeled_tfexample",
    "image_to_tfexample",
    "int64_feature",
    "open_sharded_output_tfrecords",
    "parse_labels",
    "read_all_labels",
    "read_label_file",
    "read_labels",
    "write_label_file",
]

LABELS_FILENAME = "labels.txt"
BARE_LABELS_FILENAME = "label.txt"


def int64_feature(values: int | Sequence[int]) -> tf.train.Feature:
    """Returns a `tf.train.Feature` of one integer or of a list of them."""
    return tf.train.Feature(int64_list=tf.train.Int64List(value=_as_list(values)))


def bytes_list_feature(values: Iterable[bytes]) -> tf.train.Feature:
    """Returns a `tf.train.Feature` of a list of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def float_list_feature(values: Iterable[float]) -> tf.train.Feature:
    """Returns a `tf.train.Feature` of a list of floats."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def bytes_feature(values: bytes) -> tf.train.Feature:
    """Returns a `tf.train.Feature` of one byte string."""
    return bytes_list_feature([values])


def float_feature(values: float | Sequence[float]) -> tf.train.Feature:
    """Returns a `tf.train.Feature` of one float or of a list of them."""
    return float_list_feature(_as_list(values))


def image_to_tfexample(
    image_data: bytes, image_format: bytes, height: int, width: int, class_id: int
) -> tf.train.Example:
    """Returns the `tf.train.Example` of an image with one class.

    Args:
      image_data: the encoded image.
      image_format: b"jpeg" or b"png" (b"raw" for bare uint8 pixels).
      height: of the image, in pixels.
      width: of the image, in pixels.
      class_id: the label, an integer from 0.
    """
    label = {"image/class/label": int64_feature(class_id)}
    return _build_example(image_data, image_format, height, width, label)


def image_to_labeled_tfexample(
    image_data: bytes,
    image_format: bytes,
    height: int,
    width: int,
    labels: Sequence[float],
) -> tf.train.Example:
    """Returns the `tf.train.Example` of an image with several labels or targets.

    Args:
      image_data: the encoded image.
      image_format: b"jpeg" or b"png" (b"raw" for bare uint8 pixels).
      height: of the image, in pixels.
      width: of the image, in pixels.
      labels: one number per label or target; stored as float32.
    """
    label = {"image/labels": float_list_feature(labels)}
    return _build_example(image_data, image_format, height, width, label)


def _build_example(
    image_data: bytes,
    image_format: bytes,
    height: int,
    width: int,
    label: Mapping[str, tf.train.Feature],
) -> tf.train.Example:
    feature = {
        "image/encoded": bytes_feature(image_data),
        "image/format": bytes_feature(image_format),
        "image/height": int64_feature(height),
        "image/width": int64_feature(width),
        **label,
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def open_sharded_output_tfrecords(
    exit_stack: contextlib.ExitStack, base_path: str, num_shards: int
) -> list[tf.io.TFRecordWriter]:
    """Opens TFRecord files named `base_path-00000-of-00004` and so on.

    Args:
      exit_stack: closes the files.
      base_path: the path without the shard's number.
      num_shards: number of files.

    Returns:
      A list of `num_shards` writers.
    """
    return [
        exit_stack.enter_context(
            tf.io.TFRecordWriter(f"{base_path}-{index:05d}-of-{num_shards:05d}")
        )
        for index in range(num_shards)
    ]


def write_label_file(
    labels_to_class_names: Mapping[int, str],
    dataset_dir: str,
    filename: str = LABELS_FILENAME,
) -> None:
    """Writes one line `0:name` per class.

    Args:
      labels_to_class_names: maps integers to names.
      dataset_dir: folder to write into.
      filename: name of the file.
    """
    with tf.io.gfile.GFile(os.path.join(dataset_dir, filename), "w") as file:
        for label, name in labels_to_class_names.items():
            file.write(f"{label}:{name}\n")


def has_labels(dataset_dir: str, filename: str = LABELS_FILENAME) -> bool:
    """Returns whether the folder has a file of class names."""
    return tf.io.gfile.exists(os.path.join(dataset_dir, filename))


def read_label_file(
    dataset_dir: str, filename: str = LABELS_FILENAME
) -> dict[int, str]:
    """Reads the names of the classes.

    Args:
      dataset_dir: folder of the file.
      filename: name of the file. Its lines are `0:name`, or all of them are bare names
        of label 0, label 1 and so on.

    Returns:
      A dictionary from integer label to name.
    """
    with tf.io.gfile.GFile(os.path.join(dataset_dir, filename), "rb") as file:
        return parse_labels(file.read())


def parse_labels(contents: bytes) -> dict[int, str]:
    """Returns label to name from the contents of a file; see `read_label_file`."""
    lines = contents.decode(errors="replace").lstrip("\ufeff").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if all(re.match(r"\d+:", line) for line in lines):
        pairs = (line.split(":", 1) for line in lines)
        return {int(label): name for label, name in pairs}
    return dict(enumerate(lines))


def read_labels(dataset_dir: str) -> dict[int, str] | None:
    """Returns label to name from `labels.txt`, or else `label.txt`, or else None."""
    for filename in (LABELS_FILENAME, BARE_LABELS_FILENAME):
        if has_labels(dataset_dir, filename):
            return read_label_file(dataset_dir, filename)
    return None


def count_labels(dataset: slim.dataset.Dataset) -> np.ndarray:
    """Counts the images of each class of a dataset.

    The counts come from `dataset_info.json` if it describes these shards; otherwise all
    records are read once and their labels parsed.

    Args:
      dataset: a dataset with `num_classes` and the item "label".

    Returns:
      int64 [num_classes], by labels as stored, without regard to a label offset.

    Raises:
      ValueError: if a label is not in 0 to num_classes - 1, if images have several
        labels or numeric targets instead of one class, or if there is no label.
      OSError: if a shard is missing or cannot be read.
    """
    files = shard_files.list_shards(dataset)
    info, split = shard_files.find_split(files)
    if info and info.has_classes and len(info.class_names) == dataset.num_classes:
        return np.array(info.labels[split]["class_counts"], np.int64)
    counts = np.zeros(dataset.num_classes, np.int64)
    with input_pipeline.naming_broken_files(dataset):
        read = record_loader.build_class_reader(dataset)
        for labels in _read_in_batches(read, files):
            if labels.min() < 0 or labels.max() >= dataset.num_classes:
                raise ValueError(
                    f"An image has the label {max(labels, key=abs)}, but the dataset's "
                    f"num_classes={dataset.num_classes} allows 0 to "
                    f"{dataset.num_classes - 1}: correct the dataset module, or "
                    "convert the images again."
                )
            counts += np.bincount(labels, minlength=dataset.num_classes)
    return counts


def read_all_labels(dataset: slim.dataset.Dataset) -> np.ndarray:
    """Reads the labels of a split, in file order.

    Returns:
      int64 [n], or float32 [n, m] for several labels or numeric targets.

    Raises:
      ValueError: if there is no label.
      OSError: if a shard is missing or cannot be read.
    """
    files = shard_files.list_shards(dataset)
    with input_pipeline.naming_broken_files(dataset):
        read = record_loader.build_label_reader(dataset)
        return np.concatenate(list(_read_in_batches(read, files)))


def _read_in_batches(
    read: Callable[[tf.Tensor], tf.Tensor], files: Sequence[str]
) -> Iterator[np.ndarray]:
    """Yields what a function reads from the records, in batches."""
    with tf.Graph().as_default(), tf.Session() as session:
        labels = tf.data.TFRecordDataset(files).map(read, os.cpu_count()).batch(1024)
        iterator = tf.data.make_initializable_iterator(labels)
        element = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                yield session.run(element)


def fingerprint(dataset: slim.dataset.Dataset) -> str:
    """Returns a text that identifies the dataset's files, wherever they lie.

    Returns:
      The `fingerprint` of the `dataset_info.json` that describes these shards: SHA-256
      over all records of all splits. Without one, SHA-256 over the name, the length and
      the first KB of each shard.

    Raises:
      OSError: if a shard is missing.
    """
    files = shard_files.list_shards(dataset)
    info, _ = shard_files.find_split(files)
    if info is not None and info.fingerprint:
        return info.fingerprint
    return shard_files.compute_fingerprint(files)


def _as_list(values):
    return values if isinstance(values, (list, tuple)) else [values]
