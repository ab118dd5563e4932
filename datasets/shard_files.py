"""TFRecord files: which there are, how long they are, and how many records they hold.

Nothing is decoded here.
"""

import hashlib
import os
import struct

from datasets import dataset_info
from tf_slim_compat import tf

# Of each shard this much goes into the fingerprint.
_FINGERPRINTED_BYTES = 1024


def list_files(data_sources):
    """Returns the sorted paths that `data_sources`, patterns or paths, stand for.

    Raises:
      FileNotFoundError: a pattern matches nothing.
      OSError: all files are empty.
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


def measure(path):
    """Returns the length of a file in bytes."""
    return tf.io.gfile.stat(path).length


def read_info(dataset_dir):
    """Returns the `DatasetInfo` in the folder, or None where there is none."""
    path = os.path.join(dataset_dir, dataset_info.FILE_NAME)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        return dataset_info.from_json(file.read(), path)


def find_split(files):
    """Finds the split of a converted dataset that consists of these very files.

    Returns:
      (the `DatasetInfo` beside them, the split's name), or (None, None) where it is
      not there, or states other files or other sizes.
    """
    folders = {os.path.dirname(path) for path in files}
    info = read_info(folders.pop()) if len(folders) == 1 else None
    if info is None:
        return None, None
    sizes = {os.path.basename(path): measure(path) for path in files}
    for split, shards in info.splits.items():
        if {shard.file: shard.bytes for shard in shards} == sizes:
            return info, split
    return None, None


def count_records(files):
    """Returns the number of records in each file.

    By `dataset_info.json` where it states these files; else each file is gone
    through from record to record, without reading them.

    Raises:
      OSError: a file is cut short or changed.
    """
    info, split = find_split(files)
    if info is None:
        return [count_by_length(path) for path in files]
    counts = {shard.file: shard.records for shard in info.splits[split]}
    return [counts[os.path.basename(path)] for path in files]


def count_by_length(path):
    """Follows the lengths of the records through a file, and returns their number.

    A record is its length (8 bytes), a checksum (4), the payload, a checksum (4).

    Raises:
      OSError: the file does not end where a record does.
    """
    size = measure(path)
    position = count = 0
    with _open_unbuffered(path) as file:
        while position < size:
            file.seek(position)
            header = file.read(8)
            end = size + 1
            if len(header) == 8:
                end = position + 16 + struct.unpack("<Q", header)[0]
            if end > size:
                raise OSError(
                    f"{path!r} is broken at byte {position}, after {count} records: it "
                    "was cut short or changed; copy or convert the dataset again."
                )
            position = end
            count += 1
    return count


def _open_unbuffered(path):
    # TensorFlow's files read a whole block ahead after each seek.
    if os.path.isfile(path):
        return open(path, "rb", buffering=0)
    return tf.io.gfile.GFile(path, "rb")


def compute_fingerprint(files):
    """Returns SHA-256 over each file's name, length and beginning, as 64 digits.

    Wherever the files lie, the names of their folders play no part.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=os.path.basename):
        name = os.path.basename(path).encode(errors="surrogateescape")
        digest.update(struct.pack("<QQ", len(name), measure(path)) + name)
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(file.read(_FINGERPRINTED_BYTES))
    return digest.hexdigest()
