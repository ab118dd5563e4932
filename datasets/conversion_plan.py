"""Decides what a converted dataset holds, image by image.

Images are taken in a random order that depends on the source and the seed alone. The
split of an image depends on which of those before it can be read, so whoever reads the
images reports them in this order, whether one machine reads them or many.

This module does not import TensorFlow.
"""

import collections
import os
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from datasets import dataset_info, duplicate_images, labeled_images
from datasets.convert_config import ConvertConfig
from datasets.image_source import ImageSource, SourceImage


class ConversionPlan:
    """The order of the images, their splits, and what is to be said of them.

    Attributes:
      images: in the order in which they are added and written.
    """

    def __init__(self, config: ConvertConfig, source: ImageSource, task: Any):
        """Puts the images in order; arguments as of `convert_images.convert`.

        Args:
          config: of the conversion.
          source: the images. Those without a split are held out by class, the first
            readable ones of each.
          task: a task; None for classification by folder names.
        """
        self._config, self._source, self._task = config, source, task
        self.images = list(source.images)
        random.Random(config.seed).shuffle(self.images)
        self._to_hold_out = _count_held_out(
            self.images, len(source.names), config.validation_fraction
        )
        self._labels = collections.defaultdict(list)
        self._num_skipped = source.num_faults
        self._duplicates = duplicate_images.DuplicateFinder(config.source)

    def add(self, image: SourceImage, fault: str, digest: bytes) -> str | None:
        """Takes the next image; reports an unreadable one.

        Args:
          image: the next one of `images`.
          fault: why it cannot be read; "" if it can.
          digest: `duplicate_images.compute_digest` of what is stored; unused if it
            cannot be read.

        Returns:
          The split that it goes into; None if it is left out.

        Raises:
          ValueError: if it cannot be read, unless bad images are skipped.
        """
        if fault:
            _report_bad(image.path, fault, self._config.skip_bad_images)
            self._num_skipped += 1
            return None
        split = image.split
        if split is None:
            split = "validation" if self._to_hold_out[image.label] else "train"
            self._to_hold_out[image.label] -= split == "validation"
        self._labels[split].append(image.label)
        self._duplicates.add(image, split, digest)
        return split

    def name(self, image: SourceImage) -> tuple[bytes, bytes | None]:
        """Returns the names of an image's file and of its class, if it has one."""
        file = os.path.relpath(image.path, self._config.source).replace(os.sep, "/")
        class_name = None
        if isinstance(image.label, int):
            class_name = os.fsencode(self._source.names[image.label])
        return os.fsencode(file), class_name

    def check(self) -> None:
        """Raises ValueError if there is nothing to train on."""
        _check_labels(
            self._source.names, self._labels["train"], self._label_dtype == "int64"
        )

    def describe(
        self, shards: Mapping[str, Sequence[dataset_info.Shard]], fingerprint: str
    ) -> dataset_info.DatasetInfo:
        """Returns the description of the dataset, once it is written.

        Args:
          shards: split name to its shards.
          fingerprint: see `shard_writer.Fingerprint`.
        """
        names, task = self._source.names, self._task
        return dataset_info.DatasetInfo(
            name=self._config.dataset_name,
            class_names=names,
            splits=shards,
            labels={
                split: _summarize(self._labels[split], len(names), task)
                for split in shards
            },
            task=task.name if task else dataset_info.CLASSIFICATION,
            label_dtype=self._label_dtype,
            num_skipped=self._num_skipped,
            seed=self._config.seed,
            fingerprint=fingerprint,
            notes=(*self._source.notes, *self._duplicates.describe()),
        )

    @property
    def _label_dtype(self) -> str:
        return self._task.label_dtype if self._task else "int64"


def _count_held_out(
    images: Sequence[SourceImage], num_classes: int, fraction: float
) -> list[int]:
    """Returns how many images of each class to hold out.

    The sum is `fraction` of all images without a split, distributed over the classes by
    largest remainders; of two or more images at least one is held out and at least one
    trained on.
    """
    sizes = [0] * num_classes
    for image in images:
        if image.split is None:
            sizes[image.label] += 1
    shares = [size * fraction for size in sizes]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(num_classes), key=lambda i: counts[i] - shares[i])
    for label in by_remainder[: round(sum(shares)) - sum(counts)]:
        counts[label] += 1
    if not fraction:
        return counts
    return [
        min(max(count, 1), size - 1) if size > 1 else 0
        for count, size in zip(counts, sizes, strict=True)
    ]


def _summarize(labels: Sequence, num_names: int, task: Any) -> Mapping[str, list]:
    values = labeled_images.as_array(labels)
    if task is not None:
        return task.summarize(values, num_names)
    return {"class_counts": np.bincount(values, minlength=num_names).tolist()}


def _check_labels(names: Sequence[str], labels: Sequence, has_classes: bool) -> None:
    """Raises ValueError if there is nothing to train on."""
    if has_classes:
        counts = np.bincount(np.array(labels, np.int64), minlength=len(names))
        lost = [name for name, count in zip(names, counts, strict=True) if not count]
        if lost:
            raise ValueError(
                "Too few images can be read to train on "
                f"{', '.join(map(repr, lost[:5]))}: repair the files listed above, or "
                "remove the class from the source."
            )
    elif not labels:
        raise ValueError(
            "No image can be read to train on: repair the files listed above."
        )


def _report_bad(path: str, fault: str, skip: bool) -> None:
    sentence = f"Cannot read {path!r}: {fault}"
    if not skip:
        raise ValueError(
            f"{sentence}; repair or remove the file, or pass --on_bad_image=skip."
        )
    tqdm.write(f"{sentence}; skipped.", file=sys.stderr)
