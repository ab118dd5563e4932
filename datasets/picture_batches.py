"""Batches of picture files that are in no dataset, prepared as evaluation does."""

import glob
import os

import numpy as np

from datasets import jpeg_crops, picture_headers, pictures
from tf_slim_compat import as_written, tf

_PREFETCHED_BATCHES = 2
# A call of Python from the pipeline costs as much as reading a file.
_FILES_A_CALL = 16


def list_pictures(sources, on_error):
    """The picture files that files, folders and patterns stand for, each once.

    Folders are searched to the bottom for files with a picture's ending, links
    included, hidden ones not; a file that is named itself is taken whatever it is
    called. `*`, `?`, `[...]` and `**` are understood where no file has that name.

    Args:
      sources: paths and patterns.
      on_error: called with each that stands for nothing, and the reason.

    Returns:
      Paths in the order of `sources`; those of a folder sorted.
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
            found.update(dict.fromkeys(_walk(path) if is_folder else [path]))
            if is_folder and len(found) == before and path == source:
                on_error(source, "the folder holds no picture")
    return list(found)


def build_batches(
    preprocessing_fn,
    image_height,
    image_width,
    paths,
    batch_size,
    reasons,
    num_preprocessing_threads=4,
):
    """Builds the pipeline that reads, decodes, preprocesses and batches files.

    Args:
      preprocessing_fn: as for `input_pipeline.build_batches`.
      image_height: of the batch, in pixels.
      image_width: of the batch, in pixels.
      paths: picture files; those that cannot be read are left out.
      batch_size: pictures a batch, at most.
      reasons: a dict, to which index and reason of what is left out are added.
      num_preprocessing_threads: how many pictures are decoded at a time.

    Returns:
      A `tf.data.Dataset` of (images float32 [batch, height, width, channels], indices
      of `paths` int64 [batch], ascending).
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


def build_encoded_batches(paths, batch_size, reasons, num_preprocessing_threads=4):
    """As `build_batches`, but of undecoded JPEG and PNG files.

    Returns:
      A `tf.data.Dataset` of (string [batch], indices int64 [batch]).
    """
    files = _read_all(paths, reasons, num_preprocessing_threads)
    return _batch(files, batch_size, num_preprocessing_threads)


def fill_gaps(results, num_paths):
    """Yields (index, result or None) for every index; `results` lack some.

    Args:
      results: iterable of (index, result), the index ascending.
      num_paths: how many there would be.
    """
    expected = 0
    for index, result in results:
        for missing in range(expected, index):
            yield missing, None
        yield int(index), result
        expected = index + 1
    for missing in range(expected, num_paths):
        yield missing, None


def _walk(top):
    """Yields the picture files below a folder; a link back to one above ends there."""
    seen = set()
    for folder, subfolders, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            if extension in pictures.EXTENSIONS and name[0] != ".":
                yield os.path.join(folder, name)


def _read_all(paths, reasons, threads):
    """A dataset of (encoded JPEG or PNG, index), without what cannot be read."""

    def read(indices):
        files = [_load_encoded(paths, int(index), reasons) for index in indices]
        return np.array(files, object)

    @as_written
    def load(indices):
        encoded = tf.numpy_function(read, [indices], tf.string)
        return tf.ensure_shape(encoded, [None]), indices

    @as_written
    def was_read(encoded, _):
        return tf.not_equal(encoded, "")

    chunks = tf.data.Dataset.range(len(paths)).batch(_FILES_A_CALL)
    files = chunks.map(load, num_parallel_calls=threads, deterministic=True).unbatch()
    return files.filter(was_read)


def _load_encoded(paths, index, reasons):
    """The bytes of a JPEG or PNG; none, and a reason, where it cannot be read."""
    try:
        with open(paths[index], "rb") as file:
            data = file.read()
        if picture_headers.is_plain(data):
            return data
        return pictures.load_picture(paths[index]).encoded
    # Whatever is wrong with a file is told later; here TensorFlow would print it.
    except Exception as error:
        reasons[index] = getattr(error, "strerror", None) or str(error)
        return b""


def _decode(encoded, preprocessing_fn, height, width):
    """What evaluation makes of an encoded picture: only the crop of a JPEG is decoded.

    Returns:
      float32 [height, width, channels].
    """
    if not hasattr(preprocessing_fn, "crop_window"):
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        return preprocessing_fn(image, height, width)

    def crop_window(shape):
        return preprocessing_fn.crop_window(shape, height, width)

    def decode_jpeg():
        return jpeg_crops.decode_jpeg(encoded, crop_window, channels=3)

    def decode_other():
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        return jpeg_crops.crop(image, crop_window)

    image = tf.cond(tf.io.is_jpeg(encoded), decode_jpeg, decode_other)
    image.set_shape([None, None, 3])
    return preprocessing_fn.finish(image, height, width)


def _batch(elements, batch_size, threads):
    options = tf.data.Options()
    # As in `input_pipeline`: threads of its own, and nothing to tune.
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    batches = elements.batch(batch_size).prefetch(_PREFETCHED_BATCHES)
    return batches.with_options(options)
