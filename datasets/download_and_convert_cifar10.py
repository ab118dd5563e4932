"""Downloads CIFAR-10 and converts it; see `cifar10` for the dataset.

    download_and_convert_cifar10.run("data/cifar10")

The published files are pickles of Python 2. They are read without running anything that
they name: what a pickle asks to build becomes a record of its arguments.
"""

import functools
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from datasets import image_files, published_datasets
from datasets.source_files import SourceFiles

DATA_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
DATA_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
FILES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
LAYOUT = published_datasets.Layout(
    name="cifar10",
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    file_names={
        "train": ("cifar10_train.tfrecord",),
        "test": ("cifar10_test.tfrecord",),
    },
)
_SIZE_PX = 32
_CHANNELS = 3
_VALUES = _CHANNELS * _SIZE_PX * _SIZE_PX


def run(
    dataset_dir: str, source_dir: str | None = None, overwrite: bool = False
) -> None:
    """Downloads and converts CIFAR-10; see `published_datasets.convert`.

    Args:
      dataset_dir: folder to write into.
      source_dir: folder with the published archive, or with what it unpacks to.
      overwrite: whether to convert again what exists.
    """
    published_datasets.convert(LAYOUT, list_items, dataset_dir, source_dir, overwrite)


def list_items(files: SourceFiles) -> Iterator[published_datasets.Item]:
    """Yields the images in the order of the files."""
    folder = files.get_folder(DATA_URL, FOLDER, DATA_MD5)
    for split, names in FILES.items():
        for name in names:
            images, labels = read_batch(os.path.join(folder, name))
            for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                yield published_datasets.Item(
                    split,
                    label,
                    f"{name}/{index:04d}.png",
                    functools.partial(image_files.encode_png, pixels),
                )


def read_batch(path: str) -> tuple[np.ndarray, list[int]]:
    """Reads one of the pickled files.

    Returns:
      (uint8 [n, 32, 32, 3], n labels from 0 to 9).

    Raises:
      ValueError: if the file is damaged, or holds something else.
      OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            batch = _Unpickler(file, encoding="bytes").load()
            pixels, labels = batch[b"data"].read(), batch[b"labels"]
            if len(labels) != len(pixels) or not set(labels) <= set(range(10)):
                raise ValueError("its labels are not one of 0 to 9 for each image")
        except Exception as error:  # Damaged pickles raise any kind.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path!r} is damaged or not a file of CIFAR-10 ({reason}): replace it."
            ) from error
    images = pixels.reshape(-1, _CHANNELS, _SIZE_PX, _SIZE_PX)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), [int(n) for n in labels]


class _Array:
    """What a pickle states about a NumPy array."""

    def __init__(self, *_: Any) -> None:
        self._state = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def read(self) -> np.ndarray:
        """Returns uint8 [n, 3072]; raises ValueError if the array is another."""
        _, shape, dtype, is_fortran, values = self._state
        if not isinstance(dtype, _DataType) or dtype.name not in ("u1", "|u1"):
            raise ValueError("its data are not unsigned bytes")
        if is_fortran or len(shape) != 2 or shape[1] != _VALUES:
            raise ValueError(f"its data have the shape {shape}")
        return np.frombuffer(values, np.uint8).reshape(shape)


class _DataType:
    """What a pickle states about the type of an array."""

    def __init__(self, name: str | bytes, *_: Any) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        pass  # Byte order and the like, which a byte does not have.


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise ValueError(f"its bytes are in the encoding {encoding}")
    return text.encode(encoding)


# Stand-ins for what a pickle of an array names; Python 3 and NumPy 2 say some
# otherwise.
_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DataType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Reads plain containers and arrays; everything else is an error."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Returns the stand-in for a function or class that the file names."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _STAND_INS[module, name]
