"""A cache of decoded images: epochs after the first decode nothing.

Images are kept as decoded, uint8 and whole, under a hash of their encoded bytes. So the
order of a stream, its crops and its distortions are computed as without the cache, give
the same bits, and never come from other data.
"""

import functools
import hashlib
import io
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from datasets import image_store, shard_files
from tf_slim_compat import slim, tf

MODES = ("auto", "ram", "disk", "off")
# What automatic and requested caches may take of the free memory, or of the disk.
_AUTO_FRACTION = 0.3
_MOST_FRACTION = 0.8
# Smaller images, on average, are decoded about as fast as they are found in the cache.
_MIN_AUTO_BYTES = 300_000
# Images whose headers are read to estimate the size of all.
_SAMPLED_FILES, _SAMPLED_RECORDS = 16, 16
_MAX_KEY = 2**63 - 1


class Cache:
    """Decoded images within a graph.

    Args:
      store: an `image_store.MemoryStore` or `FileStore`.
    """

    def __init__(self, store: image_store.MemoryStore | image_store.FileStore):
        self._store = store

    def load(
        self, encoded: tf.Tensor, decode: Callable[[], tf.Tensor], channels: int
    ) -> tf.Tensor:
        """Returns the decoded image, from the cache if it is there.

        Args:
          encoded: string scalar.
          decode: adds the decoding to the graph; returns uint8 [height, width, n].
          channels: of the result; 0 for those of the image.
        """
        key = tf.strings.to_hash_bucket_fast(encoded, _MAX_KEY)
        found = tf.numpy_function(self._find, [key], tf.uint8)
        found.set_shape([None, None, channels or None])

        def decode_and_keep():
            image = decode()
            is_kept = tf.numpy_function(self._add, [key, image], tf.bool)
            with tf.control_dependencies([is_kept]):
                return tf.identity(image)

        return tf.cond(tf.size(found) > 0, lambda: found, decode_and_keep)

    def _find(self, key: np.int64) -> np.ndarray:
        image = self._store.find(int(key))
        return np.zeros([0, 0, 0], np.uint8) if image is None else image

    def _add(self, key: np.int64, image: np.ndarray) -> np.bool_:
        self._store.add(int(key), image)
        return np.True_


def open_cache(
    dataset: slim.dataset.Dataset,
    files: Sequence[str],
    mode: str,
    free_memory: int | None = None,
) -> Cache | None:
    """Opens the cache of a dataset's decoded images.

    Args:
      dataset: the dataset.
      files: its shards.
      mode: "ram"; "disk", in a file below `find_folder` that the next run uses as well;
        "off"; or "auto": "ram" if the images are large enough for it to pay and take at
        most 30 % of the free memory, else "off".
      free_memory: bytes that this process can still allocate; None if unknown.

    Returns:
      The cache, or None for no cache.

    Raises:
      ValueError: if the mode is unknown, or "ram" or "disk" is asked for and the
        dataset's decoder is not the plain one, or the images do not fit.
      OSError: if the cache's folder cannot be written.
    """
    if mode not in MODES:
        raise ValueError(f"--cache={mode} must be one of {', '.join(MODES)}.")
    if mode == "off":
        return None
    handler = find_image_handler(dataset.decoder)
    if handler is None:
        if mode == "auto":
            _log_once("Images are decoded in every epoch: the decoder is custom.")
            return None
        raise ValueError(
            f"--cache={mode} needs a dataset whose images are decoded by "
            "slim.tfexample_decoder.Image, as uint8 and without a shape; use "
            "--cache=off."
        )
    num_images = sum(shard_files.count_records(files))
    mean_bytes = estimate_mean_bytes(files, handler)
    if mode == "auto" and mean_bytes < _MIN_AUTO_BYTES:
        return None
    needed = round(num_images * mean_bytes)
    if mode == "disk":
        return _open_file(dataset, files, handler, needed)
    return _open_memory(mode, needed, free_memory)


def find_image_handler(decoder: object) -> slim.tfexample_decoder.Image | None:
    """Returns the handler of a decoder's images if it is known what it does."""
    # Subclasses may do anything.
    if type(decoder) is not slim.tfexample_decoder.TFExampleDecoder:
        return None
    handler = decoder._items_to_handlers["image"]
    is_plain = (
        type(handler) is slim.tfexample_decoder.Image
        and handler._shape is None
        and handler._dtype == tf.uint8
        and not handler._repeated
    )
    return handler if is_plain else None


def estimate_mean_bytes(
    files: Sequence[str], handler: slim.tfexample_decoder.Image
) -> float:
    """Estimates the mean bytes of a decoded image from the headers of some images."""
    step = -(-len(files) // _SAMPLED_FILES)
    sizes = [
        _measure_decoded(record, handler)
        for path in files[::step]
        for record in itertools.islice(tf.io.tf_record_iterator(path), _SAMPLED_RECORDS)
    ]
    return sum(sizes) / max(1, len(sizes))


def find_folder(files: Sequence[str]) -> str:
    """Returns the folder for the decoded images of these shards.

    It is below `$XDG_CACHE_HOME`, by default `~/.cache`.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    paths = "\n".join(map(os.path.abspath, files))
    name = hashlib.sha256(os.fsencode(paths)).hexdigest()[:16]
    return os.path.join(root, "slim-image-classifier", "decoded_images", name)


def _open_memory(mode: str, needed: int, free: int | None) -> Cache | None:
    fraction = _AUTO_FRACTION if mode == "auto" else _MOST_FRACTION
    if free is None and mode == "auto":
        _log_once("Images are decoded in every epoch: the free memory is unknown.")
        return None
    max_bytes = needed * 2 if free is None else int(free * fraction)
    if needed > max_bytes:
        sentence = (
            f"The decoded images take about {_gigabytes(needed)}, and the cache may "
            f"use {_gigabytes(max_bytes)} of memory"
        )
        if mode == "auto":
            _log_once(f"{sentence}: they are decoded in every epoch.")
            return None
        raise ValueError(
            f"{sentence}, too little for --cache=ram: use --cache=disk, or --cache=off "
            "to decode them in every epoch."
        )
    _log_once(f"Decoded images are cached in memory, about {_gigabytes(needed)}.")
    return Cache(image_store.MemoryStore(max_bytes))


def _open_file(
    dataset: slim.dataset.Dataset,
    files: Sequence[str],
    handler: slim.tfexample_decoder.Image,
    needed: int,
) -> Cache:
    folder = find_folder(files)
    info, _ = shard_files.find_split(files)
    fingerprint = info.fingerprint if info else None
    fingerprint = fingerprint or shard_files.compute_fingerprint(files)
    decoding = f"{tf.__version__} {handler._channels} {handler._dct_method!r}"
    os.makedirs(folder, exist_ok=True)
    free = int(shutil.disk_usage(folder).free * _MOST_FRACTION)
    store = image_store.FileStore(folder, f"{fingerprint} {decoding}", max_bytes=0)
    store.max_bytes = store.num_bytes + free
    if needed > store.max_bytes:
        raise ValueError(
            f"The decoded images take about {_gigabytes(needed)}, but the cache may "
            f"use {_gigabytes(store.max_bytes)} of the disk of {folder!r}, too little "
            "for --cache=disk: set XDG_CACHE_HOME to a folder on a larger disk, or use "
            "--cache=off."
        )
    _log_once(f"Decoded images are cached in {folder!r}, about {_gigabytes(needed)}.")
    return Cache(store)


def _measure_decoded(record: bytes, handler: slim.tfexample_decoder.Image) -> int:
    """Returns the bytes of a record's decoded image, from its header."""
    feature = tf.train.Example.FromString(record).features.feature
    values = feature[handler._image_key].bytes_list.value
    encoded = values[0] if values else b""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            channels = handler._channels or len(image.getbands())
            return image.width * image.height * channels
    except Exception:  # It is no image, or raw pixels.
        return len(encoded)


@functools.cache
def _log_once(message: str) -> None:
    """Logs what several input pipelines of a process have in common."""
    logging.info("%s", message)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
