"""Converts published datasets into the TFRecord files that their modules read.

`download_and_convert_mnist` and its sisters say where the files are and what they hold.
Nothing is downloaded or converted twice: an interrupted run continues its downloads
when it is started again, and leaves no TFRecord file that is not complete.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

import remote_files
from datasets import convert_images, dataset_folder, dataset_info, image_files
from datasets.source_files import SourceFiles

_DOWNLOADS = ".downloads"
_UNPACKED = ".unpacked"
_DESCRIPTIONS = (dataset_folder.LABELS_FILE_NAME, dataset_info.FILE_NAME)


@dataclasses.dataclass(frozen=True)
class Item:
    """One image of a dataset.

    Attributes:
      split: such as "train".
      label: the class, an integer from 0.
      filename: the file that the image comes from.
      load: returns the encoded image.
    """

    split: str
    label: int
    filename: str
    load: Callable[[], image_files.EncodedImage]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The files that a dataset is converted into.

    Attributes:
      name: of the dataset, as for --dataset_name.
      class_names: the names of the classes, in order.
      file_names: split name to the names of its TFRecord files.
    """

    name: str
    class_names: tuple[str, ...]
    file_names: Mapping[str, Sequence[str]]


def number_files(pattern: str, count: int) -> tuple[str, ...]:
    """Returns the names of `count` shards.

    Args:
      pattern: such as "train-%05d-of-%05d".
      count: number of shards.
    """
    return tuple(pattern % (index, count) for index in range(count))


def convert(
    layout: Layout,
    list_items: Callable[[SourceFiles], Iterable[Item]],
    dataset_dir: str | None,
    source_dir: str | None = None,
    overwrite: bool = False,
) -> None:
    """Converts a dataset, unless that is done already, and prints a summary.

    Args:
      layout: the files to write.
      list_items: returns the images, in the order in which to store them.
      dataset_dir: folder to write into; what is downloaded is kept there, in a hidden
        folder, until the conversion is complete.
      source_dir: folder with the published files; None downloads them.
      overwrite: whether to replace a dataset of this name.

    Raises:
      ValueError: if a folder is missing, holds another dataset, or a file is damaged.
      OSError: if a file cannot be downloaded, read or written.
    """
    _check_folders(dataset_dir, source_dir)
    if _is_complete(layout, dataset_dir) and not overwrite:
        print(
            f"{dataset_dir} already holds the dataset {layout.name}; nothing to do. "
            "Add --overwrite to convert it again."
        )
        return
    old_files = dataset_folder.find_old_files(dataset_dir, layout.name, overwrite)
    with (
        dataset_folder.stage(dataset_dir, layout.name) as staging,
        _open_work_folder(dataset_dir, is_kept=source_dir is None) as folder,
    ):
        items = list(list_items(SourceFiles(source_dir, folder)))
        info = _write(layout, items, staging)
        for path in old_files:
            # The new files have the old names: until all are there, none counts.
            if os.path.basename(path) in _DESCRIPTIONS:
                os.remove(path)
        dataset_folder.publish(staging, dataset_dir, old_files)
    print(remote_files.to_urls(_describe(info, dataset_dir)))


def _check_folders(dataset_dir: str | None, source_dir: str | None) -> None:
    if not dataset_dir:
        raise ValueError("--dataset_dir is missing: give the folder to write into.")
    if source_dir is not None and not os.path.isdir(source_dir):
        raise FileNotFoundError(
            f"There is no folder {source_dir!r}: --source_dir must hold the files of "
            "the dataset; leave it out to download them."
        )


@contextlib.contextmanager
def _open_work_folder(dataset_dir: str, is_kept: bool) -> Iterator[str]:
    """Creates a hidden folder for downloads, or only for what archives unpack to.

    It is removed in the end; after an error the folder of downloads is kept for the
    next run.
    """
    folder = os.path.join(dataset_dir, _DOWNLOADS if is_kept else _UNPACKED)
    if not is_kept:
        shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            os.rmdir(folder) if is_kept else shutil.rmtree(folder)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _is_complete(layout: Layout, dataset_dir: str) -> bool:
    """Whether a run ended, or one of TF-Slim's own converter, which has no info."""

    def exists(name):
        return os.path.exists(os.path.join(dataset_dir, name))

    shards = (name for names in layout.file_names.values() for name in names)
    return any(map(exists, _DESCRIPTIONS)) and all(map(exists, shards))


def _write(
    layout: Layout, items: Sequence[Item], staging: str
) -> dataset_info.DatasetInfo:
    """Writes all files of the dataset into the folder `staging`."""
    from datasets import shard_writer  # Imports TensorFlow.

    counts = {
        split: np.zeros(len(layout.class_names), np.int64)
        for split in layout.file_names
    }
    with shard_writer.ShardWriter(
        staging, layout.name, file_names=layout.file_names
    ) as writer:
        for item in convert_images.show_progress(items, len(items)):
            counts[item.split][item.label] += 1
            writer.write(
                item.split,
                _load(item),
                item.label,
                os.fsencode(item.filename),
                layout.class_names[item.label].encode(),
            )
        shards, fingerprint = writer.finish()
    info = dataset_info.DatasetInfo(
        name=layout.name,
        class_names=layout.class_names,
        splits=shards,
        labels={split: {"class_counts": counts[split].tolist()} for split in shards},
        fingerprint=fingerprint,
    )
    dataset_folder.write_descriptions(staging, info)
    return info


def _load(item: Item) -> image_files.EncodedImage:
    try:
        return item.load()
    except ValueError as error:
        raise ValueError(
            f"Cannot read the image {item.filename!r} ({error}): replace the file."
        ) from error


def _describe(info: dataset_info.DatasetInfo, dataset_dir: str) -> str:
    sizes = " and ".join(
        f"{info.num_samples(split):,} {split}" for split in info.splits
    )
    return (
        f"Wrote {sizes} images of {len(info.class_names)} classes to {dataset_dir}. "
        f"Use them with --dataset_name={info.name} --dataset_dir={dataset_dir}."
    )
