"""The datasets by name."""

from datasets import (
    cifar10,
    flowers,
    image_folder,
    imagenet,
    mnist,
    satellite,
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
    if name not in datasets_map:
        raise ValueError(
            tfrecord_dataset.unknown("dataset", name, datasets_map, "--dataset_name")
        )
    return datasets_map[name].get_split(split_name, dataset_dir, file_pattern, reader)
