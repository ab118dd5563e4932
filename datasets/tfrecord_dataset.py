"""Reading of TFRecord shards of labelled images, shared by all dataset modules.

A dataset module is a `Table`, and its `get_split` is the table's.
"""

import dataclasses
import difflib
import fnmatch
import glob
import logging
import os
import re
from collections.abc import Mapping

from datasets import dataset_info, dataset_utils, shard_files
from tf_slim_compat import slim, tf

_SHARD_OF = re.compile(r"(\d+)-of-(\d+)")


@dataclasses.dataclass(frozen=True)
class Table:
    """What a dataset module states about its files.

    Attributes:
      file_pattern: names of the shards, `%s` for the split and `*` for anything.
      splits_to_sizes: split name to number of images.
      num_classes: number of classes.
      items_to_descriptions: "image" and "label" to a sentence for people.
      channels: of the decoded image; 1 for grey, 3 for colour.
      shape: (height, width, channels) where all images are of one size, or None.
    """

    file_pattern: str
    splits_to_sizes: Mapping[str, int]
    num_classes: int
    items_to_descriptions: Mapping[str, str]
    channels: int = 3
    shape: tuple[int, int, int] | None = None

    def get_split(self, split_name, dataset_dir, file_pattern=None, reader=None):
        """Describes one split of the dataset.

        Where `dataset_info.json` lies beside the shards, its classes and its numbers
        of images win over the table.

        Args:
          split_name: such as "train".
          dataset_dir: the folder of the shards.
          file_pattern: replaces the table's.
          reader: a TensorFlow reader class, by default `tf.TFRecordReader`.

        Returns:
          A `slim.dataset.Dataset` that provides the items "image" (uint8
          [height, width, channels]) and "label" (int64 scalar).

        Raises:
          ValueError: the split is unknown, or `dataset_dir` is not given.
          OSError: the folder or shards are not there, or a shard is cut short.
        """
        check_dataset_dir(dataset_dir)
        info = shard_files.read_info(dataset_dir)
        splits = {*self.splits_to_sizes, *(info.splits if info else ())}
        if split_name not in splits:
            raise ValueError(
                unknown("split", split_name, splits, "--dataset_split_name")
            )
        pattern = file_pattern or self.file_pattern
        files = _list_shards(split_name, dataset_dir, pattern, info)
        shards = _find_shards(files, split_name, info)
        if shards is None:
            num_samples = self.splits_to_sizes.get(split_name)
            num_classes = self.num_classes
            labels_to_names = dataset_utils.read_labels(dataset_dir)
        else:
            num_samples = sum(shard.records for shard in shards)
            num_classes = len(info.class_names)
            labels_to_names = dict(enumerate(info.class_names))
            self._log_difference(split_name, num_samples, num_classes)
        return slim.dataset.Dataset(
            data_sources=files,
            reader=reader or tf.TFRecordReader,
            decoder=_build_decoder(self.channels, self.shape),
            num_samples=num_samples,
            items_to_descriptions=dict(self.items_to_descriptions),
            num_classes=num_classes,
            labels_to_names=labels_to_names,
        )

    def _log_difference(self, split_name, num_samples, num_classes):
        stated = self.splits_to_sizes.get(split_name), self.num_classes
        if stated != (num_samples, num_classes):
            logging.info(
                "%s counts %d images of %d classes in split %s; the dataset module's "
                "table, which says %s of %s, is passed over.",
                dataset_info.FILE_NAME,
                num_samples,
                num_classes,
                split_name,
                *stated,
            )


def check_dataset_dir(dataset_dir):
    """Raises ValueError or OSError unless `dataset_dir` is a folder."""
    if not dataset_dir:
        raise ValueError("No folder of data is given: say where with --dataset_dir.")
    if not tf.io.gfile.exists(dataset_dir):
        raise FileNotFoundError(
            f"There is no folder {dataset_dir!r}: --dataset_dir must be the folder "
            "where the TFRecord shards lie."
        )
    if not tf.io.gfile.isdir(dataset_dir):
        raise NotADirectoryError(
            f"{dataset_dir!r} is not a folder: --dataset_dir must be the folder where "
            "the TFRecord shards lie, not one of them."
        )


def unknown(kind, name, known, flag):
    """Returns the sentence for a name that is not among the known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return (
        f"There is no {kind} {name!r}{hint} {flag} can be {', '.join(known) or 'none'}."
    )


def _list_shards(split_name, dataset_dir, file_pattern, info):
    """Returns the sorted paths that match; raises if some or all are missing."""
    pattern = file_pattern % split_name if "%s" in file_pattern else file_pattern
    files = sorted(tf.io.gfile.glob(os.path.join(glob.escape(dataset_dir), pattern)))
    if not files:
        hint = " Try --dataset_name=image_folder." if info else ""
        raise FileNotFoundError(
            f"No file matches {os.path.join(dataset_dir, pattern)!r}; in that folder "
            f"lies {_shorten(sorted(tf.io.gfile.listdir(dataset_dir)))}.{hint}"
        )
    names = {os.path.basename(path) for path in files}
    expected = {name for found in names for name in _shard_set(found)}
    if info and not names.isdisjoint(_shard_table(info, split_name)):
        expected |= _shard_table(info, split_name).keys()
    # A shard that the pattern leaves out is left out on purpose.
    missing = fnmatch.filter(expected - names, os.path.basename(pattern))
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(missing) + len(files)} shards are missing from "
            f"{dataset_dir!r}: {_shorten(sorted(missing))}. Copy or convert them again."
        )
    return files


def _shard_set(name):
    """Returns the names of the whole set that `x-00002-of-00004` belongs to."""
    match = _SHARD_OF.search(name)
    if not match:
        return [name]
    digits = len(match[1])
    return [
        f"{name[: match.start(1)]}{i:0{digits}d}{name[match.end(1) :]}"
        for i in range(int(match[2]))
    ]


def _shard_table(info, split_name):
    return {shard.file: shard for shard in info.splits.get(split_name, ())}


def _find_shards(files, split_name, info):
    """Returns what `info` says of the files, or None where it is not about them.

    Raises:
      ValueError: it is about some of them only.
      OSError: a file is cut short.
    """
    table = _shard_table(info, split_name) if info else {}
    strangers = [path for path in files if os.path.basename(path) not in table]
    if len(strangers) == len(files):
        return None
    if strangers:
        raise ValueError(
            f"{dataset_info.FILE_NAME} does not list {_shorten(strangers)}, which "
            "would be read too: move what is from another conversion elsewhere."
        )
    shards = [table[os.path.basename(path)] for path in files]
    for path, shard in zip(files, shards, strict=True):
        size = tf.io.gfile.stat(path).length
        if size != shard.bytes:
            raise OSError(
                f"{path!r} has {size} bytes and not the {shard.bytes} that "
                f"{dataset_info.FILE_NAME} states: it was cut short or changed; copy "
                "or convert the dataset again."
            )
    return shards


def _shorten(names, limit=6):
    more = ", ..." if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"


def _build_decoder(channels, shape):
    keys_to_features = {
        "image/encoded": tf.FixedLenFeature((), tf.string, default_value=""),
        "image/format": tf.FixedLenFeature((), tf.string, default_value="jpeg"),
        "image/class/label": tf.FixedLenFeature((), tf.int64),
    }
    items_to_handlers = {
        "image": slim.tfexample_decoder.Image(shape=shape, channels=channels),
        "label": slim.tfexample_decoder.Tensor("image/class/label"),
    }
    return slim.tfexample_decoder.TFExampleDecoder(keys_to_features, items_to_handlers)
