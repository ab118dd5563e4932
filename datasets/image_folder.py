"""Any folder of images that `convert_dataset.py` turned into TFRecord shards.

Splits, numbers of images and class names are read from `dataset_info.json`.
"""

from datasets import dataset_info, shard_files, tfrecord_dataset


def get_split(split_name, dataset_dir, file_pattern=None, reader=None):
    """Returns the `slim.dataset.Dataset` of a split that was converted.

    Args and errors: see `tfrecord_dataset.Table.get_split`.

    Raises:
      FileNotFoundError: the folder has no `dataset_info.json`.
    """
    tfrecord_dataset.check_dataset_dir(dataset_dir)
    info = shard_files.read_info(dataset_dir)
    if info is None:
        raise FileNotFoundError(
            f"{dataset_dir!r} has no {dataset_info.FILE_NAME}: image_folder reads what "
            "convert_dataset.py wrote; convert the images first, or name the module "
            "that describes these files with --dataset_name."
        )
    table = tfrecord_dataset.Table(
        file_pattern=f"{info.name}_%s_*.tfrecord",
        splits_to_sizes={split: info.num_samples(split) for split in info.splits},
        num_classes=len(info.class_names),
        items_to_descriptions={
            "image": "An image of any size.",
            "label": "The class, an integer from 0.",
        },
    )
    return table.get_split(split_name, dataset_dir, file_pattern, reader)
