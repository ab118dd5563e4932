"""Converts labeled images into TFRecord shards.

Labels are the names of folders, or come from a label file. Worker processes read the
images and re-encode some; then TensorFlow decodes each once, to find damaged ones.

TensorFlow is imported late, which keeps worker processes quick to start.
"""

import collections
import contextlib
import dataclasses
import os
import random
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from datasets import (
    class_folders,
    dataset_folder,
    dataset_info,
    duplicate_images,
    image_pool,
    image_source,
    label_table,
    labeled_images,
)


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """What to convert, and how.

    Attributes:
      source: without `labels` a folder laid out as `CLASS/*` or `SPLIT/CLASS/*`, see
        `class_folders`; with `labels` the folder of the images that it lists.
      dataset_dir: folder to write into.
      dataset_name: the first part of the shards' names.
      validation_fraction: fraction of the images to hold out, in [0, 1), if the source
        is not split already.
      shards: number of files per split.
      workers: number of processes that decode images; None for one per core.
      seed: seed of the order of the images and of the choice of those held out.
      skip_bad_images: whether to leave out unreadable images and faulty entries of the
        label file, or to stop at the first.
      overwrite: whether a dataset of this name may be replaced.
      labels: a label file, see `label_table`; None takes labels from folder names.
      file_column: its column of file names; None finds it.
      label_columns: its columns of labels; None for all others.
    """

    source: str | None
    dataset_dir: str | None
    dataset_name: str = "images"
    validation_fraction: float = 0.2
    shards: int = 4
    workers: int | None = None
    seed: int = 0
    skip_bad_images: bool = True
    overwrite: bool = False
    labels: str | None = None
    file_column: str | None = None
    label_columns: tuple[str, ...] | None = None


def convert(config: ConvertConfig, task: Any = None) -> dataset_info.DatasetInfo:
    """Converts the images; prints unreadable ones and the progress on stderr.

    Args:
      config: see `ConvertConfig`.
      task: a task with `name`, `label_dtype`, `read_labels`, `choose_validation` and
        `summarize`; None for classification by folder names.

    Returns:
      What was written.

    Raises:
      ValueError: if the settings or the source make no dataset; nothing is written.
      OSError: if a folder cannot be read or written.
    """
    _check_config(config, task)
    source = _find_images(config, task)
    if source.others:
        kinds = image_source.describe_kinds(source.others)
        print(f"Skipped files that are no images: {kinds}.", file=sys.stderr)
    _check_names(source.names)
    old_files = dataset_folder.find_old_files(
        config.dataset_dir, config.dataset_name, config.overwrite
    )
    with dataset_folder.stage(config.dataset_dir, config.dataset_name) as staging:
        info = _write_dataset(config, source, task, staging, bool(old_files))
        dataset_folder.publish(staging, config.dataset_dir, old_files)
    return info


def _check_config(config: ConvertConfig, task: Any) -> None:
    if not config.dataset_dir:
        raise ValueError("--dataset_dir is missing: give the folder to write into.")
    if not re.fullmatch(r"[\w.-]+", config.dataset_name):
        raise ValueError(
            f"--dataset_name={config.dataset_name!r} becomes part of file names: use "
            "letters, digits, '_', '-' and '.' only."
        )
    if not 0 <= config.validation_fraction < 1:
        raise ValueError(
            f"--validation_fraction={config.validation_fraction} must be at least 0 "
            "and less than 1, such as 0.2."
        )
    for flag in ("shards", "workers"):
        value = getattr(config, flag)
        if value is not None and value < 1:
            raise ValueError(f"--{flag}={value} must be at least 1.")
    if config.labels and task is None:
        raise ValueError("--labels needs a --task, which says what the labels mean.")
    if not config.labels:
        _check_no_labels(config, task)
    folders = [os.path.realpath(f) for f in (config.source or "", config.dataset_dir)]
    if config.source and os.path.commonpath(folders) in folders:
        raise ValueError(
            f"--source={config.source!r} and --dataset_dir={config.dataset_dir!r} must "
            "not lie within each other: choose a --dataset_dir elsewhere."
        )


def _check_no_labels(config: ConvertConfig, task: Any) -> None:
    if task is not None and task.label_dtype != "int64":
        raise ValueError(
            f"--task={task.name} cannot take its labels from folder names: give a "
            "label file with --labels."
        )
    for flag in ("file_column", "label_columns"):
        if getattr(config, flag):
            raise ValueError(f"--{flag} names columns of a label file: add --labels.")


def _find_images(config: ConvertConfig, task: Any) -> image_source.ImageSource:
    if not config.labels:
        return class_folders.scan(config.source)
    table = label_table.read(config.labels, config.file_column, config.label_columns)
    source = labeled_images.scan(
        config.source, table, config.labels, task, config.skip_bad_images
    )
    return labeled_images.choose_splits(
        source, task, config.validation_fraction, config.seed
    )


def _check_names(names: Sequence[str]) -> None:
    """Raises ValueError unless `labels.txt` reads back as exactly these names."""
    from datasets import dataset_utils  # Imports TensorFlow.

    for name in names:
        text = dataset_info.DatasetInfo("", (name,), {}, {}).to_label_text()
        found = dataset_utils.parse_labels(text.encode(errors="surrogateescape"))
        # Bytes that are not UTF-8 are read as replacement characters.
        expected = {0: os.fsencode(name).decode(errors="replace")}
        has_controls = any(unicodedata.category(char) == "Cc" for char in name)
        if has_controls or found != expected:
            raise ValueError(
                f"The class name {name!r} holds a line break or another control "
                "character, or ends with a space, which labels.txt cannot hold: rename "
                "the folder, or correct the label file."
            )


def _write_dataset(
    config: ConvertConfig,
    source: image_source.ImageSource,
    task: Any,
    staging: str,
    is_replacing: bool,
) -> dataset_info.DatasetInfo:
    """Writes all files of the dataset into the folder `staging`.

    If it replaces another dataset, no shard has the name of an old one.
    """
    from datasets import shard_writer  # Imports TensorFlow.

    images = list(source.images)
    random.Random(config.seed).shuffle(images)
    labels = collections.defaultdict(list)
    label_dtype = task.label_dtype if task else "int64"
    num_skipped = source.num_faults
    duplicates = duplicate_images.DuplicateFinder(config.source)
    loaded = _load_images(config, images, len(source.names))
    with (
        contextlib.closing(loaded),
        shard_writer.ShardWriter(staging, config.dataset_name, config.shards) as writer,
    ):
        for image, split, encoded in loaded:
            if encoded is None:
                num_skipped += 1
                continue
            labels[split].append(image.label)
            duplicates.add(image, split, encoded.encoded)
            filename = os.path.relpath(image.path, config.source).replace(os.sep, "/")
            class_name = None
            if isinstance(image.label, int):
                class_name = os.fsencode(source.names[image.label])
            writer.write(split, encoded, image.label, os.fsencode(filename), class_name)
        _check_labels(source.names, labels["train"], label_dtype == "int64")
        shards, fingerprint = writer.finish(is_replacing)
    info = dataset_info.DatasetInfo(
        name=config.dataset_name,
        class_names=source.names,
        splits=shards,
        labels={
            split: _summarize(labels[split], len(source.names), task)
            for split in shards
        },
        task=task.name if task else dataset_info.CLASSIFICATION,
        label_dtype=label_dtype,
        num_skipped=num_skipped,
        seed=config.seed,
        fingerprint=fingerprint,
        notes=(*source.notes, *duplicates.describe()),
    )
    dataset_folder.write_descriptions(staging, info)
    return info


def _load_images(
    config: ConvertConfig, images: Sequence[image_source.SourceImage], num_names: int
) -> Iterator[tuple]:
    """Yields (source image, split, encoded image), with None for unreadable ones.

    Images without a split are held out by class, the first readable ones of each, as
    the order is random already.
    """
    from datasets import image_checks  # Imports TensorFlow.

    to_hold_out = _count_held_out(images, num_names, config.validation_fraction)
    workers = config.workers or len(os.sched_getaffinity(0))
    loaded = image_pool.load_all((image.path for image in images), workers)
    checked = image_checks.check_all(loaded, workers)
    with contextlib.closing(loaded), contextlib.closing(checked):
        pairs = zip(images, checked, strict=True)
        for image, (encoded, fault) in show_progress(pairs, len(images)):
            if encoded is None:
                _report_bad(image.path, fault, config.skip_bad_images)
                yield image, "", None
                continue
            split = image.split
            if split is None:
                split = "validation" if to_hold_out[image.label] else "train"
                to_hold_out[image.label] -= split == "validation"
            yield image, split, encoded


def _count_held_out(
    images: Sequence[image_source.SourceImage], num_classes: int, fraction: float
) -> list[int]:
    """Returns how many images of each class to hold out.

    The sum is `fraction` of all images without a split, distributed over the classes by
    largest remainders; of two or more images at least one is held out and at least one
    trained on.
    """
    sizes = [0] * num_classes
    for image in images:
        if image.split is None:
            sizes[image.label] += 1
    shares = [size * fraction for size in sizes]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(num_classes), key=lambda i: counts[i] - shares[i])
    for label in by_remainder[: round(sum(shares)) - sum(counts)]:
        counts[label] += 1
    if not fraction:
        return counts
    return [
        min(max(count, 1), size - 1) if size > 1 else 0
        for count, size in zip(counts, sizes, strict=True)
    ]


def _summarize(labels: Sequence, num_names: int, task: Any) -> Mapping[str, list]:
    values = labeled_images.as_array(labels)
    if task is not None:
        return task.summarize(values, num_names)
    return {"class_counts": np.bincount(values, minlength=num_names).tolist()}


def _check_labels(names: Sequence[str], labels: Sequence, has_classes: bool) -> None:
    """Raises ValueError if there is nothing to train on."""
    if has_classes:
        counts = np.bincount(np.array(labels, np.int64), minlength=len(names))
        lost = [name for name, count in zip(names, counts, strict=True) if not count]
        if lost:
            raise ValueError(
                "Too few images can be read to train on "
                f"{', '.join(map(repr, lost[:5]))}: repair the files listed above, or "
                "remove the class from the source."
            )
    elif not labels:
        raise ValueError(
            "No image can be read to train on: repair the files listed above."
        )


def _report_bad(path: str, fault: str, skip: bool) -> None:
    sentence = f"Cannot read {path!r}: {fault}"
    if not skip:
        raise ValueError(
            f"{sentence}; repair or remove the file, or pass --on_bad_image=skip."
        )
    tqdm.write(f"{sentence}; skipped.", file=sys.stderr)


def show_progress(items: Iterable, total: int) -> Iterator:
    """Yields items; shows a bar on a terminal, a line every tenth elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit="image")
        return
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > (done - 1) * 10 // total:
            print(f"{done} of {total} images", file=sys.stderr, flush=True)
