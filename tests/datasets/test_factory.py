"""Dataset modules: how they find their shards, and what they report."""

import json
import types

import numpy as np
import pytest

from datasets import (
    dataset_factory,
    dataset_info,
    dataset_utils,
    tfrecord_dataset,
)
from tf_slim_compat import slim, tf

OBJECT_ITEMS = ("label_text", "object/bbox", "object/label")
# The public facts of each dataset: file names, sizes of the splits, classes.
MODULES = {
    "cifar10": ("cifar10_{}.tfrecord", {"train": 50000, "test": 10000}, 10),
    "flowers": (
        "flowers_{}_00000-of-00001.tfrecord",
        {"train": 3320, "validation": 350},
        5,
    ),
    "imagenet": (
        "{}-00000-of-00001",
        {"train": 1281167, "validation": 50000},
        1001,
    ),
    "mnist": ("mnist_{}.tfrecord", {"train": 60000, "test": 10000}, 10),
    "satellite": (
        "satellite_{}_00000-of-00001.tfrecord",
        {"train": 4800, "validation": 1200},
        6,
    ),
    "visualwakewords": (
        "{}.record-00000-of-00001",
        {"train": 82783, "val": 40504},
        2,
    ),
}


def encode_png(pixels):
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.encode_png(pixels))


def write(path, label=1, count=1, shape=(32, 32, 3)):
    encoded = encode_png(np.zeros(shape, np.uint8))
    example = dataset_utils.image_to_tfexample(encoded, b"png", *shape[:2], label)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(count):
            writer.write(example.SerializeToString())


def write_info(folder, shards):
    """Writes `dataset_info.json` about shards {name: number of records}."""
    found = tuple(
        dataset_info.Shard(name, (folder / name).stat().st_size, records)
        for name, records in shards.items()
    )
    info = dataset_info.DatasetInfo(
        "satellite",
        ("a", "b", "c"),
        {"train": found},
        {"train": {"class_counts": [sum(shards.values()), 0, 0]}},
    )
    (folder / "dataset_info.json").write_text(info.to_json())


def get(folder, split="train", name="satellite", **options):
    return dataset_factory.get_dataset(name, split, str(folder), **options)


def test_all_modules_are_listed():
    assert set(dataset_factory.datasets_map) == {*MODULES, "image_folder"}


@pytest.mark.parametrize("name", MODULES)
def test_module(name, tmp_path):
    file_name, sizes, num_classes = MODULES[name]
    shape = (28, 28, 1) if name == "mnist" else (32, 32, 3)
    for split, size in sizes.items():
        write(tmp_path / file_name.format(split), shape=shape)
        dataset = get(tmp_path, split, name)
        assert isinstance(dataset, slim.dataset.Dataset)
        assert dataset.num_samples == size
        assert dataset.num_classes == num_classes
        assert dataset.labels_to_names is None
        assert dataset.reader is tf.TFRecordReader
        assert dataset.data_sources == [str(tmp_path / file_name.format(split))]
        items = {"image", "label", *(OBJECT_ITEMS if name == "imagenet" else ())}
        assert set(dataset.items_to_descriptions) == items
        assert (dataset.task, dataset.label_summary) == ("classification", None)
        assert set(dataset.decoder.list_items()) == items
        with tf.Graph().as_default(), tf.Session() as session:
            record = next(tf.io.tf_record_iterator(dataset.data_sources[0]))
            image, label = dataset.decoder.decode(record, ["image", "label"])
            assert session.run(image).shape == shape
            assert session.run(label) == 1


def test_the_old_data_provider_reads_it(tmp_path):
    write(tmp_path / "flowers_train_00000-of-00001.tfrecord", label=3)
    with tf.Graph().as_default(), tf.Session() as session:
        provider = slim.dataset_data_provider.DatasetDataProvider(
            get(tmp_path, name="flowers")
        )
        image, label = provider.get(["image", "label"])
        with slim.queues.QueueRunners(session):
            image, label = session.run([image, label])
    assert image.shape == (32, 32, 3)
    assert label == 3


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"labels.txt": "0:ice\n1:big rock: red\n"}, {0: "ice", 1: "big rock: red"}),
        ({"label.txt": "ice\nbig rock\n"}, {0: "ice", 1: "big rock"}),
        ({"label.txt": "\ufeffice\r\nrock"}, {0: "ice", 1: "rock"}),
        ({"labels.txt": "ice\nrock\n\n"}, {0: "ice", 1: "rock"}),
        ({"labels.txt": "0:ice\n", "label.txt": "rock\n"}, {0: "ice"}),
        ({"label.txt": "Алиса\n"}, {0: "Алиса"}),
        ({}, None),
    ],
)
def test_class_names(tmp_path, files, names):
    write(tmp_path / "satellite_train_0.tfrecord")
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    assert get(tmp_path).labels_to_names == names


def test_info_wins_over_the_table(tmp_path, caplog):
    names = [f"satellite_train_{i:05d}-of-00002.tfrecord" for i in range(2)]
    for name in names:
        write(tmp_path / name, count=5)
    write_info(tmp_path, dict.fromkeys(names, 5))
    with caplog.at_level("INFO"):
        dataset = get(tmp_path)
    assert "counts 10 images of 3 classes" in caplog.text
    assert (dataset.num_samples, dataset.num_classes) == (10, 3)
    assert dataset.labels_to_names == {0: "a", 1: "b", 2: "c"}
    # A narrower pattern is intended.
    part = get(tmp_path, file_pattern="satellite_%s_00001-*")
    assert part.num_samples == 5
    part = get(tmp_path, file_pattern="satellite_train_00000-of-00002.tfrecord")
    assert part.num_samples == 5


def test_labels_that_contradict_the_info(tmp_path):
    write(tmp_path / "satellite_train_0.tfrecord")
    write_info(tmp_path, {"satellite_train_0.tfrecord": 1})
    for text in "0:a\n1:b\n2:c\n", "a\r\nb\r\n\r\nc":
        (tmp_path / "labels.txt").write_text(text)
        assert get(tmp_path).labels_to_names == {0: "a", 1: "b", 2: "c"}
    for text, message in {
        "0:a\n1:b\n2:c\n3:d\n": "4 and 3 labels, label 3 is 'd' and None",
        "0:a\n1:b\n": "2 and 3 labels, label 2 is None and 'c'",
        "0:a\n1:c\n2:b\n": "3 and 3 labels, label 1 is 'c' and 'b'",
    }.items():
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(ValueError, match=f"contradict each other: {message}"):
            get(tmp_path)


def test_leftovers_of_an_interrupted_conversion_are_ignored(tmp_path, caplog):
    name = "satellite_train_00000-of-00001.tfrecord"
    write(tmp_path / name)
    write_info(tmp_path, {name: 1})
    # One shard of two, and another split.
    write(tmp_path / "satellite_train_00001-of-00002.0123abcd.tfrecord")
    write(tmp_path / "satellite_validation_00000-of-00001.tfrecord")
    for module in "satellite", "image_folder":
        dataset = get(tmp_path, name=module)
        assert dataset.data_sources == [str(tmp_path / name)]
    assert "Ignoring shards of another conversion" in caplog.text
    with pytest.raises(FileNotFoundError, match="No file matches"):
        get(tmp_path, "validation")


def test_info_about_other_files_is_ignored(tmp_path):
    write(tmp_path / "satellite_train_00000-of-00001.tfrecord")
    write(tmp_path / "pets_train.tfrecord")
    write_info(tmp_path, {"pets_train.tfrecord": 1})
    assert get(tmp_path).num_samples == 4800
    # TensorFlow Datasets has a file of that name too.
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "tfds"}))
    assert get(tmp_path).num_samples == 4800


def test_splits_that_only_the_info_knows(tmp_path):
    name = "satellite_test_00000-of-00001.tfrecord"
    write(tmp_path / name, count=2)
    shard = dataset_info.Shard(name, (tmp_path / name).stat().st_size, 2)
    info = dataset_info.DatasetInfo(
        "satellite", ("a", "b"), {"test": (shard,)}, {"test": {"class_counts": [1, 1]}}
    )
    (tmp_path / "dataset_info.json").write_text(info.to_json())
    assert get(tmp_path, "test").num_samples == 2
    assert get(tmp_path, "test", "image_folder").num_samples == 2
    with pytest.raises(ValueError, match="no split 'train'.* are test"):
        get(tmp_path, "train", "image_folder")


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'satellite'.*cifar10, flowers"):
        get(tmp_path, name="satelite")
    write(tmp_path / "satellite_train_0.tfrecord")
    with pytest.raises(
        ValueError, match="'validation'.*The splits of .* are .*train, "
    ):
        get(tmp_path, "valid")


def test_datasets_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(
        dataset_factory, "datasets_map", dict(dataset_factory.datasets_map)
    )
    table = tfrecord_dataset.Table("ours_%s.tfrecord", {"train": 7}, 3, {})
    dataset_factory.register("ours", table)
    dataset_factory.register("module", types.SimpleNamespace(get_split=table.get_split))
    write(tmp_path / "ours_train.tfrecord")
    for name in "ours", "module":
        assert get(tmp_path, name=name).num_samples == 7
        assert dataset_factory.get_num_classes(name, str(tmp_path)) == 3
    assert dataset_factory.get_num_classes("ours") == 3
    with pytest.raises(ValueError, match="already a dataset 'ours'"):
        dataset_factory.register("ours", table)
    with pytest.raises(ValueError, match="'other' is 7, which has no get_split"):
        dataset_factory.register("other", 7)


@pytest.mark.parametrize("name", ["satellite", "image_folder"])
def test_folders_that_are_none(tmp_path, name):
    for nothing in None, "":
        with pytest.raises(ValueError, match="--dataset_dir"):
            dataset_factory.get_dataset(name, "train", nothing)
    with pytest.raises(FileNotFoundError, match="There is no folder .*--dataset_dir"):
        get(tmp_path / "none", name=name)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is not a folder: --dataset_dir"):
        get(tmp_path / "file", name=name)


def test_no_file_matches(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"satellite_train_\*.tfrecord'.*contains nothing"
    ):
        get(tmp_path)
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(
        FileNotFoundError, match=r"satellite_train_\*.*contains photo.jpg"
    ):
        get(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'.*other_train-\*'"):
        get(tmp_path, file_pattern="other_%s-*")
    write(tmp_path / "pets.tfrecord")
    write_info(tmp_path, {"pets.tfrecord": 1})
    with pytest.raises(FileNotFoundError, match="--dataset_name=image_folder"):
        get(tmp_path)


def test_image_folder_needs_its_info(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset_info.json: image_folder"):
        get(tmp_path, name="image_folder")


def test_missing_shards_are_named(tmp_path):
    for index in 0, 2:
        write(tmp_path / f"satellite_train_{index:05d}-of-00003.tfrecord")
    with pytest.raises(FileNotFoundError, match="1 of 3 .*satellite_train_00001-of"):
        get(tmp_path)
    get(tmp_path, file_pattern="satellite_%s_00000*")


def test_missing_shards_by_the_info(tmp_path):
    for index in range(2):
        write(tmp_path / f"satellite_train_{index}.tfrecord")
    write_info(tmp_path, {f"satellite_train_{index}.tfrecord": 1 for index in range(2)})
    (tmp_path / "satellite_train_1.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match="satellite_train_1.tfrecord"):
        get(tmp_path)


def test_truncated_shards_are_named(tmp_path):
    path = tmp_path / "satellite_train_0.tfrecord"
    write(path)
    write_info(tmp_path, {path.name: 1})
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(
        OSError, match=f"satellite_train_0.tfrecord' has {size - 7} .* {size} "
    ):
        get(tmp_path)


def test_shards_of_another_conversion(tmp_path):
    for index in range(2):
        write(tmp_path / f"satellite_train_{index}.tfrecord")
    write_info(tmp_path, {"satellite_train_0.tfrecord": 1})
    with pytest.raises(ValueError, match="does not list .*satellite_train_1.tfrecord"):
        get(tmp_path)


def test_folder_names_with_wildcards(tmp_path):
    folder = tmp_path / "data [old] 100%s*"
    folder.mkdir()
    write(folder / "satellite_train_0.tfrecord")
    assert get(folder).data_sources == [str(folder / "satellite_train_0.tfrecord")]
