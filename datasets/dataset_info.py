"""The contents of `dataset_info.json`: the labels, the splits and every shard.

`convert_dataset.py` puts this file into place after the shards, so its presence means
that the conversion finished, and replacing it switches from an old dataset to a new
one. This module does not import TensorFlow.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from datasets.image_source import SPLITS

FILE_NAME = "dataset_info.json"
# Datasets of one class per image are written as version 1, which earlier releases read.
FORMAT_VERSION = 2
CLASSIFICATION = "classification"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name, its size in bytes and its number of records."""

    file: str
    bytes: int
    records: int


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A converted dataset.

    Attributes:
      name: the first part of the shards' names.
      class_names: the names of the classes, labels or targets, in order.
      splits: split name to its shards, in order.
      labels: split name to a summary of its labels, such as {"class_counts": [...]}:
        lists with one number per name.
      task: name of the task that the labels are for.
      label_dtype: "int64" for one class index per image, or "float32" for one number
        per name.
      num_skipped: number of unreadable files and faulty entries that were left out.
      seed: seed of the shuffling and of the choice of validation images.
      fingerprint: SHA-256 over all records, in the order of writing.
      notes: sentences about the source, such as which folder became which split.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Shard, ...]]
    labels: Mapping[str, Mapping[str, list]]
    task: str = CLASSIFICATION
    label_dtype: str = "int64"
    num_skipped: int = 0
    seed: int = 0
    fingerprint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def has_classes(self) -> bool:
        """Whether each image has one class."""
        return self.label_dtype == "int64"

    def num_samples(self, split_name: str) -> int:
        """Returns the number of images in a split."""
        return sum(shard.records for shard in self.splits[split_name])

    def to_label_text(self) -> str:
        """Returns the contents of `labels.txt`."""
        return "".join(
            f"{label}:{name}\n" for label, name in enumerate(self.class_names)
        )

    def to_json(self) -> str:
        """Returns the contents of `dataset_info.json`."""
        splits = {}
        for split, shards in self.splits.items():
            summary = self.labels[split]
            splits[split] = {
                "num_samples": self.num_samples(split),
                # Read by earlier releases.
                **({"class_counts": summary["class_counts"]} if self._is_old() else {}),
                "labels": dict(summary),
                "shards": [dataclasses.asdict(shard) for shard in shards],
            }
        whole = {
            "format_version": 1 if self._is_old() else FORMAT_VERSION,
            "name": self.name,
            "task": self.task,
            "label_dtype": self.label_dtype,
            "class_names": list(self.class_names),
            "splits": splits,
            "num_skipped": self.num_skipped,
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"

    def _is_old(self) -> bool:
        return self.task == CLASSIFICATION and self.has_classes


def name_shard(
    name: str, split: str, index: int, num_shards: int, tag: str = ""
) -> str:
    """Returns the file name of a shard.

    Args:
      name: of the dataset.
      split: such as "train".
      index: of the shard, from 0.
      num_shards: of the split.
      tag: hexadecimal digits that tell the shard from those that it replaces.
    """
    tag = f".{tag}" if tag else ""
    return f"{name}_{split}_{index:05d}-of-{num_shards:05d}{tag}.tfrecord"


def is_shard_name(file: str, name: str) -> bool:
    """Returns whether `name_shard` gives such a file name for the dataset `name`."""
    pattern = rf"_({'|'.join(SPLITS)})_\d+-of-\d+(\.[0-9a-f]+)?\.tfrecord"
    return re.fullmatch(re.escape(name) + pattern, file) is not None


def read_name(path: str) -> str | None:
    """Returns the `name` in a `dataset_info.json`, whatever else is wrong with it.

    Returns:
      None if another program wrote the file.

    Raises:
      ValueError: if the file is damaged.
    """
    with open(path, "rb") as file:
        whole = _parse_json(file.read(), path)
    return None if whole is None else str(whole.get("name"))


def from_json(contents: bytes, path: str) -> DatasetInfo | None:
    """Parses what `to_json` wrote.

    Args:
      contents: of the file.
      path: of the file, for messages.

    Returns:
      The information, or None if another program wrote the file.

    Raises:
      ValueError: if the file is damaged, of a newer format, or contradicts itself.
    """
    whole = _parse_json(contents, path)
    if whole is None:
        return None
    try:
        if whole["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {whole['format_version']}, but this "
                f"release reads versions up to {FORMAT_VERSION}: update it, or convert "
                "the images again."
            )
        info = _parse(whole)
        _check_counts(info, whole["splits"], path)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    return info


def _parse_json(contents: bytes, path: str) -> dict[str, Any] | None:
    try:
        whole = json.loads(contents.decode(errors="surrogateescape"))
    except json.JSONDecodeError as error:
        raise _damaged(path, error) from error
    return whole if isinstance(whole, dict) and "format_version" in whole else None


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is damaged ({type(error).__name__}: {error}): remove the file and "
        "convert the images again with convert_dataset.py."
    )


def _check_counts(info: DatasetInfo, splits: Mapping[str, Any], path: str) -> None:
    """Raises ValueError if the numbers in the file contradict each other."""
    for split, value in splits.items():
        found = {"its shards hold": info.num_samples(split)}
        if "num_samples" in value:
            found["num_samples is"] = value["num_samples"]
        if info.has_classes:
            counts = info.labels[split]["class_counts"]
            found["class_counts add up to"] = sum(counts)
            if len(counts) != len(info.class_names):
                raise ValueError(
                    f"{path} has {len(info.class_names)} class_names, but class_counts "
                    f"of {len(counts)} classes in split {split!r}: restore the file, "
                    "or convert the images again with --overwrite."
                )
        if len(set(found.values())) > 1:
            counted = ", ".join(f"{what} {number}" for what, number in found.items())
            raise ValueError(
                f"{path} contradicts itself on the images of split {split!r}: "
                f"{counted}. Restore the file, or convert the images again with "
                "--overwrite."
            )


def _parse(whole: Mapping[str, Any]) -> DatasetInfo:
    splits = whole["splits"]
    return DatasetInfo(
        name=whole["name"],
        class_names=tuple(whole["class_names"]),
        splits={
            split: tuple(Shard(**shard) for shard in value["shards"])
            for split, value in splits.items()
        },
        labels={
            split: value["labels"]
            if "labels" in value
            else {"class_counts": value["class_counts"]}
            for split, value in splits.items()
        },
        task=whole.get("task", CLASSIFICATION),
        label_dtype=whole.get("label_dtype", "int64"),
        num_skipped=whole["num_skipped"],
        seed=whole["seed"],
        fingerprint=whole["fingerprint"],
        notes=tuple(whole.get("notes", ())),
    )
