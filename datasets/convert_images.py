"""Converts a folder of images into TFRecord shards.

All images are decoded once, in worker processes, to find the damaged ones. Records are
written below a hidden folder and moved to their places at the very end,
`dataset_info.json` last: what was interrupted never looks whole.

TensorFlow is imported late, so that worker processes start fast.
"""

import collections
import contextlib
import dataclasses
import os
import random
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from tqdm import tqdm

from datasets import dataset_info, image_folders, picture_pool

_LABELS_FILENAME = "labels.txt"
_MAX_ROWS = 30


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """What to convert, and how.

    Attributes:
      source: a folder laid out as `CLASS/*`, or `train/CLASS/*` and
        `validation/CLASS/*`.
      dataset_dir: the folder to write into.
      dataset_name: the first part of the shards' names.
      validation_fraction: in [0, 1): how much of each class to hold out, where the
        source is not split already.
      shards: how many files for each split.
      workers: how many processes decode; None is one for each core.
      seed: of the order of the images and the choice of those held out.
      skip_bad_images: whether to leave out unreadable images or to stop at the first.
      overwrite: whether a dataset of this name may be replaced.
    """

    source: str
    dataset_dir: str
    dataset_name: str = "images"
    validation_fraction: float = 0.2
    shards: int = 4
    workers: int | None = None
    seed: int = 0
    skip_bad_images: bool = True
    overwrite: bool = False


def convert(config: ConvertConfig) -> dataset_info.DatasetInfo:
    """Converts the images, naming unreadable ones and the progress on stderr.

    Returns:
      What was written.

    Raises:
      ValueError: the settings or the source make no dataset; nothing was written.
      OSError: a folder cannot be read or written.
    """
    _check_config(config)
    folder = image_folders.scan(config.source)
    _report_others(folder.others)
    staging = os.path.join(config.dataset_dir, f".{config.dataset_name}.partial")
    old_files = _find_old_files(config, staging)
    with _made(staging, config.dataset_dir):
        info = _write_dataset(config, folder, staging)
        _publish(staging, config.dataset_dir, old_files)
    return info


def describe(info: dataset_info.DatasetInfo, dataset_dir: str) -> str:
    """Returns a table of the images by class and split, and the command to train."""
    splits = list(info.splits)
    rows = [
        (name, *(info.class_counts[split][label] for split in splits))
        for label, name in enumerate(info.class_names)
    ]
    if len(rows) > _MAX_ROWS:
        rows[_MAX_ROWS:] = [
            (f"({len(rows) - _MAX_ROWS} more)", *("..." for _ in splits))
        ]
    rows = [
        ("class", *splits),
        *rows,
        ("total", *(info.num_samples(split) for split in splits)),
    ]
    widths = [
        max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)
    ]
    lines = [
        "  ".join(
            [str(row[0]).ljust(widths[0])]
            + [str(cell).rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
    if info.num_skipped:
        lines.append(f"Unreadable files left out, named above: {info.num_skipped}.")
    lines += [
        f"Written to {dataset_dir}. Next:",
        "  python train_image_classifier.py --dataset_name=image_folder "
        f"--dataset_dir={shlex.quote(dataset_dir)} --train_dir=train_dir",
    ]
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def _check_config(config: ConvertConfig) -> None:
    if not config.dataset_dir:
        raise ValueError("No folder to write into is given: say with --dataset_dir.")
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
            raise ValueError(f"--{flag}={value} must be 1 or more.")
    folders = [os.path.realpath(f) for f in (config.source or "", config.dataset_dir)]
    if config.source and os.path.commonpath(folders) in folders:
        raise ValueError(
            f"--source={config.source!r} and --dataset_dir={config.dataset_dir!r} must "
            "not lie within each other: choose a --dataset_dir elsewhere."
        )


def _find_old_files(config: ConvertConfig, staging: str) -> list[str]:
    """Returns the files that the new dataset replaces.

    Raises:
      ValueError: they may not be replaced.
    """
    if not os.path.isdir(config.dataset_dir):
        return []
    shard = re.compile(re.escape(config.dataset_name) + r"_\w+_\d+-of-\d+\.tfrecord")
    names = (dataset_info.FILE_NAME, _LABELS_FILENAME)
    found = [
        os.path.join(config.dataset_dir, name)
        for name in sorted(os.listdir(config.dataset_dir))
        if shard.fullmatch(name) or name in names
    ]
    info_path = os.path.join(config.dataset_dir, dataset_info.FILE_NAME)
    if info_path in found:
        info = dataset_info.load(info_path)
        name = info.name if info else "of another program"
        if name != config.dataset_name:
            raise ValueError(
                f"{config.dataset_dir!r} already holds the dataset {name!r}: choose "
                "another --dataset_dir, as a folder can hold one dataset."
            )
    # A run that was interrupted while it moved its files leaves its own behind.
    interrupted = info_path not in found and os.path.exists(
        os.path.join(staging, dataset_info.FILE_NAME)
    )
    if found and not config.overwrite and not interrupted:
        raise ValueError(
            f"{config.dataset_dir!r} already holds {os.path.basename(found[-1])!r}: "
            "pass --overwrite to replace the dataset, or choose another --dataset_dir."
        )
    return found


def _write_dataset(
    config: ConvertConfig, folder: image_folders.ImageFolder, staging: str
) -> dataset_info.DatasetInfo:
    """Writes all files of the dataset into the folder `staging`."""
    from datasets import shard_writer  # Imports TensorFlow.

    images = list(folder.images)
    random.Random(config.seed).shuffle(images)
    names = folder.class_names
    to_hold_out = _count_held_out(images, len(names), config.validation_fraction)
    counts = {split: [0] * len(names) for split in image_folders.SPLITS}
    num_skipped = 0
    workers = config.workers or len(os.sched_getaffinity(0))
    loaded = picture_pool.load_all((image.path for image in images), workers)
    with (
        contextlib.closing(loaded),
        shard_writer.ShardWriter(staging, config.dataset_name, config.shards) as writer,
    ):
        pairs = zip(images, loaded, strict=True)
        for image, (picture, fault) in _show_progress(pairs, len(images)):
            if picture is None:
                _report_bad(image.path, fault, config.skip_bad_images)
                num_skipped += 1
                continue
            # By class the first readable ones, in an order that is random already.
            split = image.split or (
                "validation" if to_hold_out[image.label] else "train"
            )
            to_hold_out[image.label] -= image.split is None and split == "validation"
            counts[split][image.label] += 1
            filename = os.path.relpath(image.path, config.source).replace(os.sep, "/")
            name = names[image.label]
            writer.write(
                split, picture, image.label, os.fsencode(filename), os.fsencode(name)
            )
        _check_counts(names, counts["train"])
        shards, fingerprint = writer.finish()
    info = dataset_info.DatasetInfo(
        name=config.dataset_name,
        class_names=names,
        splits=shards,
        class_counts={split: tuple(counts[split]) for split in shards},
        num_skipped=num_skipped,
        seed=config.seed,
        fingerprint=fingerprint,
    )
    labels = "".join(f"{label}:{name}\n" for label, name in enumerate(names))
    _write_text(os.path.join(staging, _LABELS_FILENAME), labels)
    _write_text(os.path.join(staging, dataset_info.FILE_NAME), info.to_json())
    return info


def _count_held_out(
    images: Sequence[image_folders.SourceImage], num_classes: int, fraction: float
) -> list[int]:
    """Returns how many images of each class to hold out.

    The sum is `fraction` of all images, and each class gives its share by largest
    remainders; but of two images or more at least one is held out and one trained on.
    """
    sizes = [0] * num_classes
    for image in images:
        sizes[image.label] += image.split is None
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


def _check_counts(names: Sequence[str], counts: Sequence[int]) -> None:
    lost = [name for name, count in zip(names, counts, strict=True) if not count]
    if lost:
        raise ValueError(
            "Too few images can be read to train on "
            f"{', '.join(map(repr, lost[:5]))}: mend the files named above, or remove "
            "the class's folder."
        )


def _write_text(path: str, text: str) -> None:
    # Folder names that are not UTF-8 come as lone surrogates.
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _report_others(others: collections.Counter) -> None:
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(8))
        print(f"Passed over files of other kinds: {kinds}.", file=sys.stderr)


def _report_bad(path: str, fault: str, skip: bool) -> None:
    sentence = f"Cannot read {path!r}: {fault}"
    if not skip:
        raise ValueError(
            f"{sentence}; mend or remove the file, or pass --on_bad_image=skip."
        )
    tqdm.write(f"{sentence}; skipped.", file=sys.stderr)


def _show_progress(items: Iterable, total: int) -> Iterator:
    """Yields the items; shows a bar on a terminal, a line every tenth elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit="image")
        return
    for done, item in enumerate(items, 1):
        yield item
        if done * 10 // total > (done - 1) * 10 // total:
            print(f"{done} of {total} images", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _made(staging: str, dataset_dir: str) -> Iterator[None]:
    """Makes the folders; removes them again, unless they hold something to keep."""
    is_new = not os.path.exists(dataset_dir)
    try:
        shutil.rmtree(staging, ignore_errors=True)
        os.makedirs(staging)
    except OSError as error:
        raise OSError(
            f"Cannot write into {dataset_dir!r} ({error.strerror}): choose another "
            "--dataset_dir."
        ) from error
    try:
        yield
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                os.rmdir(dataset_dir)
        raise
    os.rmdir(staging)


def _publish(staging: str, dataset_dir: str, old_files: Iterable[str]) -> None:
    """Moves the new files to their places, `dataset_info.json` last."""
    # Without the old dataset_info.json the old shards no longer look whole.
    for path in sorted(old_files, key=_is_not_info):
        os.remove(path)
    names = sorted(os.listdir(staging), key=_is_not_info, reverse=True)
    for name in names:
        os.rename(os.path.join(staging, name), os.path.join(dataset_dir, name))


def _is_not_info(path: str) -> bool:
    return os.path.basename(path) != dataset_info.FILE_NAME
