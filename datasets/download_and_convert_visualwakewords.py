"""Downloads COCO and converts it into Visual Wake Words; see `visualwakewords`.

    download_and_convert_visualwakewords.run("data/visualwakewords")

An image has label 1 if an object of one class, a person by default, takes more than a
fraction of its area (Chowdhery et al., arXiv:1906.05721, section 3.1), else 0. The
images and annotations of COCO's 2014 release are about 20 GB.
"""

import functools
import os
from collections.abc import Iterator

import msgspec

from datasets import image_files, published_datasets
from datasets.source_files import SourceFiles

IMAGE_URLS = {
    "train": "http://images.cocodataset.org/zips/train2014.zip",
    "val": "http://images.cocodataset.org/zips/val2014.zip",
}
ANNOTATIONS_URL = (
    "http://images.cocodataset.org/annotations/annotations_trainval2014.zip"
)
SMALL_OBJECT_AREA_THRESHOLD = 0.005
FOREGROUND_CLASS = "person"
_NUM_SHARDS = {"train": 100, "val": 10}
_FILE_NAMES = {
    split: published_datasets.number_files(f"{split}.record-%05d-of-%05d", count)
    for split, count in _NUM_SHARDS.items()
}


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Object(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]  # Left, top, width and height in pixels.


class _Category(msgspec.Struct):
    id: int
    name: str


class _Annotations(msgspec.Struct):
    """What is used of COCO's annotations (https://cocodataset.org/#format-data)."""

    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category]


def run(
    dataset_dir: str,
    small_object_area_threshold: float = SMALL_OBJECT_AREA_THRESHOLD,
    foreground_class_of_interest: str = FOREGROUND_CLASS,
    source_dir: str | None = None,
    overwrite: bool = False,
) -> None:
    """Downloads and converts the images; see `published_datasets.convert`.

    Args:
      dataset_dir: folder to write into.
      small_object_area_threshold: fraction of the image's area, in [0, 1), that an
        object's box must exceed to count.
      foreground_class_of_interest: COCO's name of the class to look for.
      source_dir: folder with the published archives, or with what they unpack to.
      overwrite: whether to convert again what exists.
    """
    if not 0 <= small_object_area_threshold < 1:
        raise ValueError(
            f"--small_object_area_threshold={small_object_area_threshold} must be at "
            "least 0 and less than 1, such as 0.005."
        )
    layout = published_datasets.Layout(
        "visualwakewords", ("background", foreground_class_of_interest), _FILE_NAMES
    )
    list_all = functools.partial(
        list_items,
        threshold=small_object_area_threshold,
        foreground=foreground_class_of_interest,
    )
    published_datasets.convert(layout, list_all, dataset_dir, source_dir, overwrite)


def list_items(
    files: SourceFiles, threshold: float, foreground: str
) -> Iterator[published_datasets.Item]:
    """Yields the images in the order of the annotations.

    Args:
      files: finds the images and annotations.
      threshold: see `small_object_area_threshold` of `run`.
      foreground: see `foreground_class_of_interest` of `run`.
    """
    annotations = files.get_folder(ANNOTATIONS_URL, "annotations")
    for split, url in IMAGE_URLS.items():
        folder = files.get_folder(url, f"{split}2014")
        path = os.path.join(annotations, f"instances_{split}2014.json")
        for name, label in read_labels(path, threshold, foreground).items():
            yield published_datasets.Item(
                split,
                label,
                name,
                functools.partial(image_files.load, os.path.join(folder, name)),
            )


def read_labels(path: str, threshold: float, foreground: str) -> dict[str, int]:
    """Reads which images show a large enough object of a class.

    Args:
      path: JSON file of COCO's annotations.
      threshold: see `small_object_area_threshold` of `run`.
      foreground: see `foreground_class_of_interest` of `run`.

    Returns:
      File name to 1 or 0, in the order of the file.

    Raises:
      ValueError: if the file is damaged, or lacks the class.
      OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            found = msgspec.json.decode(file.read(), type=_Annotations)
        except msgspec.DecodeError as error:
            raise ValueError(
                f"{path!r} is damaged or not a file of COCO's annotations ({error}): "
                "replace it."
            ) from error
    wanted = {kind.id for kind in found.categories if kind.name == foreground}
    if not wanted:
        names = ", ".join(kind.name for kind in found.categories)
        raise ValueError(
            f"COCO has no class --foreground_class_of_interest={foreground!r}; its "
            f"classes are {names}."
        )
    areas = {image.id: image.height * image.width for image in found.images}
    positive = {
        item.image_id
        for item in found.annotations
        if item.category_id in wanted
        and item.bbox[2] * item.bbox[3] > threshold * areas.get(item.image_id, 0)
    }
    return {
        os.path.basename(image.file_name): int(image.id in positive)
        for image in found.images
    }
