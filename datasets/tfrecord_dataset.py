"""Datasets of TFRecord shards of labeled images.

A dataset module defines a `Table` and exports its `get_split`.
"""

import dataclasses
import difflib
import fnmatch
import glob
import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from datasets import dataset_info, dataset_utils, shard_files
from tf_slim_compat import slim, tf

# Items of datasets whose records tell more of an image: the name of its class (string),
# the boxes of its objects (float32 [n, 4]: top, left, bottom and right as fractions of
# the image's size), and their classes (int64 [n]).
OBJECT_ITEMS = ("label_text", "object/bbox", "object/label")
_OBJECT_KEYS = {
    "label_text": "image/class/text",
    "object/label": "image/object/class/label",
}
_BOX_SIDES = ("ymin", "xmin", "ymax", "xmax")
_BOX_PREFIX = "image/object/bbox/"
_OBJECT_FEATURES = {
    "image/class/text": tf.FixedLenFeature((), tf.string, default_value=""),
    "image/object/class/label": tf.VarLenFeature(tf.int64),
    **{f"{_BOX_PREFIX}{side}": tf.VarLenFeature(tf.float32) for side in _BOX_SIDES},
}
_SHARD_OF = re.compile(r"(\d+)-of-(\d+)")


@dataclasses.dataclass(frozen=True)
class Table:
    """The facts about a dataset.

    Attributes:
      file_pattern: names of the shards, `%s` for the split and `*` for anything.
      splits_to_sizes: split name to number of images.
      num_classes: number of classes.
      items_to_descriptions: each item to a sentence about it. "image" and "label" are
        provided always, `OBJECT_ITEMS` where they are described.
      channels: of the decoded image; 1 for grayscale, 3 for color.
      shape: (height, width, channels) if all images have the same size, or None.
    """

    file_pattern: str
    splits_to_sizes: Mapping[str, int]
    num_classes: int
    items_to_descriptions: Mapping[str, str]
    channels: int = 3
    shape: tuple[int, int, int] | None = None

    def get_split(
        self,
        split_name: str,
        dataset_dir: str | None,
        file_pattern: str | None = None,
        reader: type | None = None,
    ) -> slim.dataset.Dataset:
        """Returns one split of the dataset.

        The `dataset_info.json` beside the shards, if any, takes precedence over this
        table.

        Args:
          split_name: such as "train".
          dataset_dir: folder of the shards.
          file_pattern: replaces the table's.
          reader: a TensorFlow reader class, by default `tf.TFRecordReader`.

        Returns:
          A dataset that provides the items "image" (uint8 [height, width, channels])
          and "label" (int64 scalar, or float32 [num_classes] for tasks with a number
          per label or target). Besides the usual attributes it has
            fingerprint: identifies the records of all splits, or None without
              `dataset_info.json`;
            task: name of the task that the labels are for;
            label_summary: a summary of the training split's labels, a dict of lists
              with one number per name, or None without `dataset_info.json`.

        Raises:
          ValueError: if the split is unknown, `dataset_dir` is missing, or
            `dataset_info.json`, `labels.txt` and the shards contradict each other.
          OSError: if the folder or shards do not exist, or a shard is truncated.
        """
        check_dataset_dir(dataset_dir)
        info = shard_files.read_info(dataset_dir)
        splits = {*self.splits_to_sizes, *(info.splits if info else ())}
        if split_name not in splits:
            raise ValueError(
                unknown(
                    "split", split_name, splits, f"The splits of {dataset_dir!r} are"
                )
            )
        pattern = file_pattern or self.file_pattern
        files = _list_shards(split_name, dataset_dir, pattern, info)
        shards = _find_shards(files, split_name, info)
        if shards is None:
            info = None  # It describes other files.
            num_samples = self.splits_to_sizes.get(split_name)
            num_classes = self.num_classes
            labels_to_names = dataset_utils.read_labels(dataset_dir)
        else:
            _check_label_file(dataset_dir, info)
            num_samples = sum(shard.records for shard in shards)
            num_classes = len(info.class_names)
            labels_to_names = dict(enumerate(info.class_names))
            self._log_difference(split_name, num_samples, num_classes)
        has_classes = info is None or info.has_classes
        return slim.dataset.Dataset(
            data_sources=files,
            reader=reader or tf.TFRecordReader,
            decoder=_build_decoder(
                self.channels,
                self.shape,
                None if has_classes else num_classes,
                self.items_to_descriptions,
            ),
            num_samples=num_samples,
            items_to_descriptions=dict(self.items_to_descriptions),
            num_classes=num_classes,
            labels_to_names=labels_to_names,
            fingerprint=info.fingerprint if info else None,
            task=info.task if info else dataset_info.CLASSIFICATION,
            label_summary=info.labels.get("train") if info else None,
        )

    def _log_difference(
        self, split_name: str, num_samples: int, num_classes: int
    ) -> None:
        stated = self.splits_to_sizes.get(split_name), self.num_classes
        if stated != (num_samples, num_classes):
            logging.info(
                "%s counts %d images of %d classes in split %s; ignoring the dataset "
                "module, which states %s of %s.",
                dataset_info.FILE_NAME,
                num_samples,
                num_classes,
                split_name,
                *stated,
            )


def check_dataset_dir(dataset_dir: str | None) -> None:
    """Raises ValueError or OSError unless `dataset_dir` is a folder."""
    if not dataset_dir:
        raise ValueError(
            "--dataset_dir is missing: give the folder of the TFRecord shards."
        )
    if not tf.io.gfile.exists(dataset_dir):
        raise FileNotFoundError(
            f"There is no folder {dataset_dir!r}: --dataset_dir must be the folder of "
            "the TFRecord shards."
        )
    if not tf.io.gfile.isdir(dataset_dir):
        raise NotADirectoryError(
            f"{dataset_dir!r} is not a folder: --dataset_dir must be the folder of the "
            "TFRecord shards, not one of them."
        )


def unknown(kind: str, name: str, known: Iterable[str], choice: str) -> str:
    """Returns the sentence about a name that is not among the known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3)
    near = near or [other for other in known if name and other.startswith(name[:3])]
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return f"There is no {kind} {name!r}{hint} {choice} {', '.join(known) or 'none'}."


def _list_shards(
    split_name: str,
    dataset_dir: str,
    file_pattern: str,
    info: dataset_info.DatasetInfo | None,
) -> list[str]:
    """Returns the sorted paths that match; raises if some or all are missing."""
    pattern = file_pattern % split_name if "%s" in file_pattern else file_pattern
    files = sorted(tf.io.gfile.glob(os.path.join(glob.escape(dataset_dir), pattern)))
    if info:
        files = _without_leftovers(files, info)
    if not files:
        hint = " Try --dataset_name=image_folder." if info else ""
        raise FileNotFoundError(
            f"No file matches {os.path.join(dataset_dir, pattern)!r}; that folder "
            f"contains {_shorten(sorted(tf.io.gfile.listdir(dataset_dir)))}.{hint}"
        )
    names = {os.path.basename(path) for path in files}
    expected = {name for found in names for name in _shard_set(found)}
    if info and not names.isdisjoint(_shard_table(info, split_name)):
        expected |= _shard_table(info, split_name).keys()
    # Shards that the pattern excludes are excluded on purpose.
    missing = fnmatch.filter(expected - names, os.path.basename(pattern))
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(missing) + len(files)} shards are missing from "
            f"{dataset_dir!r}: {_shorten(sorted(missing))}. Copy or convert them again."
        )
    return files


def _without_leftovers(
    files: Sequence[str], info: dataset_info.DatasetInfo
) -> list[str]:
    """Drops shards of older or unfinished conversions, which `info` does not list."""
    listed = {shard.file for shards in info.splits.values() for shard in shards}
    if not any(dataset_info.is_shard_name(file, info.name) for file in listed):
        return list(files)  # It describes files from elsewhere.
    leftovers = [
        path
        for path in files
        if dataset_info.is_shard_name(os.path.basename(path), info.name)
        and os.path.basename(path) not in listed
    ]
    if leftovers:
        logging.warning(
            "Ignoring shards of another conversion, which %s does not list: %s.",
            dataset_info.FILE_NAME,
            _shorten(leftovers),
        )
    return [path for path in files if path not in leftovers]


def _check_label_file(dataset_dir: str, info: dataset_info.DatasetInfo) -> None:
    """Raises ValueError if `labels.txt` has other labels than `info`."""
    if not dataset_utils.has_labels(dataset_dir):
        return
    found = dataset_utils.read_label_file(dataset_dir)
    text = info.to_label_text().encode(errors="surrogateescape")
    expected = dataset_utils.parse_labels(text)
    if found == expected:
        return
    label = min(i for i in {*found, *expected} if found.get(i) != expected.get(i))
    raise ValueError(
        f"{dataset_utils.LABELS_FILENAME} and {dataset_info.FILE_NAME} in "
        f"{dataset_dir!r} contradict each other: {len(found)} and {len(expected)} "
        f"labels, label {label} is {found.get(label)!r} and {expected.get(label)!r}. "
        "Make them agree (to rename a class, change both), or convert the images again "
        "with --overwrite."
    )


def _shard_set(name: str) -> list[str]:
    """Returns the names of the whole set that `x-00002-of-00004` belongs to."""
    match = _SHARD_OF.search(name)
    if not match:
        return [name]
    digits = len(match[1])
    return [
        f"{name[: match.start(1)]}{i:0{digits}d}{name[match.end(1) :]}"
        for i in range(int(match[2]))
    ]


def _shard_table(
    info: dataset_info.DatasetInfo, split_name: str
) -> dict[str, dataset_info.Shard]:
    return {shard.file: shard for shard in info.splits.get(split_name, ())}


def _find_shards(
    files: Sequence[str], split_name: str, info: dataset_info.DatasetInfo | None
) -> list[dataset_info.Shard] | None:
    """Returns what `info` says about the files, or None if it lists none of them.

    Raises:
      ValueError: if it lists only some of them.
      OSError: if a file is truncated.
    """
    table = _shard_table(info, split_name) if info else {}
    unlisted = [path for path in files if os.path.basename(path) not in table]
    if len(unlisted) == len(files):
        return None
    if unlisted:
        raise ValueError(
            f"{dataset_info.FILE_NAME} does not list {_shorten(unlisted)}, which "
            "would be read too: move files of other conversions elsewhere."
        )
    shards = [table[os.path.basename(path)] for path in files]
    for path, shard in zip(files, shards, strict=True):
        size = tf.io.gfile.stat(path).length
        if size != shard.bytes:
            raise OSError(
                f"{path!r} has {size} bytes instead of the {shard.bytes} that "
                f"{dataset_info.FILE_NAME} states: it was truncated or changed; copy "
                "or convert the dataset again."
            )
    return shards


def _shorten(names: Collection[str], limit: int = 6) -> str:
    more = ", ..." if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"


def _build_decoder(
    channels: int,
    shape: tuple[int, int, int] | None,
    num_floats: int | None,
    items: Collection[str],
) -> slim.tfexample_decoder.TFExampleDecoder:
    """Returns a decoder of class indices, or of `num_floats` numbers per image.

    Args:
      channels: see `Table`.
      shape: see `Table`.
      num_floats: None for class indices.
      items: which of `OBJECT_ITEMS` to decode too.
    """
    if num_floats is None:
        label_key, label_feature = "image/class/label", tf.FixedLenFeature((), tf.int64)
    else:
        label_key = "image/labels"
        label_feature = tf.FixedLenFeature([num_floats], tf.float32)
    keys_to_features = {
        "image/encoded": tf.FixedLenFeature((), tf.string, default_value=""),
        "image/format": tf.FixedLenFeature((), tf.string, default_value="jpeg"),
        label_key: label_feature,
    }
    items_to_handlers = {
        "image": slim.tfexample_decoder.Image(shape=shape, channels=channels),
        "label": slim.tfexample_decoder.Tensor(label_key),
    }
    for item in OBJECT_ITEMS:
        if item in items:
            handler = _build_object_handler(item)
            items_to_handlers[item] = handler
            keys_to_features |= {key: _OBJECT_FEATURES[key] for key in handler.keys}
    return slim.tfexample_decoder.TFExampleDecoder(keys_to_features, items_to_handlers)


def _build_object_handler(item: str) -> slim.tfexample_decoder.ItemHandler:
    if item == "object/bbox":
        return slim.tfexample_decoder.BoundingBox(_BOX_SIDES, _BOX_PREFIX)
    return slim.tfexample_decoder.Tensor(_OBJECT_KEYS[item])
