"""Small things that dataset modules and converters share."""

import contextlib
import http.client
import os
import re
import shutil
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
import zlib

import numpy as np
from tqdm import tqdm

from datasets import input_pipeline, record_loader, shard_files
from tf_slim_compat import tf

LABELS_FILENAME = "labels.txt"
BARE_LABELS_FILENAME = "label.txt"


def int64_feature(values):
    """Returns a `tf.train.Feature` of one integer or of a list of them."""
    return tf.train.Feature(int64_list=tf.train.Int64List(value=_as_list(values)))


def bytes_list_feature(values):
    """Returns a `tf.train.Feature` of a list of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def float_list_feature(values):
    """Returns a `tf.train.Feature` of a list of floats."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def bytes_feature(values):
    """Returns a `tf.train.Feature` of one byte string."""
    return bytes_list_feature([values])


def float_feature(values):
    """Returns a `tf.train.Feature` of one float or of a list of them."""
    return float_list_feature(_as_list(values))


def image_to_tfexample(image_data, image_format, height, width, class_id):
    """Returns the `tf.train.Example` of one labelled image.

    Args:
      image_data: bytes, the encoded image.
      image_format: bytes, b"jpeg" or b"png" (b"raw" for bare uint8 pixels).
      height: of the image, in pixels.
      width: of the image, in pixels.
      class_id: the label, an integer from 0.
    """
    feature = {
        "image/encoded": bytes_feature(image_data),
        "image/format": bytes_feature(image_format),
        "image/class/label": int64_feature(class_id),
        "image/height": int64_feature(height),
        "image/width": int64_feature(width),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def open_sharded_output_tfrecords(exit_stack, base_path, num_shards):
    """Opens TFRecord files named `base_path-00000-of-00004` and so on.

    Args:
      exit_stack: a `contextlib.ExitStack` that will close them.
      base_path: the path without the shard's number.
      num_shards: how many.

    Returns:
      A list of `num_shards` writers.
    """
    return [
        exit_stack.enter_context(
            tf.io.TFRecordWriter(f"{base_path}-{index:05d}-of-{num_shards:05d}")
        )
        for index in range(num_shards)
    ]


def download_url(url, dataset_dir):
    """Downloads a file into a folder, with a progress bar on a terminal.

    Args:
      url: where it is; the last part of the path becomes the file's name.
      dataset_dir: an existing folder.

    Returns:
      The path of the file.

    Raises:
      OSError: the file cannot be had whole; nothing is left of it.
    """
    name = urllib.parse.unquote(urllib.parse.urlparse(url).path).rsplit("/", 1)[-1]
    path = os.path.join(dataset_dir, name)
    partial_path = path + ".partial"
    try:
        with urllib.request.urlopen(url) as source, open(partial_path, "wb") as target:
            size = int(source.headers.get("Content-Length") or 0)
            hidden = not sys.stderr.isatty()
            with tqdm.wrapattr(
                source, "read", total=size or None, desc=name, disable=hidden
            ) as watched:
                shutil.copyfileobj(watched, target)
            if size and target.tell() != size:
                raise OSError(f"only {target.tell()} of {size} bytes came")
        os.replace(partial_path, path)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"Cannot download {url} into {dataset_dir!r}: {error}."
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial_path)
    return path


def download_and_uncompress_tarball(tarball_url, dataset_dir):
    """Downloads a tar archive, compressed or not, and unpacks it into the folder.

    Raises:
      OSError: the archive cannot be had, is damaged, or has members that would lie
        outside the folder.
    """
    path = download_url(tarball_url, dataset_dir)
    with _naming_damage(path), tarfile.open(path) as archive:
        archive.extractall(dataset_dir, filter="data")


def download_and_uncompress_zipfile(zip_url, dataset_dir):
    """Downloads a zip archive and unpacks it into the folder.

    Raises:
      OSError: the archive cannot be had or is damaged.
    """
    path = download_url(zip_url, dataset_dir)
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        archive.extractall(dataset_dir)


@contextlib.contextmanager
def _naming_damage(path):
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise OSError(
            f"Cannot unpack {path!r} ({error}): remove it and download it again."
        ) from error


def write_label_file(labels_to_class_names, dataset_dir, filename=LABELS_FILENAME):
    """Writes one line `0:name` for each class.

    Args:
      labels_to_class_names: a dictionary from integer to name.
      dataset_dir: the folder to write into.
      filename: the file's name there.
    """
    with tf.io.gfile.GFile(os.path.join(dataset_dir, filename), "w") as file:
        for label, name in labels_to_class_names.items():
            file.write(f"{label}:{name}\n")


def has_labels(dataset_dir, filename=LABELS_FILENAME):
    """Returns whether the folder has a file of class names."""
    return tf.io.gfile.exists(os.path.join(dataset_dir, filename))


def read_label_file(dataset_dir, filename=LABELS_FILENAME):
    """Reads the names of the classes.

    Args:
      dataset_dir: the folder that has the file.
      filename: the file's name there. Its lines are `0:name`, or all of them are bare
        names, of label 0, of label 1 and so on.

    Returns:
      A dictionary from integer label to name.
    """
    with tf.io.gfile.GFile(os.path.join(dataset_dir, filename), "rb") as file:
        lines = file.read().decode(errors="replace").lstrip("\ufeff").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if all(re.match(r"\d+:", line) for line in lines):
        pairs = (line.split(":", 1) for line in lines)
        return {int(label): name for label, name in pairs}
    return dict(enumerate(lines))


def read_labels(dataset_dir):
    """Returns label to name by `labels.txt`, else by `label.txt`, else None."""
    for filename in (LABELS_FILENAME, BARE_LABELS_FILENAME):
        if has_labels(dataset_dir, filename):
            return read_label_file(dataset_dir, filename)
    return None


def count_labels(dataset):
    """Counts the images of each class of a dataset.

    `dataset_info.json` has the numbers where it lies beside the shards; else all shards
    are read once, and only the labels looked at.

    Args:
      dataset: a `slim.dataset.Dataset` with `num_classes` and the item "label".

    Returns:
      int64 [num_classes], by the labels as they are stored, whatever the offset.

    Raises:
      ValueError: a label is not in 0 to num_classes - 1, or there is no such item.
      OSError: a shard is missing or cannot be read.
    """
    files = shard_files.list_files(dataset.data_sources)
    info, split = shard_files.find_split(files)
    if info is not None and len(info.class_counts[split]) == dataset.num_classes:
        return np.array(info.class_counts[split], np.int64)
    counts = np.zeros(dataset.num_classes, np.int64)
    with input_pipeline.naming_broken_files(dataset):
        for labels in _read_labels_of(dataset, files):
            if labels.min() < 0 or labels.max() >= dataset.num_classes:
                raise ValueError(
                    f"An image has the label {max(labels, key=abs)}, and the dataset's "
                    f"num_classes={dataset.num_classes} allows 0 to "
                    f"{dataset.num_classes - 1}: correct the dataset module, or "
                    "convert the images again."
                )
            counts += np.bincount(labels, minlength=dataset.num_classes)
    return counts


def _read_labels_of(dataset, files):
    """Yields the labels, many at a time."""
    with tf.Graph().as_default(), tf.Session() as session:
        read = record_loader.build_label_reader(dataset)
        labels = tf.data.TFRecordDataset(files).map(read, os.cpu_count()).batch(1024)
        iterator = tf.data.make_initializable_iterator(labels)
        element = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                yield session.run(element)


def compute_class_weights(counts):
    """Weights of the classes that make all of them count the same in the loss.

    Args:
      counts: how many images each class has, such as `count_labels` gives.

    Returns:
      float32 [num_classes]: N / (C * n) for a class of n images, where N images are of
      C different classes, so that the mean weight of an image is 1. A class without
      images has the weight 0, and is not among the C.

    Raises:
      ValueError: no class has an image, or a number is negative.
    """
    counts = np.asarray(counts, np.float64)
    if not counts.any() or (counts < 0).any():
        raise ValueError(
            f"The numbers of images a class are {counts.tolist()}: none may be "
            "negative, and one at least must be above 0."
        )
    num_present = np.count_nonzero(counts)
    weights = np.zeros(counts.shape, np.float32)
    np.divide(counts.sum(), num_present * counts, out=weights, where=counts > 0)
    return weights


def fingerprint(dataset):
    """A text that tells this dataset's files from others, wherever they lie.

    Returns:
      The `fingerprint` of the `dataset_info.json` beside the shards, where it is about
      them: SHA-256 over all records of all splits. Else SHA-256 over the name, the
      length and the first KB of each shard.

    Raises:
      OSError: a shard is missing.
    """
    files = shard_files.list_files(dataset.data_sources)
    info, _ = shard_files.find_split(files)
    if info is not None and info.fingerprint:
        return info.fingerprint
    return shard_files.compute_fingerprint(files)


def _as_list(values):
    return values if isinstance(values, (list, tuple)) else [values]
