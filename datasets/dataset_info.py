"""What `dataset_info.json` says: the classes, the splits and every shard.

`convert_dataset.py` writes this file last, so where it lies the conversion is whole.
This module does not import TensorFlow.
"""

import dataclasses
import json

FILE_NAME = "dataset_info.json"
FORMAT_VERSION = 1


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
      class_names: the name of label 0, of label 1 and so on.
      splits: split name to its shards, in order.
      class_counts: split name to the number of images of each class.
      num_skipped: how many unreadable files were left out.
      seed: what the shuffling and the choice of validation images started from.
      fingerprint: SHA-256 over all records, in the order of writing.
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, tuple[Shard, ...]]
    class_counts: dict[str, tuple[int, ...]]
    num_skipped: int = 0
    seed: int = 0
    fingerprint: str = ""

    def num_samples(self, split_name: str) -> int:
        """Returns how many images the split holds."""
        return sum(shard.records for shard in self.splits[split_name])

    def to_json(self) -> str:
        """Returns the contents of `dataset_info.json`."""
        splits = {
            split: {
                "num_samples": self.num_samples(split),
                "class_counts": list(self.class_counts[split]),
                "shards": [dataclasses.asdict(shard) for shard in shards],
            }
            for split, shards in self.splits.items()
        }
        whole = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "class_names": list(self.class_names),
            "splits": splits,
            "num_skipped": self.num_skipped,
            "seed": self.seed,
            "fingerprint": self.fingerprint,
        }
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def load(path: str) -> DatasetInfo | None:
    """Reads a `dataset_info.json`; see `from_json`."""
    with open(path, "rb") as file:
        return from_json(file.read(), path)


def from_json(contents: bytes, path: str) -> DatasetInfo | None:
    """Returns what `to_json` wrote, or None where another program wrote the file.

    Args:
      contents: of the file.
      path: where it lies, for the message.

    Raises:
      ValueError: the file is damaged or of a newer format.
    """
    try:
        whole = json.loads(contents.decode(errors="surrogateescape"))
        if not isinstance(whole, dict) or "format_version" not in whole:
            return None
        if whole["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{path} is of format version {whole['format_version']}, and this "
                f"program reads up to {FORMAT_VERSION}: update it, or convert again."
            )
        splits = whole["splits"]
        return DatasetInfo(
            name=whole["name"],
            class_names=tuple(whole["class_names"]),
            splits={
                split: tuple(Shard(**shard) for shard in value["shards"])
                for split, value in splits.items()
            },
            class_counts={
                split: tuple(value["class_counts"]) for split, value in splits.items()
            },
            num_skipped=whole["num_skipped"],
            seed=whole["seed"],
            fingerprint=whole["fingerprint"],
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}): convert the images "
            "again with convert_dataset.py, or remove the file."
        ) from error
