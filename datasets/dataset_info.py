"""The contents of `dataset_info.json`: the labels, the splits and every shard.

`convert_dataset.py` writes this file last, so its presence means that the conversion
finished. This module does not import TensorFlow.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

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

    @property
    def has_classes(self) -> bool:
        """Whether each image has one class."""
        return self.label_dtype == "int64"

    def num_samples(self, split_name: str) -> int:
        """Returns the number of images in a split."""
        return sum(shard.records for shard in self.splits[split_name])

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
        }
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"

    def _is_old(self) -> bool:
        return self.task == CLASSIFICATION and self.has_classes


def load(path: str) -> DatasetInfo | None:
    """Reads a `dataset_info.json`; see `from_json`."""
    with open(path, "rb") as file:
        return from_json(file.read(), path)


def from_json(contents: bytes, path: str) -> DatasetInfo | None:
    """Parses what `to_json` wrote.

    Args:
      contents: of the file.
      path: of the file, for messages.

    Returns:
      The information, or None if another program wrote the file.

    Raises:
      ValueError: if the file is damaged or of a newer format.
    """
    try:
        whole = json.loads(contents.decode(errors="surrogateescape"))
        if not isinstance(whole, dict) or "format_version" not in whole:
            return None
        if whole["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {whole['format_version']}, but this "
                f"release reads versions up to {FORMAT_VERSION}: update it, or convert "
                "the images again."
            )
        return _parse(whole)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}): convert the images "
            "again with convert_dataset.py, or remove the file."
        ) from error


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
    )
