"""The datasets by name."""

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

datasets_map = {
    "cifar10": cifar10,
    "flowers": flowers,
    "image_folder": image_folder,
    "imagenet": imagenet,
    "mnist": mnist,
    "satellite": satellite,
    "visualwakewords": visualwakewords,
}


def get_dataset(name, split_name, dataset_dir, file_pattern=None, reader=None):
    """Describes one split of the dataset called `name`.

    Args:
      name: a key of `datasets_map`.
      split_name: such as "train" or "validation".
      dataset_dir: the folder where the shards lie.
      file_pattern: the shards' names where they differ from the usual ones; `%s` stands
        for the split.
      reader: a TensorFlow reader class; by default `tf.TFRecordReader`.

    Returns:
      A `slim.dataset.Dataset`.

    Raises:
      ValueError: the dataset or the split is unknown, or `dataset_dir` is not given.
      OSError: the folder or shards are missing, or a shard is cut short.
    """
    return _get_module(name).get_split(split_name, dataset_dir, file_pattern, reader)


def get_num_classes(name, dataset_dir=None):
    """How many classes the dataset called `name` has, without reading its shards.

    Args:
      name: a key of `datasets_map`.
      dataset_dir: the folder of the dataset, for those that keep the number there.

    Raises:
      ValueError: the dataset is unknown, or its number is in a folder not given.
      OSError: the folder is missing.
    """
    module = _get_module(name)
    info = shard_files.read_info(dataset_dir) if dataset_dir else None
    if info is not None:
        return len(info.class_names)
    if hasattr(module, "TABLE"):
        return module.TABLE.num_classes
    return module.get_split("train", dataset_dir).num_classes


def _get_module(name):
    if name not in datasets_map:
        raise ValueError(
            tfrecord_dataset.unknown("dataset", name, datasets_map, "--dataset_name")
        )
    return datasets_map[name]
