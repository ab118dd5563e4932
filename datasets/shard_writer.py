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
        self._hash = hashlib.sha256()

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

    @contextlib.contextmanager
    def _naming_errors(self, split: str, index: int) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            file = self._get_name(split, index, self._count_shards(split))
            reason = error.message.split(";")[-1].strip()
            raise OSError(
                dataset_folder.describe_failure(
                    os.path.join(self._folder, file), reason
                )
            ) from error

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
        record = example.SerializeToString(deterministic=True)
        self._hash.update(record)
        counts = self._counts.setdefault(split, [0] * self._count_shards(split))
        index = sum(counts) % len(counts)
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
          (split name to its shards, SHA-256 over all records).

        Raises:
          OSError: if a shard cannot be written; the message names it.
        """
        for split, names in self._file_names.items():
            self._counts.setdefault(split, [0] * len(names))
            for index in range(len(names)):
                self._find_writer(split, index)
        self._close()
        tag = self._hash.hexdigest()[:_TAG_DIGITS] if is_tagged else ""
        splits = {}
        known = self._file_names or image_source.SPLITS
        for split in filter(self._counts.get, known):
            counts = [n for n in self._counts[split] if n or self._file_names]
            splits[split] = tuple(
                self._rename_shard(split, index, len(counts), count, tag)
                for index, count in enumerate(counts)
            )
        return splits, self._hash.hexdigest()

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
