"""MNIST from its four files, as `tensorflow.examples.tutorials.mnist` read it."""

import collections
import gzip
import math
import os
from collections.abc import Iterator

import numpy as np

from tf_slim_compat import tf

Datasets = collections.namedtuple("Datasets", ["train", "validation", "test"])

_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3")
_FILES += ("t10k-labels-idx1",)
_CLASSES = 10


class DataSet:
    """Images and labels, in batches that are shuffled anew in every epoch.

    Args:
      images: uint8 [N, height, width, 1], or float32.
      labels: [N], or one-hot [N, 10].
      dtype: tf.uint8 leaves the images, tf.float32 scales them to [0, 1].
      reshape: whether images become rows.
      seed: seed of the shuffling.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        dtype: tf.DType = tf.float32,
        reshape: bool = True,
        seed: int | None = None,
    ):
        if len(images) != len(labels):
            raise ValueError(
                f"There are {len(images)} images and {len(labels)} labels."
            )
        if reshape:
            images = images.reshape(len(images), math.prod(images.shape[1:]))
        if tf.as_dtype(dtype) == tf.float32:
            images = images.astype(np.float32) / 255
        self._images, self._labels = images, labels
        self._random = np.random.RandomState(seed)
        self._place = 0
        self._epochs_completed = 0

    @property
    def images(self) -> np.ndarray:
        return self._images

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    @property
    def num_examples(self) -> int:
        return len(self._images)

    @property
    def epochs_completed(self) -> int:
        return self._epochs_completed

    def _shuffle(self) -> None:
        order = self._random.permutation(len(self._images))
        self._images, self._labels = self._images[order], self._labels[order]

    def next_batch(
        self, batch_size: int, fake_data: bool = False, shuffle: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the next images and labels; the next epoch follows the last one."""
        if fake_data:
            raise ValueError("There is no fake data; make arrays with numpy.random.")
        if not len(self._images):
            raise ValueError("There are no images in this set.")
        if shuffle and self._place == 0 and self._epochs_completed == 0:
            self._shuffle()
        parts = []
        missing = batch_size
        while missing:
            if self._place == len(self._images):
                self._epochs_completed += 1
                self._place = 0
                if shuffle:
                    self._shuffle()
            chosen = slice(self._place, self._place + missing)
            parts.append((self._images[chosen], self._labels[chosen]))
            missing -= len(parts[-1][0])
            self._place += len(parts[-1][0])
        images, labels = zip(*parts, strict=True)
        return np.concatenate(images), np.concatenate(labels)


def _read_idx(path: str) -> np.ndarray:
    """Returns the uint8 array of an idx file.

    Raises:
      ValueError: if it is not one.
    """
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    rank = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    start = 4 + 4 * rank
    shape = np.frombuffer(data[4:start], ">i4") if len(data) >= start else []
    if not rank or len(data) - start != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} is not a whole idx file of bytes.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _find_files(folder: str) -> Iterator[str]:
    for name in _FILES:
        names = [f"{name}-ubyte", f"{name.replace('-idx', '.idx')}-ubyte"]
        paths = [os.path.join(folder, n + end) for n in names for end in (".gz", "")]
        found = [path for path in paths if os.path.isfile(path)]
        if not found:
            raise FileNotFoundError(
                f"There is no {name}-ubyte.gz in {folder}, and nothing is downloaded "
                "here; put the four files of MNIST there."
            )
        yield found[0]


def read_data_sets(
    train_dir: str,
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: tf.DType = tf.float32,
    reshape: bool = True,
    validation_size: int = 5000,
    seed: int | None = None,
    source_url: str = "",
) -> Datasets:
    """Returns MNIST's images and labels from the four files in a folder.

    Args:
      train_dir: folder of the files, with .gz at the end or without.
      fake_data: not supported.
      one_hot: whether labels are rows of 10 numbers.
      dtype: tf.uint8, or tf.float32 for values in [0, 1].
      reshape: whether images are rows of 784 values.
      validation_size: images of the training set that are set aside.
      seed: seed of the shuffling.
      source_url: not used; nothing is downloaded.

    Raises:
      OSError: if a file is missing.
      ValueError: if a file is damaged, or the validation set too large.
    """
    if fake_data:
        raise ValueError("There is no fake data; make arrays with numpy.random.")
    arrays = [_read_idx(path) for path in _find_files(train_dir)]
    images, labels, test_images, test_labels = arrays
    if not 0 <= validation_size <= len(images):
        raise ValueError(
            f"validation_size is {validation_size}; there are {len(images)} images."
        )
    if one_hot:
        labels, test_labels = (np.eye(_CLASSES)[n] for n in (labels, test_labels))
    n = validation_size
    parts = [(images[n:], labels[n:]), (images[:n], labels[:n])]
    parts.append((test_images, test_labels))
    return Datasets(*(DataSet(i[..., None], k, dtype, reshape, seed) for i, k in parts))
