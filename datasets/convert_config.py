"""What a conversion is asked to do.

This module does not import TensorFlow.
"""

import dataclasses
import os
import re
from typing import Any


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """What to convert, and how.

    Attributes:
      source: without `labels` a folder laid out as `CLASS/*` or `SPLIT/CLASS/*`, see
        `class_folders`; with `labels` the folder of the images that it lists.
      dataset_dir: folder to write into.
      dataset_name: the first part of the shards' names.
      validation_fraction: fraction of the images to hold out, in [0, 1), if the source
        is not split already.
      shards: number of files per split.
      workers: number of processes that decode images; None for one per core.
      seed: seed of the order of the images and of the choice of those held out.
      skip_bad_images: whether to leave out unreadable images and faulty entries of the
        label file, or to stop at the first.
      overwrite: whether a dataset of this name may be replaced.
      labels: a label file, see `label_table`; None takes labels from folder names.
      file_column: its column of file names; None finds it.
      label_columns: its columns of labels; None for all others.
    """

    source: str | None
    dataset_dir: str | None
    dataset_name: str = "images"
    validation_fraction: float = 0.2
    shards: int = 4
    workers: int | None = None
    seed: int = 0
    skip_bad_images: bool = True
    overwrite: bool = False
    labels: str | None = None
    file_column: str | None = None
    label_columns: tuple[str, ...] | None = None


def check_config(config: ConvertConfig, task: Any) -> None:
    """Raises ValueError if settings contradict each other, the task or the folders."""
    if not config.dataset_dir:
        raise ValueError("--dataset_dir is missing: give the folder to write into.")
    if not re.fullmatch(r"[\w.-]+", config.dataset_name):
        raise ValueError(
            f"--dataset_name={config.dataset_name!r} becomes part of file names: use "
            "letters, digits, '_', '-' and '.' only."
        )
    if not 0 <= config.validation_fraction < 1:
        raise ValueError(
            f"--validation_fraction={config.validation_fraction} must be at least 0 "
            "and less than 1, such as 0.2."
        )
    for flag in ("shards", "workers"):
        value = getattr(config, flag)
        if value is not None and value < 1:
            raise ValueError(f"--{flag}={value} must be at least 1.")
    if config.labels and task is None:
        raise ValueError("--labels needs a --task, which says what the labels mean.")
    if not config.labels:
        _check_no_labels(config, task)
    folders = [os.path.realpath(f) for f in (config.source or "", config.dataset_dir)]
    if config.source and os.path.commonpath(folders) in folders:
        raise ValueError(
            f"--source={config.source!r} and --dataset_dir={config.dataset_dir!r} must "
            "not lie within each other: choose a --dataset_dir elsewhere."
        )


def _check_no_labels(config: ConvertConfig, task: Any) -> None:
    if task is not None and task.label_dtype != "int64":
        raise ValueError(
            f"--task={task.name} cannot take its labels from folder names: give a "
            "label file with --labels."
        )
    for flag in ("file_column", "label_columns"):
        if getattr(config, flag):
            raise ValueError(f"--{flag} names columns of a label file: add --labels.")
