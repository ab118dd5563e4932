"""Datasets in remote folders: a split's files, through a local cache."""

import hashlib
import os

import remote_files
from datasets import dataset_info, shard_files
from remote_files.copies import Copy


def localize(dataset_dir: str | None, split_name: str | None = None) -> str | None:
    """Returns a local folder with the files of a dataset.

    For a URL, it is below `$XDG_CACHE_HOME`, by default `~/.cache`, where files stay
    until they change. Processes that need the same files wait for each other.

    Args:
      dataset_dir: the folder, local or a URL.
      split_name: the split whose shards to fetch; None for none. Without a
        `dataset_info.json`, which lists the shards of each split, all files are.

    Raises:
      ValueError: if the scheme of the URL is unknown or its package is missing, or
        `dataset_info.json` is damaged.
      OSError: if there is no such folder, or a file cannot be fetched.
    """
    if not remote_files.is_remote(dataset_dir):
        return dataset_dir
    key = hashlib.sha256(dataset_dir.rstrip("/").encode()).hexdigest()[:16]
    root = os.path.join(remote_files.get_cache_folder(), f"data-{key}")
    with remote_files.lock(f"{root}.lock", wait=True):
        copy = Copy(dataset_dir, root)
        listing = copy.store.list(depth=1)
        if not listing or "" in listing:
            raise FileNotFoundError(
                f"There is no folder {dataset_dir!r}: --dataset_dir must be the folder "
                "of the TFRecord shards."
            )
        copy.prune(listing)
        described = dataset_info.FILE_NAME
        copy.fetch({n: e for n, e in listing.items() if n == described})
        unused = _list_other_shards(copy.folder, split_name)
        copy.fetch({n: e for n, e in listing.items() if n not in unused})
    return copy.folder


def _list_other_shards(folder: str, split_name: str | None) -> set[str]:
    """Returns the files that `dataset_info.json` lists for other splits."""
    info = shard_files.read_info(folder)
    splits = info.splits if info else {}
    own = {shard.file for shard in splits.get(split_name, ())}
    return {shard.file for shards in splits.values() for shard in shards} - own
