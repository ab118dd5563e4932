"""Users' own dataset_factory.py and nets_factory.py, put in place of ours."""

import json
import os
import subprocess
import sys
import types

import pytest
from conftest import ROOT

from datasets import dataset_factory, dataset_lookup, tfrecord_dataset


@pytest.mark.slow
def test_scripts_run_with_users_factories(data_dir, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "users_factories.py", data_dir, tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    train, evaluate, export, export_flowers, listed, drop, network, dataset = results
    for status, _, err in (train, evaluate, export, export_flowers, listed):
        assert status == 0, err
    card = json.loads((tmp_path / "run.json").read_text())
    assert card["class_names"] == ["a", "b", "c", "d", "e"]
    assert (card["num_samples"], card["image_size"]) == (80, 16)
    assert "\na  " in evaluate[1] and "\naccuracy  " in evaluate[1]
    assert (tmp_path / "graph.pb").exists() and (tmp_path / "resnet.pb").exists()
    rows = [line.split() for line in listed[1].splitlines()]
    assert ["resnet_v1_50", "224", "vgg"] in [row[:3] for row in rows]
    assert ["tiny", "16", "inception"] in [row[:3] for row in rows]
    for (status, _, err), message in (
        (drop, "drop_path must be 0, but is 0.5"),
        (network, "Nearest: tiny"),
        (dataset, "Name of dataset unknown other"),
    ):
        assert status == 1 and message in err
        assert "Traceback" not in err


@pytest.fixture
def put(monkeypatch, data_dir):
    """Returns a function that adds a dataset which lacks or changes attributes."""
    table = tfrecord_dataset.Table("patterns_%s_*", {"train": 0}, 5, {})

    def put(**attributes):
        def get_split(split_name, dataset_dir, file_pattern=None, reader=None):
            (data_dir / "dataset_info.json").stat()
            dataset = table.get_split(split_name, dataset_dir)
            vars(dataset).update(attributes)
            return dataset

        module = types.SimpleNamespace(get_split=get_split)
        monkeypatch.setitem(dataset_factory.datasets_map, "mine", module)
        return dataset_lookup.get_dataset("mine", "train", str(data_dir))

    return put


@pytest.mark.parametrize("number", [0, None])
def test_images_are_counted_if_the_module_states_none(put, number):
    assert put(num_samples=number).num_samples == 80


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["a", "b"], {0: "a", 1: "b"}), (("a",), {0: "a"}), ({1: "b"}, {1: "b"}),
     (None, None)],
)  # fmt: skip
def test_names_are_a_dictionary(put, names, expected):
    assert put(labels_to_names=names).labels_to_names == expected


def test_a_module_must_state_its_classes(put):
    with pytest.raises(ValueError, match="'mine' states no number of classes"):
        put(num_classes=None)


def test_classes_are_counted_by_a_factory_without_that_function(monkeypatch):
    monkeypatch.delattr(dataset_factory, "get_num_classes")
    assert dataset_lookup.get_num_classes("flowers") == 5
    with pytest.raises(ValueError, match="There is no dataset 'x'"):
        dataset_lookup.get_num_classes("x", "y")
