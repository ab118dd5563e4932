"""Downloads the photos of flowers and converts them; see `flowers` for the dataset.

download_and_convert_flowers.run("data/flowers")
"""

import functools
import os
import random
from collections.abc import Iterator

from datasets import image_files, published_datasets
from datasets.source_files import SourceFiles

DATA_URL = "http://download.tensorflow.org/example_images/flower_photos.tgz"
FOLDER = "flower_photos"
NUM_VALIDATION = 350
NUM_SHARDS = 5
SEED = 0
LAYOUT = published_datasets.Layout(
    name="flowers",
    class_names=("daisy", "dandelion", "roses", "sunflowers", "tulips"),
    file_names={
        split: published_datasets.number_files(
            f"flowers_{split}_%05d-of-%05d.tfrecord", NUM_SHARDS
        )
        for split in ("train", "validation")
    },
)


def run(
    dataset_dir: str, source_dir: str | None = None, overwrite: bool = False
) -> None:
    """Downloads and converts the photos; see `published_datasets.convert`.

    Args:
      dataset_dir: folder to write into.
      source_dir: folder with the published archive, or with what it unpacks to.
      overwrite: whether to convert again what exists.
    """
    published_datasets.convert(LAYOUT, list_items, dataset_dir, source_dir, overwrite)


def list_items(files: SourceFiles) -> Iterator[published_datasets.Item]:
    """Yields the photos in random order, those for validation first.

    Raises:
      ValueError: if there are too few photos, or none of a kind.
    """
    folder = files.get_folder(DATA_URL, FOLDER)
    photos = []
    for label, name in enumerate(LAYOUT.class_names):
        paths = list(image_files.walk(os.path.join(folder, name)))
        if not paths:
            raise ValueError(
                f"There are no images in {os.path.join(folder, name)!r}: unpack the "
                "archive again."
            )
        photos += [(path, label) for path in paths]
    if len(photos) <= NUM_VALIDATION:
        raise ValueError(
            f"{folder!r} has {len(photos)} images, of which the first {NUM_VALIDATION} "
            "are for validation, so none is left to train on: unpack the archive again."
        )
    random.Random(SEED).shuffle(photos)
    for index, (path, label) in enumerate(photos):
        yield published_datasets.Item(
            "validation" if index < NUM_VALIDATION else "train",
            label,
            os.path.relpath(path, folder),
            functools.partial(image_files.load, path),
        )
