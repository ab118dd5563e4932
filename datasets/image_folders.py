"""Finds the images of a folder that has a folder for each class.

The folder is laid out as `CLASS/*` or as `train/CLASS/*` and `validation/CLASS/*`
(or `val`; a `test/CLASS/*` beside them becomes a third split).
This module does not import TensorFlow.
"""

import collections
import dataclasses
import os
from collections.abc import Iterator

from datasets import pictures

SPLITS = ("train", "validation", "test")
_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One file: its path, its label, and the split it lies in (None: not yet split)."""

    path: str
    label: int
    split: str | None


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """What a folder holds.

    Attributes:
      class_names: sorted; the place in the list is the label.
      images: sorted by split, label and path.
      others: how many files of other kinds lie there, by extension.
    """

    class_names: tuple[str, ...]
    images: tuple[SourceImage, ...]
    others: collections.Counter


def scan(source: str) -> ImageFolder:
    """Lists all images below `source`; symbolic links are followed.

    Hidden files and folders, and files whose extension is not that of a JPEG, PNG,
    BMP, GIF or WebP, are passed over.

    Args:
      source: the folder.

    Raises:
      ValueError: there are no images, fewer than two classes, or a class without images
        to train on.
      OSError: there is no such folder.
    """
    if not source:
        raise ValueError(
            "No folder of images is given: say with --source which folder holds a "
            "folder of images for each class."
        )
    if not os.path.isdir(source):
        raise FileNotFoundError(
            f"There is no folder {source!r}: --source must be a folder that holds a "
            "folder of images for each class."
        )
    splits = _find_splits(source)
    class_names = sorted({name for folder in splits.values() for name in _list(folder)})
    others = collections.Counter()
    images = [
        SourceImage(path, label, split)
        for split, folder in splits.items()
        for label, name in enumerate(class_names)
        for path in _walk(os.path.join(folder, name), [source, folder], others)
    ]
    _check_classes(source, class_names, images, others)
    return ImageFolder(tuple(class_names), tuple(images), others)


def _find_splits(source: str) -> dict[str | None, str]:
    """Returns split name to folder; the name is None where some are to be held out."""
    folders = {
        _SPLIT_FOLDERS[name]: os.path.join(source, name)
        for name in _list(source)
        if name in _SPLIT_FOLDERS
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
    """Returns the names of the folders in a folder, sorted, without the hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")


def _walk(folder: str, above: list[str], others: collections.Counter) -> Iterator[str]:
    """Yields the images below a class's folder, and counts the other files.

    Args:
      folder: the folder; there may be none.
      above: folders that a symbolic link must not lead back to.
      others: extension to number of files, added to.
    """
    if not os.path.isdir(folder):
        return
    seen = {_identify(path) for path in above}
    for parent, folders, files in os.walk(folder, onerror=_throw, followlinks=True):
        identity = _identify(parent)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(files):
            extension = os.path.splitext(name)[1].lower()
            if name[0] == ".":
                continue
            if extension in pictures.EXTENSIONS:
                yield os.path.join(parent, name)
            else:
                others[extension or "no extension"] += 1


def _throw(error: OSError) -> None:
    raise error


def _identify(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino


def _check_classes(source, class_names, images, others):
    if not class_names:
        raise ValueError(
            f"{source!r} holds no folders: put the images of each class into a folder "
            f"of its own, such as {os.path.join(source, 'CLASS', 'photo.jpg')!r}."
        )
    if not images:
        found = ", ".join(f"{count} {kind}" for kind, count in others.most_common(8))
        raise ValueError(
            f"The {len(class_names)} folders in {source!r} hold no JPEG, PNG, BMP, GIF "
            f"or WebP images; other files there: {found or 'none'}."
        )
    if len(class_names) == 1:
        raise ValueError(
            f"{source!r} holds the single class {class_names[0]!r}: a classifier needs "
            "two or more, each in a folder of its own."
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
