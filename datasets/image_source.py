"""The labeled images of a source that is to be converted.

This module does not import TensorFlow.
"""

import collections
import dataclasses
import os

SPLITS = ("train", "validation", "test")
# Names of splits, as folders and label files give them.
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One file.

    Attributes:
      path: of the file.
      label: class index, or one float per name.
      split: "train", "validation" or "test"; None if not yet decided.
    """

    path: str
    label: int | tuple[float, ...]
    split: str | None


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """All images of a source.

    Attributes:
      names: the names of the classes, labels or targets, in the order of labels.
      images: in an order that depends on the source alone.
      others: number of files that are no images, by extension.
      num_faults: entries of the label file that were left out.
    """

    names: tuple[str, ...]
    images: tuple[SourceImage, ...]
    others: collections.Counter
    num_faults: int = 0


def check_source(source: str | None, content: str) -> None:
    """Raises ValueError or OSError unless `source` is a folder.

    Args:
      source: path of the folder.
      content: what the folder should hold, for the message.
    """
    if not source:
        raise ValueError(f"--source is missing: give the folder that holds {content}.")
    if not os.path.isdir(source):
        raise FileNotFoundError(
            f"There is no folder {source!r}: --source must be the folder that holds "
            f"{content}."
        )


def describe_kinds(others: collections.Counter) -> str:
    """Returns the most common extensions of other files, such as '2 .txt, 1 .db'."""
    return ", ".join(f"{count} {kind}" for kind, count in others.most_common(8))
