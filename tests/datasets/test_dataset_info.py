"""Reading and writing `dataset_info.json`."""

import json

import pytest

from datasets import dataset_info, shard_files


def test_info_of_a_newer_format(tmp_path):
    info = dataset_info.DatasetInfo("x", ("a",), {}, {})
    whole = json.loads(info.to_json())
    whole["format_version"] = dataset_info.FORMAT_VERSION + 1
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="format version"):
        shard_files.read_info(str(path.parent))
    path.write_text(info.to_json()[:-5])
    with pytest.raises(ValueError, match="is damaged"):
        shard_files.read_info(str(path.parent))
    whole["format_version"] = 1
    whole["splits"] = 7
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="is damaged"):
        shard_files.read_info(str(path.parent))


def test_old_files_are_of_classification(tmp_path):
    info = dataset_info.DatasetInfo(
        "x",
        ("a",),
        {"train": (dataset_info.Shard("f", 9, 3),)},
        {"train": {"class_counts": [3]}},
    )
    whole = json.loads(info.to_json())
    assert whole["splits"]["train"]["class_counts"] == [3]
    del whole["task"], whole["label_dtype"], whole["splits"]["train"]["labels"]
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(whole))
    assert shard_files.read_info(str(path.parent)) == info
    assert info.has_classes and info.task == "classification"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda whole: whole["splits"]["train"].update(num_samples=5),
            "its shards hold 4, num_samples is 5, class_counts add up to 4. Restore",
        ),
        (
            lambda whole: whole["splits"]["train"]["shards"][0].update(records=5),
            "its shards hold 5, num_samples is 4",
        ),
        (
            lambda whole: whole["splits"]["train"]["labels"].update(
                class_counts=[3, 3]
            ),
            "class_counts add up to 6",
        ),
        (
            lambda whole: whole.update(class_names=["a", "b", "c"]),
            "3 class_names, but class_counts of 2 classes in split 'train'",
        ),
    ],
)
def test_numbers_that_contradict_each_other(tmp_path, edit, message):
    info = dataset_info.DatasetInfo(
        "x",
        ("a", "b"),
        {"train": (dataset_info.Shard("f", 9, 4),)},
        {"train": {"class_counts": [3, 1]}},
    )
    path = tmp_path / "dataset_info.json"
    path.write_text(info.to_json())
    assert shard_files.read_info(str(tmp_path)) == info
    whole = json.loads(info.to_json())
    edit(whole)
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=message):
        shard_files.read_info(str(tmp_path))
    # Enough to let the converter overwrite it.
    assert dataset_info.read_name(str(path)) == "x"


def test_names_of_shards():
    name = dataset_info.name_shard("x.y", "train", 1, 2, "0af")
    assert name == "x.y_train_00001-of-00002.0af.tfrecord"
    assert dataset_info.is_shard_name(name, "x.y")
    plain = dataset_info.name_shard("pets", "test", 0, 1)
    assert plain == "pets_test_00000-of-00001.tfrecord"
    assert dataset_info.is_shard_name(plain, "pets")
    for other in "pet", "pets_test", "xpets":
        assert not dataset_info.is_shard_name(plain, other)
    assert not dataset_info.is_shard_name("pets_big_train_0-of-1.tfrecord", "pets")
