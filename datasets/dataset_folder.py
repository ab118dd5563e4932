"""The folder of a dataset: never half written, never overwritten by accident.

Files are written into a hidden folder and moved to their places at the very end. An old
dataset stays whole until the new `dataset_info.json` replaces the old one; then the old
shards are removed. Shards that are left over when this is interrupted are listed in no
`dataset_info.json`: they are ignored, and removed by the next conversion.
"""

import contextlib
import filecmp
import os
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
    names = (dataset_info.FILE_NAME, LABELS_FILE_NAME)
    found = [
        os.path.join(dataset_dir, name)
        for name in sorted(os.listdir(dataset_dir))
        if dataset_info.is_shard_name(name, dataset_name) or name in names
    ]
    info_path = os.path.join(dataset_dir, dataset_info.FILE_NAME)
    if info_path in found:
        name = dataset_info.read_name(info_path)
        if name != dataset_name:
            name = "of another program" if name is None else repr(name)
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
    """Moves the new files to their places, then removes the old shards.

    At any moment `dataset_info.json` and the shards that it lists belong together. A
    different `labels.txt` is removed first and added last, as it must not contradict
    `dataset_info.json`, but may be missing.
    """
    ends = (dataset_info.FILE_NAME, LABELS_FILE_NAME)
    shards = sorted(set(os.listdir(staging)).difference(ends))
    for name in shards:
        os.replace(os.path.join(staging, name), os.path.join(dataset_dir, name))
    new_labels, old_labels = (
        os.path.join(folder, LABELS_FILE_NAME) for folder in (staging, dataset_dir)
    )
    if os.path.exists(old_labels) and not filecmp.cmp(new_labels, old_labels, False):
        os.remove(old_labels)
    for name in ends:
        os.replace(os.path.join(staging, name), os.path.join(dataset_dir, name))
    for path in old_files:
        if os.path.basename(path) not in (*shards, *ends):
            os.remove(path)


def write_text(path: str, text: str) -> None:
    """Writes UTF-8 text; folder names that are not UTF-8 keep their bytes."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
