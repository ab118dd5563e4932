"""Writes the records of several splits into TFRecord shards."""

import contextlib
import hashlib
import os

from datasets import dataset_info, dataset_utils, image_folders
from tf_slim_compat import tf


class ShardWriter:
    """Deals records out to the shards of each split, one after the other.

    Use as a context manager; `finish` gives the shards their last names.
    """

    def __init__(self, folder, name, num_shards):
        """Opens nothing yet.

        Args:
          folder: where to write; must be there.
          name: the first part of the files' names.
          num_shards: for each split; fewer where a split has fewer records.
        """
        self._folder = folder
        self._name = name
        self._num_shards = num_shards
        self._files = contextlib.ExitStack()
        self._writers = {}
        self._counts = {}
        self._hash = hashlib.sha256()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self._files.close()
        if isinstance(error, tf.errors.OpError):
            raise OSError(
                f"Cannot write into {self._folder!r}: {error.message}."
            ) from error

    def write(self, split, picture, label, filename, class_name):
        """Adds one record.

        Args:
          split: such as "train".
          picture: a `pictures.Picture`.
          label: integer from 0.
          filename: bytes, where the picture comes from.
          class_name: bytes.
        """
        example = dataset_utils.image_to_tfexample(
            picture.encoded,
            picture.format.encode(),
            picture.height,
            picture.width,
            label,
        )
        feature = example.features.feature
        feature["image/filename"].bytes_list.value.append(filename)
        feature["image/class/text"].bytes_list.value.append(class_name)
        record = example.SerializeToString(deterministic=True)
        self._hash.update(record)
        counts = self._counts.setdefault(split, [0] * self._num_shards)
        index = sum(counts) % self._num_shards
        counts[index] += 1
        self._find_writer(split, index).write(record)

    def _find_writer(self, split, index):
        if (split, index) not in self._writers:
            writer = tf.io.TFRecordWriter(self._partial_path(split, index))
            self._writers[split, index] = self._files.enter_context(writer)
        return self._writers[split, index]

    def _partial_path(self, split, index):
        return os.path.join(self._folder, f"{split}-{index}")

    def finish(self):
        """Closes and names the shards.

        Returns:
          (split name to its `dataset_info.Shard`s, SHA-256 over all records).
        """
        self._files.close()
        splits = {}
        for split in filter(self._counts.get, image_folders.SPLITS):
            counts = [count for count in self._counts[split] if count]
            splits[split] = tuple(
                self._name_shard(split, index, len(counts), count)
                for index, count in enumerate(counts)
            )
        return splits, self._hash.hexdigest()

    def _name_shard(self, split, index, num_shards, num_records):
        file = f"{self._name}_{split}_{index:05d}-of-{num_shards:05d}.tfrecord"
        path = os.path.join(self._folder, file)
        os.rename(self._partial_path(split, index), path)
        return dataset_info.Shard(file, os.path.getsize(path), num_records)
