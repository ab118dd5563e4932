"""TFRecord files: listing them, measuring them and counting their records.

Nothing is decoded here. Whoever reads shards gets their paths from `list_shards`, which
walks from record to record first: TensorFlow crashes on some lengths, and takes a shard
that was cut between two records for a whole one.
"""

import concurrent.futures
import functools
import hashlib
import itertools
import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

import checked_json
from datasets import dataset_info
from tf_slim_compat import as_written, slim, tf

# Bytes of each shard that go into the fingerprint.
_FINGERPRINTED_BYTES = 1024
_REPLACED = "was replaced or removed after it had been opened"
# A record is its length (8 bytes), a checksum (4), the payload, a checksum (4).
_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_GZIP_START = b"\x1f\x8b"
_COUNTING_THREADS = 8


def list_shards(dataset: slim.dataset.Dataset) -> list[str]:
    """Returns the sorted paths of a dataset's shards, having counted their records.

    Only shards on local disks are counted: elsewhere each record costs a request. Where
    no `dataset_info.json` describes the shards, a number of records other than
    `dataset.num_samples` is a warning.

    Raises:
      FileNotFoundError: if a pattern matches nothing.
      OSError: if all files are empty, one is truncated or has another number of records
        than `dataset_info.json` states, or the dataset was replaced after it was
        opened.
    """
    if _find_fingerprint(dataset):
        folder = os.path.dirname(dataset.data_sources[0])
        info = read_info(folder)
        if (
            info is None
            or info.fingerprint != dataset.fingerprint
            or not all(map(tf.io.gfile.exists, dataset.data_sources))
        ):
            raise OSError(_describe_replacement(folder))
    files = list_files(dataset.data_sources)
    if all(map(os.path.isfile, files)):
        _check_counts(files, getattr(dataset, "num_samples", None))
    return files


def build_guard(
    dataset: slim.dataset.Dataset,
) -> Callable[[tf.Tensor | Sequence[str]], tf.Tensor]:
    """Returns a function that passes paths on if the dataset is still the same.

    It reads the fingerprint in `dataset_info.json` whenever its result is computed; if
    that differs from the one when the dataset was opened, computing it is an
    InvalidArgumentError. Datasets without a fingerprint are not checked.
    """
    fingerprint = _find_fingerprint(dataset)
    if not fingerprint:
        return tf.convert_to_tensor
    folder = os.path.dirname(dataset.data_sources[0])
    path = os.path.join(folder, dataset_info.FILE_NAME)

    @as_written
    def has_fingerprint(found, line):
        return found | tf.strings.regex_full_match(line, f'.*"{fingerprint}".*')

    def check(paths):
        # `tf.io.read_file` would be read once and folded into the graph.
        is_same = tf.data.TextLineDataset(path).reduce(False, has_fingerprint)
        assertion = tf.Assert(is_same, [_describe_replacement(folder)])
        with tf.control_dependencies([assertion]):
            return tf.identity(paths)

    return check


def is_from_guard(error: tf.errors.OpError) -> bool:
    """Returns whether an error comes from what `build_guard` returns."""
    return _REPLACED in error.message or dataset_info.FILE_NAME in error.message


def _find_fingerprint(dataset: slim.dataset.Dataset) -> str | None:
    """Returns the fingerprint when the dataset was opened, or None if unknown."""
    return getattr(dataset, "fingerprint", None)


def _describe_replacement(folder: str) -> str:
    return (
        f"The dataset in {folder!r} {_REPLACED}: start again to read the new data, in "
        "training with a new --train_dir; while a dataset is in use, convert into "
        "another --dataset_dir."
    )


def list_files(data_sources: str | Sequence[str]) -> list[str]:
    """Returns the sorted paths that match `data_sources`, patterns or paths.

    Raises:
      FileNotFoundError: if a pattern matches nothing.
      OSError: if all files are empty.
    """
    if isinstance(data_sources, str):
        data_sources = [data_sources]
    files = set()
    for source in data_sources:
        found = [source] if tf.io.gfile.exists(source) else tf.io.gfile.glob(source)
        if not found:
            raise FileNotFoundError(
                f"No file matches {source!r}: check --dataset_dir and the dataset's "
                "file pattern."
            )
        files.update(found)
    if not any(map(measure, files)):
        raise OSError(
            f"{data_sources[0]!r} and all other shards are empty: convert the dataset "
            "again."
        )
    return sorted(files)


def measure(path: str) -> int:
    """Returns the length of a file in bytes."""
    return tf.io.gfile.stat(path).length


def read_info(dataset_dir: str) -> dataset_info.DatasetInfo | None:
    """Returns the `dataset_info.json` of a folder, or None if it has none."""
    path = os.path.join(dataset_dir, dataset_info.FILE_NAME)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        return dataset_info.from_json(file.read(checked_json.MAX_BYTES + 1), path)


def find_split(
    files: Iterable[str],
) -> tuple[dataset_info.DatasetInfo, str] | tuple[None, None]:
    """Finds the split of a converted dataset that consists of exactly these files.

    Returns:
      (the `DatasetInfo` beside them, the split's name), or (None, None) if there is
      none, or it states other files or sizes.
    """
    files = list(files)
    folders = {os.path.dirname(path) for path in files}
    info = read_info(folders.pop()) if len(folders) == 1 else None
    if info is None:
        return None, None
    sizes = {os.path.basename(path): measure(path) for path in files}
    for split, shards in info.splits.items():
        if {shard.file: shard.bytes for shard in shards} == sizes:
            return info, split
    return None, None


def count_records(files: Sequence[str]) -> list[int]:
    """Returns the number of records in each file.

    The numbers come from `dataset_info.json` if it describes these files; otherwise
    `count_by_length` finds them.

    Raises:
      OSError: if a file is truncated or corrupted.
    """
    info, split = find_split(files)
    if info is None:
        return [count_by_length(path) for path in files]
    counts = {shard.file: shard.records for shard in info.splits[split]}
    return [counts[os.path.basename(path)] for path in files]


def count_by_length(path: str) -> int:
    """Counts the records of a file by skipping from one to the next.

    Raises:
      OSError: if the file does not end at the end of a record.
    """
    if not os.path.isfile(path):
        return sum(1 for _ in _walk(path))
    stat = os.stat(path)
    return _count_unchanged(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.cache
def _count_unchanged(path: str, *_: int) -> int:
    """Counts the records of a local file once, until it changes."""
    return sum(1 for _ in _walk(path))


def locate_records(path: bytes) -> np.ndarray:
    """Returns where the records of a file are.

    Args:
      path: of the file, as a TensorFlow function gives it.

    Returns:
      int64 [records, 2]: the position of a payload and its length.

    Raises:
      OSError: if the file does not end at the end of a record.
    """
    stat = os.stat(path)
    identity = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return _locate_unchanged(path.decode(), *identity)


@functools.cache
def _locate_unchanged(path: str, *_: int) -> np.ndarray:
    """Walks through a local file once, until it changes."""
    return np.array(list(_walk(path)), np.int64).reshape(-1, 2)


def read_record(path: bytes, place: np.ndarray) -> bytes:
    """Reads one record of a local file, and nothing else of it.

    Args:
      path: of the file, as a TensorFlow function gives it.
      place: a row of `locate_records`.

    Raises:
      OSError: if the file ends before the record does.
    """
    position, length = place
    with open(path, "rb", buffering=0) as file:
        record = os.pread(file.fileno(), length, position)
    if len(record) < length:
        raise OSError(f"{path.decode()!r} was cut while it was read.")
    return record


def find_record(files: Iterable[str], record: bytes) -> tuple[str, int] | None:
    """Returns (path, index) of the first record with these contents; None if none."""
    for path in files:
        for index, (position, length) in enumerate(_walk(path)):
            if length == len(record):
                with tf.io.gfile.GFile(path, "rb") as file:
                    file.seek(position)
                    if file.read(length) == record:
                        return path, index
    return None


def _walk(path: str) -> Iterator[tuple[int, int]]:
    """Yields (position, length) of each payload; OSError if the file is cut."""
    size = measure(path)
    position = count = 0
    # TensorFlow's files read a whole block ahead after each seek.
    is_local = os.path.isfile(path)
    with (
        open(path, "rb", buffering=0) if is_local else tf.io.gfile.GFile(path, "rb")
    ) as file:
        while position < size:
            file.seek(position)
            header = file.read(_HEADER_BYTES)
            end = size + 1
            # A file system that lost power leaves zeros.
            if len(header) == _HEADER_BYTES and any(header):
                (length,) = struct.unpack_from("<Q", header)
                end = position + _HEADER_BYTES + length + _FOOTER_BYTES
            if end > size:
                kind = "was truncated or changed; copy or convert the dataset again."
                if not count and header.startswith(_GZIP_START):
                    kind = "is compressed with gzip; decompress it."
                raise OSError(
                    f"{path!r} is broken at byte {position}, after {count} records: it "
                    f"{kind}"
                )
            yield position + _HEADER_BYTES, length
            position = end
            count += 1


def _check_counts(files: Sequence[str], num_samples: int | None) -> None:
    """Compares the records in local files with the number that was promised."""
    with concurrent.futures.ThreadPoolExecutor(_COUNTING_THREADS) as pool:
        found = dict(zip(files, pool.map(count_by_length, files), strict=True))
    stated = _read_stated_counts(files)
    for path, records in stated.items():
        if found[path] != records:
            raise OSError(
                f"{path!r} holds {found[path]} records instead of the {records} that "
                f"{dataset_info.FILE_NAME} states: copy the dataset again, or convert "
                "the images again with --overwrite."
            )
    total = sum(found.values())
    if len(stated) < len(files) and num_samples not in (None, total):
        empty = [path for path, records in found.items() if not records]
        hint = f" {empty[0]!r} is empty." if empty else ""
        _warn_once(
            f"The shards {files[0]!r} to {files[-1]!r} hold {total} images instead of "
            f"the {num_samples} that the dataset module states: a shard was cut or is "
            f"missing, or the module's number is wrong.{hint}"
        )


@functools.cache
def _warn_once(message: str) -> None:
    logging.warning("%s", message)


def _read_stated_counts(files: Iterable[str]) -> dict[str, int]:
    """Returns path to number of records as far as `dataset_info.json` states them."""
    stated = {}
    for folder, paths in itertools.groupby(files, os.path.dirname):
        info = read_info(folder)
        shards = (
            {s.file: s for split in info.splits.values() for s in split} if info else {}
        )
        for path in paths:
            shard = shards.get(os.path.basename(path))
            if shard and shard.bytes == measure(path):
                stated[path] = shard.records
    return stated


def compute_fingerprint(files: Iterable[str]) -> str:
    """Returns SHA-256 over each file's name, length and beginning, as 64 digits.

    It does not depend on the folders in which the files lie.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=os.path.basename):
        name = os.path.basename(path).encode(errors="surrogateescape")
        digest.update(struct.pack("<QQ", len(name), measure(path)) + name)
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(file.read(_FINGERPRINTED_BYTES))
    return digest.hexdigest()
