"""Writes the records of several splits into TFRecord shards."""

import contextlib
import hashlib
import os
import types
from collections.abc import Iterator, Mapping, Sequence

from datasets import (
    dataset_folder,
    dataset_info,
    dataset_utils,
    image_files,
    image_source,
)
from tf_slim_compat import tf

_TAG_DIGITS = 8


class Fingerprint:
    """SHA-256 over the SHA-256 of each record, in the order of writing.

    Records can be hashed on several machines, and only their hashes brought together.
    """

    def __init__(self):
        """Starts without records."""
        self._hash = hashlib.sha256()

    def add(self, digest: bytes) -> None:
        """Adds the next record by its `digest_record`."""
        self._hash.update(digest)

    def __str__(self) -> str:
        """Returns 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def get_tag(self, is_tagged: bool) -> str:
        """Returns the part of the names of shards that tells their records, or ""."""
        return str(self)[:_TAG_DIGITS] if is_tagged else ""


def digest_record(record: bytes) -> bytes:
    """Returns what `Fingerprint` takes of a record."""
    return hashlib.sha256(record).digest()


def choose_shard(position: int, num_shards: int) -> int:
    """Returns the shard of a record.

    Args:
      position: number of records before it in its split.
      num_shards: of the split.
    """
    return position % num_shards


def build_record(
    image: image_files.EncodedImage,
    label: int | tuple[float, ...],
    filename: bytes,
    class_name: bytes | None = None,
) -> bytes:
    """Returns the record of an image.

    Args:
      image: the encoded image.
      label: class index, or one float per name.
      filename: the file that the image comes from.
      class_name: name of the class, if the label is a class index.
    """
    build = (
        dataset_utils.image_to_labeled_tfexample
        if isinstance(label, tuple)
        else dataset_utils.image_to_tfexample
    )
    example = build(
        image.encoded, image.format.encode(), image.height, image.width, label
    )
    feature = example.features.feature
    feature["image/filename"].bytes_list.value.append(filename)
    if class_name is not None:
        feature["image/class/text"].bytes_list.value.append(class_name)
    return example.SerializeToString(deterministic=True)


@contextlib.contextmanager
def naming_errors(path: str) -> Iterator[None]:
    """Turns TensorFlow's errors into an OSError that names the shard."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.split(";")[-1].strip()
        raise OSError(dataset_folder.describe_failure(path, reason)) from error


class ShardWriter:
    """Distributes records evenly over the shards of their split.

    Use as a context manager; `finish` gives the shards their final names.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        num_shards: int = 1,
        file_names: Mapping[str, Sequence[str]] | None = None,
    ):
        """Opens no files yet.

        Args:
          folder: an existing folder.
          name: the first part of the files' names.
          num_shards: per split; fewer if a split has fewer records.
          file_names: split name to the names of its shards, instead of those that
            `name` and `num_shards` give; all are written, even without records.
        """
        self._folder = folder
        self._name = name
        self._num_shards = num_shards
        self._file_names = file_names or {}
        self._writers = {}
        self._counts = {}
        self._fingerprint = Fingerprint()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._close()

    def _close(self) -> None:
        """Closes the shards; raises OSError for the first that cannot be written."""
        failures = []
        while self._writers:
            place, writer = self._writers.popitem()
            try:
                with self._naming_errors(*place):
                    writer.close()
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _naming_errors(
        self, split: str, index: int
    ) -> contextlib.AbstractContextManager[None]:
        file = self._get_name(split, index, self._count_shards(split))
        return naming_errors(os.path.join(self._folder, file))

    def write(
        self,
        split: str,
        image: image_files.EncodedImage,
        label: int | tuple[float, ...],
        filename: bytes,
        class_name: bytes | None = None,
    ) -> None:
        """Adds one record.

        Args:
          split: such as "train".
          image: the encoded image.
          label: as for `build_record`, like the following.
          filename: the file that the image comes from.
          class_name: name of the class, if the label is a class index.
        """
        record = build_record(image, label, filename, class_name)
        self._fingerprint.add(digest_record(record))
        counts = self._counts.setdefault(split, [0] * self._count_shards(split))
        index = choose_shard(sum(counts), len(counts))
        counts[index] += 1
        with self._naming_errors(split, index):
            self._find_writer(split, index).write(record)

    def _find_writer(self, split: str, index: int) -> tf.io.TFRecordWriter:
        if (split, index) not in self._writers:
            path = self._partial_path(split, index)
            self._writers[split, index] = tf.io.TFRecordWriter(path)
        return self._writers[split, index]

    def _partial_path(self, split: str, index: int) -> str:
        return os.path.join(self._folder, f"{split}-{index}")

    def finish(
        self, is_tagged: bool = False
    ) -> tuple[dict[str, tuple[dataset_info.Shard, ...]], str]:
        """Closes the shards and gives them their final names.

        Args:
          is_tagged: whether names contain the beginning of the hash, which makes them
            differ from those of a dataset with other records.

        Returns:
          (split name to its shards, the `Fingerprint`).

        Raises:
          OSError: if a shard cannot be written; the message names it.
        """
        for split, names in self._file_names.items():
            self._counts.setdefault(split, [0] * len(names))
            for index in range(len(names)):
                self._find_writer(split, index)
        self._close()
        tag = self._fingerprint.get_tag(is_tagged)
        splits = {}
        known = self._file_names or image_source.SPLITS
        for split in filter(self._counts.get, known):
            counts = [n for n in self._counts[split] if n or self._file_names]
            splits[split] = tuple(
                self._rename_shard(split, index, len(counts), count, tag)
                for index, count in enumerate(counts)
            )
        return splits, str(self._fingerprint)

    def _count_shards(self, split: str) -> int:
        return len(self._file_names.get(split, ())) or self._num_shards

    def _get_name(self, split: str, index: int, num_shards: int, tag: str = "") -> str:
        if split in self._file_names:
            return self._file_names[split][index]
        return dataset_info.name_shard(self._name, split, index, num_shards, tag)

    def _rename_shard(
        self, split: str, index: int, num_shards: int, num_records: int, tag: str
    ) -> dataset_info.Shard:
        file = self._get_name(split, index, num_shards, tag)
        path = os.path.join(self._folder, file)
        os.rename(self._partial_path(split, index), path)
        return dataset_info.Shard(file, os.path.getsize(path), num_records)
