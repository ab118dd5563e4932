"""The labeled images of a source that is to be converted.

This module does not import TensorFlow.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Sequence

SPLITS = ("train", "validation", "test")
# In any case, and alone or as in "training_set".
_SPLIT_PATTERNS = {
    "train": "train|training",
    "validation": "val|valid|validation|dev",
    "test": "test|testing",
}
_SPLIT_SUFFIX = r"([ _-]?(set|split|data|images))?"


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
      notes: sentences for the summary, about what may not be as intended.
    """

    names: tuple[str, ...]
    images: tuple[SourceImage, ...]
    others: collections.Counter
    num_faults: int = 0
    notes: tuple[str, ...] = ()


def find_split(name: str) -> str | None:
    """Returns "train", "validation" or "test" if a name means that split, or None.

    Args:
      name: of a folder or in a label file, such as "Train", "val" or "test_set".
    """
    for split, pattern in _SPLIT_PATTERNS.items():
        if re.fullmatch(f"({pattern}){_SPLIT_SUFFIX}", name, re.IGNORECASE):
            return split
    return None


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


def list_names(names: Sequence[str], limit: int = 5) -> str:
    """Returns quoted names such as "'a', 'b' and 'c'", or the first few of many."""
    quoted = [repr(name) for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(quoted)} and {len(names) - limit} more"
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
