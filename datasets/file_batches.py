"""Batches of image files that belong to no dataset, preprocessed as in evaluation."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Any, TypeVar

import numpy as np

from datasets import image_checks, image_files, jpeg_crops
from tf_slim_compat import as_written, tf

_PREFETCHED_BATCHES = 2
# Calling Python from the pipeline costs as much as reading a file.
_FILES_PER_CALL = 16

T = TypeVar("T")


def list_images(
    sources: Iterable[str], on_error: Callable[[str, str], Any]
) -> list[str]:
    """Lists the image files of files, folders and patterns, each file once.

    Folders are searched recursively for files with an image's extension; files given by
    name need none. `*`, `?`, `[...]` and `**` are patterns unless a file has that name.

    Args:
      sources: paths and patterns.
      on_error: called with each source that matches nothing, and the reason.

    Returns:
      Paths in the order of `sources`, sorted within each folder.
    """
    found = {}
    for source in sources:
        if os.path.exists(source):
            paths = [source]
        else:
            paths = sorted(glob.glob(source, recursive=True))
        if not paths:
            on_error(source, "no such file or folder, and no file matches it")
        for path in paths:
            before = len(found)
            is_folder = os.path.isdir(path)
            images = image_files.walk(path) if is_folder else [path]
            found.update(dict.fromkeys(images))
            if is_folder and len(found) == before and path == source:
                on_error(source, "the folder contains no image")
    return list(found)


def build_batches(
    preprocessing_fn: Callable[..., tf.Tensor],
    image_height: int,
    image_width: int,
    paths: Sequence[str],
    batch_size: int,
    reasons: MutableMapping[int, str],
    num_preprocessing_threads: int = 4,
) -> tf.data.Dataset:
    """Builds the pipeline that reads, decodes, preprocesses and batches files.

    Args:
      preprocessing_fn: as for `input_pipeline.build_batches`.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      paths: image files; unreadable ones are left out.
      batch_size: images per batch, at most.
      reasons: the index of each unreadable file and the reason are added to it.
      num_preprocessing_threads: number of images that are decoded at a time.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], indices
      into `paths` int64 [batch], ascending).
    """

    @as_written
    def prepare(encoded, index):
        image = _decode(encoded, preprocessing_fn, image_height, image_width)
        image.set_shape([image_height, image_width, None])
        return image, index

    threads = num_preprocessing_threads
    images = _read_all(paths, reasons, threads).map(
        prepare, num_parallel_calls=threads, deterministic=True
    )
    return _batch(images.ignore_errors(), batch_size, threads)


def build_encoded_batches(
    paths: Sequence[str],
    batch_size: int,
    reasons: MutableMapping[int, str],
    num_preprocessing_threads: int = 4,
) -> tf.data.Dataset:
    """Builds the pipeline of `build_batches` without decoding.

    Returns:
      A `tf.data.Dataset` of (JPEG or PNG files, string [batch], indices int64 [batch]).
    """
    # One that the model cannot decode would end the whole batch.
    find_fault = image_checks.Checker().find_fault
    files = _read_all(paths, reasons, num_preprocessing_threads, find_fault)
    return _batch(files, batch_size, num_preprocessing_threads)


def fill_gaps(
    results: Iterable[tuple[int, T]], num_paths: int
) -> Iterator[tuple[int, T | None]]:
    """Yields (index, result) for every index, with None where there is no result.

    Args:
      results: pairs of (index, result), the index ascending.
      num_paths: number of indices.
    """
    expected = 0
    for index, result in results:
        for missing in range(expected, index):
            yield missing, None
        yield int(index), result
        expected = index + 1
    for missing in range(expected, num_paths):
        yield missing, None


def _read_all(
    paths: Sequence[str],
    reasons: MutableMapping[int, str],
    threads: int,
    find_fault: Callable[[image_files.EncodedImage], str] = lambda image: "",
) -> tf.data.Dataset:
    """Returns a dataset of (encoded JPEG or PNG, index), without unreadable files."""

    def read(indices):
        files = [
            _load_encoded(paths, int(index), reasons, find_fault) for index in indices
        ]
        return np.array(files, object)

    @as_written
    def load(indices):
        encoded = tf.numpy_function(read, [indices], tf.string)
        return tf.ensure_shape(encoded, [None]), indices

    @as_written
    def was_read(encoded, _):
        return tf.not_equal(encoded, "")

    chunks = tf.data.Dataset.range(len(paths)).batch(_FILES_PER_CALL)
    files = chunks.map(load, num_parallel_calls=threads, deterministic=True).unbatch()
    return files.filter(was_read)


def _load_encoded(
    paths: Sequence[str],
    index: int,
    reasons: MutableMapping[int, str],
    find_fault: Callable[[image_files.EncodedImage], str],
) -> bytes:
    """Returns a JPEG or PNG; empty, and a reason noted, if the file is unreadable."""
    try:
        image = image_files.load(paths[index])
        fault = find_fault(image)
        if fault:
            raise ValueError(fault)
        return image.encoded
    # The caller reports the reasons; TensorFlow would print an error raised here.
    except Exception as error:
        reasons[index] = getattr(error, "strerror", None) or str(error)
        return b""


def _decode(
    encoded: tf.Tensor,
    preprocessing_fn: Callable[..., tf.Tensor],
    height: int,
    width: int,
) -> tf.Tensor:
    """Preprocesses an encoded image; only the crop of a JPEG is decoded.

    Returns:
      float32 [height, width, channels].
    """
    if not hasattr(preprocessing_fn, "crop_window"):
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        return preprocessing_fn(image, height, width)

    def crop_window(shape):
        return preprocessing_fn.crop_window(shape, height, width)

    def decode_jpeg():
        return jpeg_crops.decode_jpeg(encoded, crop_window, channels=3, to_end=True)

    def decode_other():
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        return jpeg_crops.crop(image, crop_window)

    image = tf.cond(tf.io.is_jpeg(encoded), decode_jpeg, decode_other)
    image.set_shape([None, None, 3])
    return preprocessing_fn.finish(image, height, width)


def _batch(elements: tf.data.Dataset, batch_size: int, threads: int) -> tf.data.Dataset:
    options = tf.data.Options()
    # As in `input_pipeline`: its own threads, and nothing to tune.
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    batches = elements.batch(batch_size).prefetch(_PREFETCHED_BATCHES)
    return batches.with_options(options)
