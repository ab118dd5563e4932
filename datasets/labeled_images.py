"""Finds the images that a label file lists, and splits them.

This module does not import TensorFlow.
"""

import collections
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets import image_files, label_table
from datasets.image_source import ImageSource, SourceImage, check_source


def scan(
    source: str | None,
    table: label_table.LabelTable,
    table_path: str,
    task: Any,
    skip_faults: bool,
) -> ImageSource:
    """Finds the images of a label file.

    What is wrong with the label file is printed on stderr, with line numbers.

    Args:
      source: the folder to which file names are relative.
      table: contents of the label file.
      table_path: path of the label file, for messages.
      task: a task, of which `read_labels` is used.
      skip_faults: whether to leave out images with faulty entries.

    Returns:
      The images in the order of the label file; their split is None where the label
      file has no column for it, or no image for validation.

    Raises:
      ValueError: if no image can be used; for the first fault unless `skip_faults`.
      OSError: if there is no folder `source`.
    """
    check_source(source, "the images of the label file")
    faults = dict(table.faults)
    rows = []
    for row in table.rows:
        fault = _find_fault(source, row.file)
        if fault:
            faults[row.line] = fault
        else:
            rows.append(row)
    labels = None
    if rows:
        cells = zip(*(row.cells for row in rows), strict=True)
        labels = task.read_labels(
            dict(zip(table.columns, map(list, cells), strict=True))
        )
        faults.update((rows[i].line, fault) for i, fault in labels.faults.items())
    _report_faults(table_path, faults, table.repeats, skip_faults)
    others = _report_unlisted(source, table, table_path)
    sound = [i for i in range(len(rows)) if i not in labels.faults]
    if not sound:
        raise ValueError(
            f"{table_path!r} lists no usable image of {source!r}: its file names must "
            "be relative to --source, each with its labels."
        )
    if labels.values.ndim == 1 and len(labels.names) == 1:
        raise ValueError(
            f"{table_path!r} has the single class {labels.names[0]!r}: a classifier "
            "needs at least two classes."
        )
    has_validation = any(row.split == "validation" for row in rows)
    images = tuple(
        SourceImage(
            path=os.path.join(source, rows[i].file),
            label=_as_label(labels.values[i]),
            split=None
            if rows[i].split == "train" and not has_validation
            else rows[i].split,
        )
        for i in sound
    )
    return ImageSource(tuple(labels.names), images, others, len(faults))


def choose_splits(
    source: ImageSource, task: Any, validation_fraction: float, seed: int
) -> ImageSource:
    """Returns the source with a split for every image.

    Args:
      source: images, some without a split.
      task: a task, of which `choose_validation` is used.
      validation_fraction: fraction of the images without a split to hold out.
      seed: the choice is a function of it.
    """
    undecided = [i for i, image in enumerate(source.images) if image.split is None]
    held_out = set()
    if undecided and validation_fraction:
        values = as_array([source.images[i].label for i in undecided])
        chosen = task.choose_validation(values, validation_fraction, seed)
        held_out = {undecided[i] for i in np.flatnonzero(chosen)}
    images = tuple(
        dataclasses.replace(
            image, split=image.split or ("validation" if i in held_out else "train")
        )
        for i, image in enumerate(source.images)
    )
    return dataclasses.replace(source, images=images)


def as_array(labels: Sequence[int | tuple[float, ...]]) -> np.ndarray:
    """Returns labels as int64 [n], or float32 [n, names]."""
    is_float = bool(labels) and isinstance(labels[0], tuple)
    return np.array(labels, np.float32 if is_float else np.int64)


def _as_label(value: np.ndarray) -> int | tuple[float, ...]:
    return tuple(value.tolist()) if np.ndim(value) else int(value)


def _find_fault(source: str, file: str) -> str | None:
    if os.path.isabs(file) or file.split(os.sep)[0] == os.pardir:
        return f"{file!r} is not a file name relative to --source"
    path = os.path.join(source, file)
    if not os.path.isfile(path):
        kind = image_files.find_other_type(path)
        if kind:
            return f"{file!r} is a {kind}, not a regular file"
        return f"there is no file {file!r} in {source!r}"
    return None


def _report_faults(
    table_path: str,
    faults: Mapping[int, str],
    repeats: Mapping[int, str],
    skip_faults: bool,
) -> None:
    for line, reason in sorted({**repeats, **faults}.items()):
        sentence = f"{table_path}, line {line}: {reason}"
        if line in faults and not skip_faults:
            raise ValueError(
                f"{sentence}; correct it, or pass --on_bad_image=skip to leave out "
                "such images."
            )
        outcome = "skipped" if line in faults else "ignored"
        print(f"{sentence}; {outcome}.", file=sys.stderr)


def _report_unlisted(
    source: str, table: label_table.LabelTable, table_path: str
) -> collections.Counter:
    """Reports how many images are not listed; returns how many files are no images."""
    others = collections.Counter()
    found = image_files.walk(source, others=others)
    unlisted = sum(os.path.relpath(path, source) not in table.files for path in found)
    if unlisted:
        print(
            f"Images in {source!r} that {table_path!r} does not label: {unlisted}; "
            "left out.",
            file=sys.stderr,
        )
    return others
