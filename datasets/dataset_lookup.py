"""Datasets by name, from whichever `dataset_factory` there is.

Many projects have a dataset_factory.py of their own, in TF-Slim's form, which they put
in place of ours: it has `datasets_map` and `get_dataset`. Their dataset modules may
leave open what ours state.
"""

import logging
from collections.abc import Mapping

from datasets import dataset_factory, remote_data, shard_files
from tf_slim_compat import slim


def get_dataset(
    name: str, split_name: str, dataset_dir: str | None
) -> slim.dataset.Dataset:
    """Returns one split of a dataset; see `dataset_factory.get_dataset`.

    `dataset_dir` may be a URL, see `remote_data.localize`.

    Returns:
      A dataset whose `num_samples` is the number of records if the module states none,
      and whose `labels_to_names` is a dictionary or None.

    Raises:
      ValueError: as `dataset_factory.get_dataset`, or if there is no `num_classes`.
      OSError: as `dataset_factory.get_dataset`, or if a shard cannot be read.
    """
    folder = remote_data.localize(dataset_dir, split_name)
    dataset = dataset_factory.get_dataset(name, split_name, folder)
    names = getattr(dataset, "labels_to_names", None)
    if names is not None and not isinstance(names, Mapping):
        names = dict(enumerate(names))
    dataset.labels_to_names = names
    if not getattr(dataset, "num_classes", None):
        raise ValueError(
            f"The module of dataset {name!r} states no number of classes: pass "
            "num_classes to slim.dataset.Dataset."
        )
    if not dataset.num_samples:
        files = shard_files.list_files(dataset.data_sources)
        dataset.num_samples = sum(shard_files.count_records(files))
        logging.info(
            "The module of dataset %s states no number of images; its files hold %d.",
            name,
            dataset.num_samples,
        )
    return dataset


def get_num_classes(name: str, dataset_dir: str | None = None) -> int:
    """Returns the number of classes; see `dataset_factory.get_num_classes`.

    A factory without that function must find the training split.
    """
    dataset_dir = remote_data.localize(dataset_dir)
    if hasattr(dataset_factory, "get_num_classes"):
        return dataset_factory.get_num_classes(name, dataset_dir)
    table = getattr(dataset_factory.datasets_map.get(name), "TABLE", None)
    if table is not None and not dataset_dir:
        return table.num_classes
    return get_dataset(name, "train", dataset_dir).num_classes
