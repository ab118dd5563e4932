"""The folder of a dataset: never half written, never overwritten by accident.

Files are written into a hidden folder and moved to their places at the very end. An old
dataset stays whole until the new `dataset_info.json` replaces the old one; then the old
shards are removed. Shards that are left over when this is interrupted are listed in no
`dataset_info.json`: they are ignored, and removed by the next conversion. All of this
holds for a power cut too, as every step is on the disk before the next one begins.
"""

import contextlib
import errno
import fcntl
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

    Hidden folders of conversions that were killed are removed. After an error
    `dataset_dir` is removed too if it is new and empty.

    Raises:
      ValueError: if another process is converting into `dataset_dir`.
      OSError: if the folder cannot be created.
    """
    staging = get_staging_folder(dataset_dir, dataset_name)
    is_new = not os.path.exists(dataset_dir)
    with contextlib.ExitStack() as locks:
        try:
            _remove_leftovers(dataset_dir)
            os.makedirs(staging)
            locks.enter_context(_lock(staging))
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


def _remove_leftovers(dataset_dir: str) -> None:
    """Removes the hidden folders of conversions that are no longer running."""
    if not os.path.isdir(dataset_dir):
        return
    ends = os.path.basename(get_staging_folder("", "|")).split("|")
    for name in os.listdir(dataset_dir):
        path = os.path.join(dataset_dir, name)
        if name.startswith(ends[0]) and name.endswith(ends[1]) and os.path.isdir(path):
            with _lock(path):
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: str) -> Iterator[None]:
    """Locks a folder as long as this process runs, however it ends.

    Raises:
      ValueError: if another process has locked it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network drives have no locks.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"Another process is converting into {os.path.dirname(folder)!r}: "
                    "wait until it ends, or choose another --dataset_dir."
                ) from None
        yield
    finally:
        os.close(descriptor)


def write_descriptions(staging: str, info: dataset_info.DatasetInfo) -> None:
    """Writes `labels.txt` and `dataset_info.json`; see `write_text`."""
    write_text(os.path.join(staging, LABELS_FILE_NAME), info.to_label_text())
    write_text(os.path.join(staging, dataset_info.FILE_NAME), info.to_json())


def publish(staging: str, dataset_dir: str, old_files: Iterable[str]) -> None:
    """Moves the new files to their places, then removes the old shards.

    At any moment `dataset_info.json` and the shards that it lists belong together. A
    different `labels.txt` is removed first and added last, as it must not contradict
    `dataset_info.json`, but may be missing.
    """
    ends = (dataset_info.FILE_NAME, LABELS_FILE_NAME)
    shards = sorted(set(os.listdir(staging)).difference(ends))
    for name in (*shards, *ends):
        sync(os.path.join(staging, name))
    for name in shards:
        os.replace(os.path.join(staging, name), os.path.join(dataset_dir, name))
    new_labels, old_labels = (
        os.path.join(folder, LABELS_FILE_NAME) for folder in (staging, dataset_dir)
    )
    if os.path.exists(old_labels) and not filecmp.cmp(new_labels, old_labels, False):
        os.remove(old_labels)
    sync(dataset_dir)
    for name in ends:
        os.replace(os.path.join(staging, name), os.path.join(dataset_dir, name))
        sync(dataset_dir)
    sync(os.path.dirname(os.path.abspath(dataset_dir)))
    for path in old_files:
        if os.path.basename(path) not in (*shards, *ends):
            os.remove(path)


def write_text(path: str, text: str) -> None:
    """Writes UTF-8 text; folder names that are not UTF-8 keep their bytes.

    Raises:
      OSError: if the file cannot be written; see `describe_failure`.
    """
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise OSError(describe_failure(path, error.strerror)) from error


def sync(path: str) -> None:
    """Waits until a file, or the list of names of a folder, is on the disk.

    Raises:
      OSError: if it cannot be written; see `describe_failure`.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network drives cannot do this for folders.
        if error.errno != errno.EINVAL:
            raise OSError(describe_failure(path, error.strerror)) from error
    finally:
        os.close(descriptor)


def describe_failure(path: str, reason: str) -> str:
    """Returns the sentence about a file, in the hidden folder, that cannot be written.

    Args:
      path: of the file.
      reason: such as "No space left on device".
    """
    folder, name = os.path.split(path)
    if os.path.basename(folder).endswith(".partial"):
        folder = os.path.dirname(folder)
    return (
        f"Cannot write {os.path.join(folder, name)!r} ({reason}): free space on the "
        "disk, or choose another --dataset_dir."
    )
