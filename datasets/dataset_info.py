"""The contents of `dataset_info.json`: the labels, the splits and every shard.

`convert_dataset.py` puts this file into place after the shards, so its presence means
that the conversion finished, and replacing it switches from an old dataset to a new
one. This module does not import TensorFlow.
"""

import dataclasses
import json
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

import checked_json
from checked_json import Count, FileName, Finite, Int64, Name, Names, Text, Texts
from datasets.image_source import SPLITS

FILE_NAME = "dataset_info.json"
# Datasets of one class per image are written as version 1, which earlier releases read.
FORMAT_VERSION = 2
CLASSIFICATION = "classification"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name, its size in bytes and its number of records."""

    file: FileName
    bytes: Count
    records: Count


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
      fingerprint: SHA-256 over the SHA-256 of each record, in the order of writing.
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


# One number per class, label or target.
_Numbers = Annotated[list[Int64 | Finite], msgspec.Meta(max_length=10**6)]
_Counts = Annotated[list[Count], msgspec.Meta(max_length=10**6)]


@dataclasses.dataclass(frozen=True)
class _Split:
    """A split in the file; `class_counts` is read from files that have no `labels`."""

    shards: tuple[Shard, ...]
    num_samples: Count | None = None
    labels: dict[Name, _Numbers] | None = None
    class_counts: _Counts | None = None

    def get_summary(self) -> dict[str, list]:
        """The labels' summary; raises ValueError if its counts are not counts."""
        if self.labels is None:
            return {"class_counts": self.class_counts or []}
        counts = self.labels.get("class_counts", [])
        checked_json.check(counts, _Counts, "class_counts")
        return self.labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """The file; what `DatasetInfo` says of its attributes holds here too."""

    format_version: Int64
    name: FileName
    class_names: Names
    splits: dict[Name, Any]  # Each is a `_Split`.
    task: Name = CLASSIFICATION
    label_dtype: Literal["int64", "float32"] = "int64"
    num_skipped: Count
    seed: Int64
    fingerprint: Text
    notes: Texts = ()


def read_name(path: str) -> str | None:
    """Returns the `name` in a `dataset_info.json`, whatever else is wrong with it.

    Returns:
      None if another program wrote the file.

    Raises:
      ValueError: if the file is damaged.
    """
    with open(path, "rb") as file:
        whole = _parse_json(file.read(checked_json.MAX_BYTES + 1), path)
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
    version = whole["format_version"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {reprlib.repr(version)}, but this release "
            f"reads versions up to {FORMAT_VERSION}: update it, or convert the images "
            "again."
        )
    try:
        record = checked_json.check(whole, _Record)
        splits = {
            name: checked_json.check(split, _Split, f"splits.{name}")
            for name, split in record.splits.items()
        }
        labels = {name: split.get_summary() for name, split in splits.items()}
    except ValueError as error:
        raise _damaged(path, error) from error
    info = DatasetInfo(
        name=record.name,
        class_names=record.class_names,
        splits={name: split.shards for name, split in splits.items()},
        labels=labels,
        task=record.task,
        label_dtype=record.label_dtype,
        num_skipped=record.num_skipped,
        seed=record.seed,
        fingerprint=record.fingerprint,
        notes=record.notes,
    )
    for name, split in splits.items():
        _check_numbers(info, name, split.num_samples, path)
    return info


def _parse_json(contents: bytes, path: str) -> dict[str, Any] | None:
    try:
        # Names of files that are not UTF-8.
        whole = checked_json.parse(contents.decode(errors="surrogateescape"))
    except ValueError as error:
        raise _damaged(path, error) from error
    return whole if isinstance(whole, dict) and "format_version" in whole else None


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is damaged ({error}): restore it, or remove it and convert the images "
        "again with convert_dataset.py."
    )


def _check_numbers(
    info: DatasetInfo, split: str, num_samples: int | None, path: str
) -> None:
    """Raises ValueError if the numbers of a split contradict each other."""
    for summary, numbers in info.labels[split].items():
        if len(numbers) != len(info.class_names):
            raise ValueError(
                f"{path} has {len(info.class_names)} class_names, but {summary} of "
                f"{len(numbers)} classes in split {split!r}: restore the file, "
                "or convert the images again with --overwrite."
            )
    found = {"its shards hold": info.num_samples(split)}
    if num_samples is not None:
        found["num_samples is"] = num_samples
    if info.has_classes:
        counts = info.labels[split].get("class_counts", ())
        found["class_counts add up to"] = sum(counts)
    if len(set(found.values())) > 1:
        counted = ", ".join(f"{what} {number}" for what, number in found.items())
        raise ValueError(
            f"{path} contradicts itself on the images of split {split!r}: {counted}. "
            "Restore the file, or convert the images again with --overwrite."
        )
