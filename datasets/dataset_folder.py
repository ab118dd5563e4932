"""The folder of a dataset: never half written, never overwritten by accident.

Files are written into a hidden folder and moved to their places at the very end,
`dataset_info.json` last, so an interrupted conversion never looks complete.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator

from datasets import dataset_info

LABELS_FILE_NAME = "labels.txt"


def get_staging_folder(dataset_dir: str, dataset_name: str) -> str:
    """Returns the hidden folder into which files are written first."""
    return os.path.join(dataset_dir, f".{dataset_name}.partial")


def find_old_files(dataset_dir: str, dataset_name: str, overwrite: bool) -> list[str]:
    """Returns the files that a new dataset replaces.

    Args:
      dataset_dir: the folder; need not exist.
      dataset_name: the first part of the shards' names.
      overwrite: whether a dataset of this name may be replaced.

    Raises:
      ValueError: if they may not be replaced.
    """
    if not os.path.isdir(dataset_dir):
        return []
    shard = re.compile(re.escape(dataset_name) + r"_\w+_\d+-of-\d+\.tfrecord")
    names = (dataset_info.FILE_NAME, LABELS_FILE_NAME)
    found = [
        os.path.join(dataset_dir, name)
        for name in sorted(os.listdir(dataset_dir))
        if shard.fullmatch(name) or name in names
    ]
    info_path = os.path.join(dataset_dir, dataset_info.FILE_NAME)
    if info_path in found:
        info = dataset_info.load(info_path)
        name = repr(info.name) if info else "of another program"
        if not info or info.name != dataset_name:
            raise ValueError(
                f"{dataset_dir!r} already holds the dataset {name}: choose another "
                "--dataset_dir, as a folder can hold one dataset."
            )
    # A run that is interrupted while it moves its files leaves some behind.
    staging = get_staging_folder(dataset_dir, dataset_name)
    interrupted = info_path not in found and os.path.exists(
        os.path.join(staging, dataset_info.FILE_NAME)
    )
    if found and not overwrite and not interrupted:
        raise ValueError(
            f"{dataset_dir!r} already holds {os.path.basename(found[-1])!r}: "
            "pass --overwrite to replace the dataset, or choose another --dataset_dir."
        )
    return found


@contextlib.contextmanager
def stage(dataset_dir: str, dataset_name: str) -> Iterator[str]:
    """Creates the hidden folder, gives its path, and removes it in the end.

    After an error `dataset_dir` is removed too if it is new and empty.

    Raises:
      OSError: if the folder cannot be created.
    """
    staging = get_staging_folder(dataset_dir, dataset_name)
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
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                os.rmdir(dataset_dir)
        raise
    os.rmdir(staging)


def publish(staging: str, dataset_dir: str, old_files: Iterable[str]) -> None:
    """Moves the new files to their places, `dataset_info.json` last."""
    # Without the old dataset_info.json the old shards no longer look complete.
    for path in sorted(old_files, key=_is_not_info):
        os.remove(path)
    names = sorted(os.listdir(staging), key=_is_not_info, reverse=True)
    for name in names:
        os.rename(os.path.join(staging, name), os.path.join(dataset_dir, name))


def write_text(path: str, text: str) -> None:
    """Writes UTF-8 text; folder names that are not UTF-8 keep their bytes."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _is_not_info(path: str) -> bool:
    return os.path.basename(path) != dataset_info.FILE_NAME
