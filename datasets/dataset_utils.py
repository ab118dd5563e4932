"""Small things that dataset modules and converters share."""

import os
import re
import tarfile
import urllib.request
import zipfile

from tqdm import tqdm

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
    with tf.io.gfile.GFile(os.path.join(dataset_dir, filename)) as file:
        lines = file.read().lstrip("\ufeff").splitlines()
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


def _as_list(values):
    return values if isinstance(values, (list, tuple)) else [values]
