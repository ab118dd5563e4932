"""Downloads MNIST and converts it; see `mnist` for the dataset.

    download_and_convert_mnist.run("data/mnist")

The files are in the IDX format (http://yann.lecun.com/exdb/mnist): big-endian integers
that give the type, the rank and the shape of an array, then its values.
"""

import functools
import gzip
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from datasets import image_files, published_datasets
from datasets.source_files import SourceFiles

# A mirror by the authors' consent; the name of each file and its MD5 checksum.
DATA_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = {
    "train": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    },
    "test": {
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
}
LAYOUT = published_datasets.Layout(
    name="mnist",
    class_names=(
        *("zero", "one", "two", "three", "four"),
        *("five", "six", "seven", "eight", "nine"),
    ),
    file_names={
        "train": ("mnist_train.tfrecord",),
        "test": ("mnist_test.tfrecord",),
    },
)
_IMAGE_SHAPE = (28, 28)
_UINT8 = 8
_MOST_BYTES = 1 << 30


def run(
    dataset_dir: str, source_dir: str | None = None, overwrite: bool = False
) -> None:
    """Downloads and converts MNIST; see `published_datasets.convert`.

    Args:
      dataset_dir: folder to write into.
      source_dir: folder with the four published files, which may be decompressed.
      overwrite: whether to convert again what exists.
    """
    published_datasets.convert(LAYOUT, list_items, dataset_dir, source_dir, overwrite)


def list_items(files: SourceFiles) -> Iterator[published_datasets.Item]:
    """Yields the images in the order of the files."""
    for split, sources in FILES.items():
        images_path, labels_path = (
            files.get_file(DATA_URL + name, md5) for name, md5 in sources.items()
        )
        images = read_idx(images_path, rank=3)
        labels = read_idx(labels_path, rank=1)
        if images.shape != (len(labels), *_IMAGE_SHAPE) or labels.max(initial=0) > 9:
            raise ValueError(
                f"{images_path!r} has the shape {images.shape}, and {labels_path!r} "
                f"{len(labels)} labels up to {labels.max(initial=0)}, but MNIST has "
                "as many images as labels, of 28 by 28 pixels, and labels up to 9: "
                "replace the files."
            )
        for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            yield published_datasets.Item(
                split,
                int(label),
                f"{split}/{index:05d}.png",
                functools.partial(image_files.encode_png, pixels),
            )


def read_idx(path: str, rank: int) -> np.ndarray:
    """Reads an array from an IDX file.

    Args:
      path: of the file; one that ends in .gz is decompressed.
      rank: that the array must have.

    Returns:
      uint8, of the shape that the file states.

    Raises:
      ValueError: if the file is damaged or holds something else.
    """
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            data = file.read(_MOST_BYTES)
        code, *shape = struct.unpack_from(f">{1 + rank}I", data)
    except (EOFError, gzip.BadGzipFile, struct.error, zlib.error) as error:
        raise ValueError(
            f"{path!r} is damaged ({error}): remove it and fetch it again."
        ) from error
    start = 4 * (1 + rank)
    if code != _UINT8 << 8 | rank or math.prod(shape) != len(data) - start:
        raise ValueError(
            f"{path!r} is not an IDX file of unsigned bytes with {rank} dimensions, or "
            "it was truncated: replace it."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
