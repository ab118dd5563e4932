"""Finds the images of a folder with one subfolder per class.

The layout is `CLASS/*`, or `train/CLASS/*` and `validation/CLASS/*` (or `val`), with an
optional third split `test/CLASS/*`.

This module does not import TensorFlow.
"""

import collections
import os
from collections.abc import Sequence

from datasets import image_files
from datasets.image_source import (
    SPLIT_NAMES,
    ImageSource,
    SourceImage,
    check_source,
    describe_kinds,
)


def scan(source: str | None) -> ImageSource:
    """Lists all images below `source`, with the sorted class names as labels.

    Symbolic links are followed. Hidden files and folders, and files without the
    extension of a JPEG, PNG, BMP, GIF or WebP, are skipped.

    Args:
      source: the folder.

    Returns:
      Images sorted by split, label and path.

    Raises:
      ValueError: if there are no images, fewer than two classes, or a class without
        images to train on.
      OSError: if there is no such folder.
    """
    check_source(source, "one folder of images per class")
    splits = _find_splits(source)
    class_names = sorted({name for folder in splits.values() for name in _list(folder)})
    others = collections.Counter()
    images = [
        SourceImage(path, label, split)
        for split, folder in splits.items()
        for label, name in enumerate(class_names)
        if os.path.isdir(os.path.join(folder, name))
        for path in image_files.walk(
            os.path.join(folder, name), [source, folder], others, _raise
        )
    ]
    _check_classes(source, class_names, images, others)
    return ImageSource(tuple(class_names), tuple(images), others)


def _find_splits(source: str) -> dict[str | None, str]:
    """Maps splits to folders; None is the split of images still to be split."""
    folders = {
        SPLIT_NAMES[name]: os.path.join(source, name)
        for name in _list(source)
        if name in SPLIT_NAMES
    }
    # A class may be called "train" too.
    if "train" in folders and (
        "validation" in folders or len(folders) == len(_list(source))
    ):
        if "validation" not in folders:
            folders[None] = folders.pop("train")
        return folders
    return {None: source}


def _list(folder: str) -> list[str]:
    """Returns the names of the subfolders, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")


def _raise(error: OSError) -> None:
    raise error


def _check_classes(
    source: str,
    class_names: Sequence[str],
    images: Sequence[SourceImage],
    others: collections.Counter,
) -> None:
    if not class_names:
        raise ValueError(
            f"{source!r} holds no folders: put the images of each class into their own "
            f"folder, such as {os.path.join(source, 'CLASS', 'photo.jpg')!r}, or give "
            "a label file with --labels."
        )
    if not images:
        raise ValueError(
            f"The {len(class_names)} folders in {source!r} hold no JPEG, PNG, BMP, GIF "
            f"or WebP images; other files there: {describe_kinds(others) or 'none'}."
        )
    if len(class_names) == 1:
        raise ValueError(
            f"{source!r} holds the single class {class_names[0]!r}: a classifier needs "
            "at least two classes, each in its own folder."
        )
    trained = {image.label for image in images if image.split in (None, "train")}
    empty = [name for i, name in enumerate(class_names) if i not in trained]
    if empty:
        more = ", ..." if len(empty) > 5 else ""
        raise ValueError(
            f"There are no images to train on in {source!r} for "
            f"{', '.join(map(repr, empty[:5]))}{more}: add images, or remove the empty "
            "folder."
        )
