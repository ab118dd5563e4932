"""Converts a folder of images into TFRecord shards.

All images are decoded once, in worker processes, to find the damaged ones. Records are
written below a hidden folder and moved to their places at the very end,
`dataset_info.json` last: what was interrupted never looks whole.

TensorFlow is imported late, so that worker processes start fast.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import threading

from tqdm import tqdm

from datasets import dataset_info, image_folders, pictures

_LABELS_FILENAME = "labels.txt"


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """What to convert, and how.

    Attributes:
      source: a folder laid out as `CLASS/*`, or `train/CLASS/*` and
        `validation/CLASS/*`.
      dataset_dir: the folder to write into.
      dataset_name: the first part of the shards' names.
      validation_fraction: in [0, 1): how much of each class to hold out, where the
        source is not split already.
      shards: how many files for each split.
      workers: how many processes decode; None is one for each core.
      seed: of the order of the images and the choice of those held out.
      skip_bad_images: whether to leave out unreadable images or to stop at the first.
      overwrite: whether a dataset of this name may be replaced.
    """

    source: str
    dataset_dir: str
    dataset_name: str = "images"
    validation_fraction: float = 0.2
    shards: int = 4
    workers: int | None = None
    seed: int = 0
    skip_bad_images: bool = True
    overwrite: bool = False


def convert(config: ConvertConfig) -> dataset_info.DatasetInfo:
    """Converts the images, naming unreadable ones and the progress on stderr.

    Returns:
      What was written.

    Raises:
      ValueError: the settings or the source make no dataset; nothing was written.
      OSError: a folder cannot be read or written.
    """
    _check_config(config)
    folder = image_folders.scan(config.source)
    old_files = _find_old_files(config)
    with _staging(config) as staging:
        info = _write_records(config, folder, staging)
        _publish(config.dataset_dir, staging, old_files)
    return info
