"""Reading and writing `dataset_info.json`."""

import json

import pytest

from datasets import dataset_info


def test_info_of_a_newer_format(tmp_path):
    info = dataset_info.DatasetInfo("x", ("a",), {}, {})
    whole = json.loads(info.to_json())
    whole["format_version"] = dataset_info.FORMAT_VERSION + 1
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="format version"):
        dataset_info.load(str(path))
    path.write_text(info.to_json()[:-5])
    with pytest.raises(ValueError, match="is damaged"):
        dataset_info.load(str(path))
    whole["format_version"] = 1
    whole["splits"] = 7
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="is damaged"):
        dataset_info.load(str(path))


def test_old_files_are_of_classification(tmp_path):
    info = dataset_info.DatasetInfo(
        "x", ("a",), {"train": ()}, {"train": {"class_counts": [3]}}
    )
    whole = json.loads(info.to_json())
    assert whole["splits"]["train"]["class_counts"] == [3]
    del whole["task"], whole["label_dtype"], whole["splits"]["train"]["labels"]
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(whole))
    assert dataset_info.load(str(path)) == info
    assert info.has_classes and info.task == "classification"
