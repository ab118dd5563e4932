"""Finds the images of a folder with one subfolder per class.

The layout is `CLASS/*`, or `SPLIT/CLASS/*` with the splits train, validation and test
under the names that `image_source.find_split` recognizes:

- Without validation images, some of the training images are held out.
- A folder that holds nothing but one folder of folders is replaced by that folder.
- A class folder may have subfolders, but must hold at least one image itself: in
  `2019/water/*` the class could be either name.

This module does not import TensorFlow.
"""

import collections
import dataclasses
import difflib
import os
from collections.abc import Collection, Mapping, Sequence

from datasets import image_files
from datasets.image_source import (
    SPLITS,
    ImageSource,
    SourceImage,
    check_source,
    describe_kinds,
    find_split,
    list_names,
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
      ValueError: if there are no images, fewer than two classes, a class without
        images to train on, or if classes or splits are ambiguous.
      OSError: if there is no such folder.
    """
    check_source(source, "one folder of images per class")
    root = _unwrap(source)
    notes = [f"Read from {root!r}, the only folder in it."] if root != source else []
    splits = _find_splits(root, notes)
    listed = {folder: _list(folder) for folder in splits.values()}
    _check_nesting(listed)
    _note_images_beside(source, {root: _list(root), **listed}, notes)
    class_names = sorted({name for f in listed.values() for name in f.subfolders})
    _note_similar(class_names, notes)
    others = collections.Counter()
    images = [
        SourceImage(path, label, split)
        for split, folder in splits.items()
        for label, name in enumerate(class_names)
        if name in listed[folder].subfolders
        for path in image_files.walk(
            os.path.join(folder, name), [source, folder], others, _raise
        )
    ]
    _check_classes(source, class_names, images, others)
    return ImageSource(tuple(class_names), tuple(images), others, notes=tuple(notes))


@dataclasses.dataclass(frozen=True)
class _Folder:
    """The visible subfolders of a folder and the images in it, by name, sorted."""

    subfolders: Sequence[str]
    images: Sequence[str]


def _list(folder: str) -> _Folder:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not image_files.is_hidden(entry.name)]
    folders = sorted(entry.name for entry in visible if entry.is_dir())
    images = sorted(
        entry.name
        for entry in visible
        if image_files.has_extension(entry.name) and not entry.is_dir()
    )
    return _Folder(folders, images)


def _unwrap(source: str) -> str:
    """Descends while a folder holds nothing but one folder of folders."""
    path, seen = source, set()
    while os.path.realpath(path) not in seen:
        seen.add(os.path.realpath(path))
        inside = _list(path)
        if inside.images or len(inside.subfolders) != 1:
            return path
        only = os.path.join(path, inside.subfolders[0])
        below = _list(only)
        if find_split(inside.subfolders[0]) or below.images or not below.subfolders:
            return path
        path = only
    return source


def _find_splits(root: str, notes: list[str]) -> dict[str | None, str]:
    """Maps splits to folders; None is the split of images still to be split."""
    names = _list(root).subfolders
    known = {name: find_split(name) for name in names if find_split(name)}
    # A class may be called "train" too; it holds images, not folders.
    found = {name for name in known if _list(os.path.join(root, name)).subfolders}
    if not found:
        if names and len(known) == len(names):
            raise ValueError(
                f"{list_names(names)} in {root!r} have the names of splits but hold no "
                "class folders: put the images of each class into their own folder, "
                f"such as {os.path.join(root, names[0], 'CLASS', 'photo.jpg')!r}."
            )
        return {None: root}
    by_split = {}
    for name in sorted(found):
        by_split.setdefault(known[name], []).append(name)
    others = [
        name
        for name in names
        if name not in found and any(image_files.walk(os.path.join(root, name)))
    ]
    _check_splits(root, by_split, [name for name in others if name not in known])
    if others:
        notes.append(
            f"Left out {list_names(others)}: not train, validation or test with a "
            "folder per class."
        )
    folders = {split: names[0] for split, names in by_split.items()}
    shown = (f"{split} from {folders[split]!r}" for split in SPLITS if split in folders)
    notes.append(f"Splits: {', '.join(shown)}.")
    if "validation" not in folders:
        notes.append(
            "There is no validation folder: --validation_fraction of "
            f"{folders['train']!r} was held out."
        )
        folders[None] = folders.pop("train")
    return {split: os.path.join(root, name) for split, name in folders.items()}


def _check_splits(
    root: str, by_split: Mapping[str, Sequence[str]], others: Sequence[str]
) -> None:
    """Raises ValueError unless it is clear which folder is which split."""
    for split, names in by_split.items():
        if len(names) > 1:
            raise ValueError(
                f"{list_names(names)} in {root!r} would all be the {split} split: keep "
                "one of them, or merge them."
            )
    found = sorted(name for names in by_split.values() for name in names)
    if others and not {"train", "validation"} <= by_split.keys():
        raise ValueError(
            f"{root!r} mixes folders of splits ({list_names(found)}) with others "
            f"({list_names(others)}): put every class folder into a folder train or "
            "validation, or give a folder that holds only class folders as --source."
        )
    if "train" not in by_split:
        raise ValueError(
            f"{root!r} holds {list_names(found)} but no training images: add a folder "
            f"'train', or give {os.path.join(root, found[0])!r} as --source to train "
            "on its images."
        )


def _check_nesting(listed: Mapping[str, _Folder]) -> None:
    """Raises ValueError if a class folder holds images only in its subfolders."""
    for folder, classes in listed.items():
        nested = {}
        for name in classes.subfolders:
            path = os.path.join(folder, name)
            inside = _list(path)
            if not inside.images and any(image_files.walk(path, [folder])):
                nested[name] = inside.subfolders
        if nested:
            name, subfolders = next(iter(nested.items()))
            inner = sorted({name for names in nested.values() for name in names})
            raise ValueError(
                f"{os.path.join(folder, name)!r} holds no images itself, only folders "
                f"({list_names(subfolders)}), so the classes could be "
                f"{list_names(classes.subfolders)} or {list_names(inner)}: move "
                f"the images of each class into one folder directly below {folder!r}."
            )


def _note_images_beside(
    source: str, listed: Mapping[str, _Folder], notes: list[str]
) -> None:
    paths = [
        os.path.join(folder, name)
        for folder, inside in listed.items()
        for name in inside.images
    ]
    if paths:
        notes.append(
            f"Left out images beside the class folders: {len(paths)}, such as "
            f"{os.path.relpath(paths[0], source)!r}."
        )


def _note_similar(class_names: Collection[str], notes: list[str]) -> None:
    spellings = collections.defaultdict(list)
    for name in class_names:
        spellings[name.casefold().strip()].append(name)
    for names in spellings.values():
        if len(names) > 1:
            notes.append(
                f"{list_names(names)} are separate classes: if they are the same, "
                "merge the folders and convert again."
            )


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
        known = {class_names[i].casefold(): class_names[i] for i in trained}
        near = difflib.get_close_matches(empty[0].casefold(), known, n=1, cutoff=0.8)
        hint = f" There are images of {known[near[0]]!r}." if near else ""
        raise ValueError(
            f"There are no images to train on in {source!r} for {list_names(empty)}: "
            f"add images, or rename or remove the folder.{hint}"
        )
