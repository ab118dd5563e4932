"""Any dataset that `convert_dataset.py` wrote.

Splits, sizes, names and the kind of labels are read from `dataset_info.json`.
"""

from datasets import dataset_info, shard_files, tfrecord_dataset
from tf_slim_compat import slim


def get_split(
    split_name: str,
    dataset_dir: str | None,
    file_pattern: str | None = None,
    reader: type | None = None,
) -> slim.dataset.Dataset:
    """Returns one split; see `tfrecord_dataset.Table.get_split`.

    Raises:
      FileNotFoundError: if the folder has no `dataset_info.json`.
    """
    tfrecord_dataset.check_dataset_dir(dataset_dir)
    info = shard_files.read_info(dataset_dir)
    if info is None:
        raise FileNotFoundError(
            f"{dataset_dir!r} has no {dataset_info.FILE_NAME}: image_folder reads what "
            "convert_dataset.py writes; convert the images first, or choose the module "
            "that describes these files with --dataset_name."
        )
    label = "The class, an integer from 0."
    if not info.has_classes:
        label = f"A number for each of {', '.join(info.class_names)}."
    table = tfrecord_dataset.Table(
        file_pattern=f"{info.name}_%s_*.tfrecord",
        splits_to_sizes={split: info.num_samples(split) for split in info.splits},
        num_classes=len(info.class_names),
        items_to_descriptions={"image": "An image of any size.", "label": label},
    )
    return table.get_split(split_name, dataset_dir, file_pattern, reader)
