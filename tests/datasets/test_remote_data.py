"""Tests of datasets in remote folders."""

import os
import threading

import fsspec
import pytest

from datasets import dataset_lookup, remote_data

URL = "memory://bucket/data"


@pytest.fixture(autouse=True)
def memory(data_dir, tmp_path, monkeypatch):
    """The generated images in a store, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    system = fsspec.filesystem("memory")
    system.store.clear()
    for path in data_dir.iterdir():
        system.pipe_file(f"/bucket/data/{path.name}", path.read_bytes())
    return system


def list_shards(data_dir, split):
    return sorted(path.name for path in data_dir.glob(f"*_{split}_*"))


def test_local_folders_are_left_alone(data_dir):
    assert remote_data.localize(str(data_dir)) == str(data_dir)
    assert remote_data.localize(None) is None


def test_a_split_has_the_same_records_as_the_local_one(data_dir):
    local = dataset_lookup.get_dataset("image_folder", "train", str(data_dir))
    remote = dataset_lookup.get_dataset("image_folder", "train", URL)
    assert remote.num_samples == local.num_samples == 80
    assert remote.labels_to_names == local.labels_to_names
    assert remote.fingerprint == local.fingerprint
    for one, other in zip(remote.data_sources, local.data_sources, strict=True):
        with open(one, "rb") as copy, open(other, "rb") as original:
            assert copy.read() == original.read()


def test_only_the_shards_of_the_split_are_fetched_and_only_once(data_dir, fetched):
    dataset_lookup.get_dataset("image_folder", "validation", URL)
    validation = list_shards(data_dir, "validation")
    assert sorted(fetched) == ["dataset_info.json", "labels.txt", *validation]
    fetched.clear()
    dataset_lookup.get_dataset("image_folder", "train", URL)
    assert sorted(fetched) == list_shards(data_dir, "train")
    fetched.clear()
    dataset_lookup.get_dataset("image_folder", "validation", URL)
    assert fetched == []


def test_the_number_of_classes_needs_no_shard(fetched):
    assert dataset_lookup.get_num_classes("image_folder", URL) == 5
    assert sorted(fetched) == ["dataset_info.json", "labels.txt"]


def test_without_a_description_every_file_is_fetched(memory, fetched):
    names = memory.ls("/bucket/data", detail=False)
    memory.rm_file("/bucket/data/dataset_info.json")
    remote_data.localize(URL, "train")
    assert len(fetched) == len(names) - 1


def test_a_replaced_dataset_is_fetched_again(data_dir, memory, fetched):
    folder = remote_data.localize(URL, "train")
    fetched.clear()
    first, *_ = list_shards(data_dir, "train")
    memory.pipe_file(f"/bucket/data/{first}", b"other")
    memory.rm_file("/bucket/data/labels.txt")
    assert remote_data.localize(URL, "train") == folder
    assert fetched == [first]
    assert not os.path.exists(os.path.join(folder, "labels.txt"))


def test_workers_that_start_together_fetch_each_file_once(fetched):
    folders = []
    workers = [
        threading.Thread(target=lambda: folders.append(remote_data.localize(URL, "x")))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(folders)) == 1
    assert len(folders) == 4
    assert len(fetched) == len(set(fetched)) == 2


@pytest.mark.parametrize("url", ["memory://bucket/none", f"{URL}/labels.txt"])
def test_a_folder_that_is_missing(url):
    with pytest.raises(FileNotFoundError, match=f"There is no folder '{url}'"):
        dataset_lookup.get_dataset("image_folder", "train", url)


def test_a_split_that_is_missing():
    with pytest.raises(ValueError, match="There is no split 'test'"):
        dataset_lookup.get_dataset("image_folder", "test", URL)
