"""Datasets by name."""

from typing import Any

from datasets import (
    cifar10,
    flowers,
    image_folder,
    imagenet,
    mnist,
    satellite,
    shard_files,
    tfrecord_dataset,
    visualwakewords,
)
from tf_slim_compat import slim

datasets_map = {
    "cifar10": cifar10,
    "flowers": flowers,
    "image_folder": image_folder,
    "imagenet": imagenet,
    "mnist": mnist,
    "satellite": satellite,
    "visualwakewords": visualwakewords,
}


def register(name: str, module: Any) -> None:
    """Adds a dataset of your own for this process.

    Args:
      name: for `get_dataset` and `--dataset_name`.
      module: a module, a `tfrecord_dataset.Table` or any other object with
        `get_split(split_name, dataset_dir, file_pattern, reader)`.

    Raises:
      ValueError: if the name is taken, or `module` has no `get_split`.
    """
    if name in datasets_map:
        raise ValueError(f"There is already a dataset {name!r}: choose another name.")
    if not callable(getattr(module, "get_split", None)):
        raise ValueError(
            f"Dataset {name!r} is {module!r}, which has no get_split: register "
            "a module, or a tfrecord_dataset.Table."
        )
    datasets_map[name] = module


def get_dataset(
    name: str,
    split_name: str,
    dataset_dir: str | None,
    file_pattern: str | None = None,
    reader: type | None = None,
) -> slim.dataset.Dataset:
    """Returns one split of a dataset.

    Args:
      name: a key of `datasets_map`.
      split_name: such as "train" or "validation".
      dataset_dir: folder of the shards.
      file_pattern: names of the shards, if not the usual ones; `%s` stands for the
        split.
      reader: a TensorFlow reader class; by default `tf.TFRecordReader`.

    Returns:
      A `slim.dataset.Dataset`; see `tfrecord_dataset.Table.get_split`.

    Raises:
      ValueError: if the dataset or the split is unknown, or `dataset_dir` is missing.
      OSError: if the folder or shards do not exist, or a shard is truncated.
    """
    return _get_module(name).get_split(split_name, dataset_dir, file_pattern, reader)


def get_num_classes(name: str, dataset_dir: str | None = None) -> int:
    """Returns the number of classes, labels or targets, without reading shards.

    Args:
      name: a key of `datasets_map`.
      dataset_dir: folder of the dataset, for datasets that keep the number there.

    Raises:
      ValueError: if the dataset is unknown, or needs `dataset_dir`.
      OSError: if the folder does not exist.
    """
    module = _get_module(name)
    info = shard_files.read_info(dataset_dir) if dataset_dir else None
    if info is not None:
        return len(info.class_names)
    table = getattr(module, "TABLE", module)
    if isinstance(table, tfrecord_dataset.Table):
        return table.num_classes
    return module.get_split("train", dataset_dir).num_classes


def _get_module(name: str) -> Any:
    if name not in datasets_map:
        raise ValueError(
            tfrecord_dataset.unknown(
                "dataset", name, datasets_map, "--dataset_name can be"
            )
            + " Give image_folder for what convert_dataset.py wrote, whatever "
            "--dataset_name it was given."
        )
    return datasets_map[name]
