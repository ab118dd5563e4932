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


def _as_list(values):
    return values if isinstance(values, (list, tuple)) else [values]
