"""Conversion of class folders: what is written, and which sources are rejected."""

import os

import numpy as np
import pytest
from conversions import convert, draw, draw_pets, read

from datasets import (
    conversion_report,
    convert_images,
    dataset_factory,
    dataset_utils,
    shard_files,
)
from tf_slim_compat import tf


@pytest.fixture
def source(tmp_path):
    return draw_pets(tmp_path / "photos")


def get_counts(info):
    """Returns {split: images of each class}."""
    return {s: tuple(summary["class_counts"]) for s, summary in info.labels.items()}


def test_what_is_written(source, tmp_path):
    info = convert(source, dataset_name="pets", shards=2, validation_fraction=0.25)
    data = tmp_path / "data"
    assert sorted(path.name for path in data.iterdir()) == [
        "dataset_info.json",
        "labels.txt",
        "pets_train_00000-of-00002.tfrecord",
        "pets_train_00001-of-00002.tfrecord",
        "pets_validation_00000-of-00002.tfrecord",
        "pets_validation_00001-of-00002.tfrecord",
    ]
    assert (data / "labels.txt").read_text() == "0:cat\n1:dog\n"
    assert dataset_utils.read_label_file(str(data)) == {0: "cat", 1: "dog"}
    assert shard_files.read_info(str(data)) == info
    assert info.class_names == ("cat", "dog")
    assert {split: sum(counts) for split, counts in get_counts(info).items()} == {
        "train": 12,
        "validation": 4,
    }
    for shards in info.splits.values():
        for shard in shards:
            path = data / shard.file
            assert path.stat().st_size == shard.bytes
            assert len(read(data, shard.file)) == shard.records
    records = read(data)
    assert len({record["image/filename"] for record in records}) == 16
    for record in records:
        kind, name = record["image/filename"].decode().split("/")
        assert record == {
            "image/encoded": (source / kind / name).read_bytes(),
            "image/format": b"png",
            "image/class/label": ["cat", "dog"].index(kind),
            "image/class/text": kind.encode(),
            "image/height": 6,
            "image/width": 8,
            "image/filename": f"{kind}/{name}".encode(),
        }


def test_dataset_modules_read_it(source, tmp_path):
    convert(source, dataset_name="satellite")
    for name in "satellite", "image_folder":
        dataset = dataset_factory.get_dataset(
            name, "validation", str(tmp_path / "data")
        )
        assert (dataset.num_samples, dataset.num_classes) == (3, 2)
        assert dataset.labels_to_names == {0: "cat", 1: "dog"}


def test_classes_are_mixed(source, tmp_path):
    convert(source, shards=1)
    labels = [r["image/class/label"] for r in read(tmp_path / "data", "train")]
    assert labels != sorted(labels)


def test_seed_decides(source, tmp_path):
    def fingerprint(seed, name, **options):
        info = convert(source, dataset_dir=tmp_path / name, seed=seed, **options)
        return info.fingerprint

    first = fingerprint(1, "a")
    assert fingerprint(1, "b", workers=2) == first
    assert fingerprint(2, "c") != first


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ((10, 6), 0.25, {"train": (7, 5), "validation": (3, 1)}),
        ((10, 6), 0.01, {"train": (9, 5), "validation": (1, 1)}),
        ((10, 6), 0.99, {"train": (1, 1), "validation": (9, 5)}),
        ((5, 1, 2), 0.2, {"train": (4, 1, 1), "validation": (1, 0, 1)}),
        ((10, 6), 0.0, {"train": (10, 6)}),
        # A sixth of 24 is 4, though a sixth of 8 is 1.33.
        ((8, 8, 8), 1 / 6, {"train": (6, 7, 7), "validation": (2, 1, 1)}),
    ],
)
def test_held_out_images(tmp_path, sizes, fraction, expected):
    for label, size in enumerate(sizes):
        for index in range(size):
            draw(tmp_path / "photos" / f"class{label}" / f"{index}.png")
    info = convert(tmp_path / "photos", validation_fraction=fraction)
    assert get_counts(info) == expected


def test_more_shards_than_images(source, tmp_path):
    info = convert(source, shards=5, validation_fraction=0.1)
    assert [shard.file for shard in info.splits["validation"]] == [
        "images_validation_00000-of-00002.tfrecord",
        "images_validation_00001-of-00002.tfrecord",
    ]


def test_split_folders_become_splits(tmp_path):
    photos = tmp_path / "photos"
    for split, count in [("Train", 3), ("Valid", 2), ("Testing", 1)]:
        for kind in "cat", "dog":
            for index in range(count):
                draw(photos / split / kind / f"{index}.png")
    info = convert(photos)
    assert get_counts(info) == {"train": (3, 3), "validation": (2, 2), "test": (1, 1)}
    assert info.notes[0] == (
        "Splits: train from 'Train', validation from 'Valid', test from 'Testing'."
    )
    test = dataset_factory.get_dataset("image_folder", "test", str(tmp_path / "data"))
    assert test.num_samples == 2


def test_identical_images_with_different_labels_are_reported(source):
    info = convert(source)
    assert info.notes[0].startswith("Identical images with different labels: 6, such")


def test_names_of_all_kinds(tmp_path):
    photos = tmp_path / "my photos"
    names = ["Алиса", "big cat", "ネコ", "100%"]
    for name in names:
        draw(photos / name / f"{name} 1.png")
        draw(photos / name / "2 é%s*.PNG")
    raw = os.fsdecode(b"caf\xe9")
    draw(photos / raw / "a.png")
    info = convert(photos, dataset_dir=tmp_path / "my [data] 100%")
    assert info.class_names == tuple(sorted([*names, raw]))
    dataset = dataset_factory.get_dataset(
        "image_folder", "train", str(tmp_path / "my [data] 100%")
    )
    assert dataset.labels_to_names == dict(enumerate(info.class_names))
    texts = {r["image/class/text"] for r in read(tmp_path / "my [data] 100%")}
    assert texts == {os.fsencode(name) for name in info.class_names}
    conversion_report.describe(info, "data").encode()


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "\n1:dog",
        "a\rb",
        "a\x85b",
        "a\u2028b",
        "a\x0cb",
        "a\x1b[1mb",
        "a\t",
        "a ",
    ],
)
def test_names_that_labels_txt_cannot_hold(source, tmp_path, name):
    draw(source / name / "1.png")
    with pytest.raises(ValueError, match="labels.txt cannot hold") as caught:
        convert(source)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_names_with_colons_are_read_back(tmp_path):
    names = (" a", "1:dog", "2: b", ":", "0:", "a:b:c")
    for name in names:
        draw(tmp_path / "photos" / name / "1.png")
    info = convert(tmp_path / "photos", validation_fraction=0)
    found = dataset_utils.read_label_file(str(tmp_path / "data"))
    assert found == dict(enumerate(info.class_names))
    assert sorted(names) == list(info.class_names)


@pytest.fixture
def damaged(source):
    """The source with three unreadable images."""
    (source / "cat" / "bad.jpg").write_bytes(b"no image")
    (source / "cat" / "empty.png").write_bytes(b"")
    (source / "dog" / "gone.png").symlink_to(source / "nothing")
    return source


def test_bad_images_are_named_and_counted(damaged, capsys):
    info = convert(damaged)
    assert info.num_skipped == 3
    assert sum(map(sum, get_counts(info).values())) == 16
    message = capsys.readouterr().err
    for name in "bad.jpg", "empty.png", "gone.png":
        assert name in message
    assert "listed above: 3." in conversion_report.describe(info, "data")


def test_bad_images_do_not_thin_out_validation(tmp_path):
    for name in "cat", "dog":
        draw(tmp_path / "photos" / name / "0.png")
        draw(tmp_path / "photos" / name / "1.png")
        for index in range(8):
            path = tmp_path / "photos" / name / f"bad{index}.png"
            path.write_bytes(b"?")
    with pytest.raises(ValueError, match="Too few images can be read .*'cat', 'dog'"):
        convert(tmp_path / "photos", validation_fraction=0.3)
    info = convert(tmp_path / "photos", validation_fraction=0.1)
    assert get_counts(info) == {"train": (1, 1), "validation": (1, 1)}


def test_bad_images_stop_it_where_asked(damaged, tmp_path):
    for workers in 1, 2:
        with pytest.raises(ValueError, match="Cannot read .*--on_bad_image=skip"):
            convert(damaged, skip_bad_images=False, workers=workers)
        assert not (tmp_path / "data").exists()


def test_all_of_a_class_damaged(source, tmp_path):
    draw(source / "fox" / "1.png")
    (source / "fox" / "1.png").write_bytes(b"?")
    with pytest.raises(ValueError, match="Too few images can be read .*'fox'"):
        convert(source)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, "--validation_fraction=1.0 must be"),
        ({"validation_fraction": -0.1}, "--validation_fraction=-0.1 must be"),
        ({"shards": 0}, "--shards=0 must be at least 1"),
        ({"workers": -1}, "--workers=-1 must be at least 1"),
        ({"dataset_name": "a b/c"}, "--dataset_name='a b/c'"),
        ({"dataset_dir": ""}, "--dataset_dir"),
    ],
)
def test_wrong_settings(source, options, message):
    with pytest.raises(ValueError, match=message):
        convert(source, **options)


def test_source_and_dataset_dir_within_each_other(source):
    for place in source, source / "data", source.parent:
        with pytest.raises(ValueError, match="must not lie within each other"):
            convert(source, dataset_dir=place)


def test_source_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        convert(tmp_path / "photos")
    config = convert_images.ConvertConfig(source=None, dataset_dir=str(tmp_path))
    with pytest.raises(ValueError, match="--source"):
        convert_images.convert(config)


def test_progress_in_a_log_is_sparse(source, capsys):
    convert(source)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "16 of 16 images"
    assert len(lines) == 10


def test_pixels_come_back(source, tmp_path):
    convert(source, validation_fraction=0)
    record = read(tmp_path / "data")[0]
    with tf.Graph().as_default(), tf.Session() as session:
        image = session.run(tf.io.decode_image(record["image/encoded"]))
    index = int(record["image/filename"].decode().split("/")[1][:-4])
    assert np.array_equal(image, np.full((6, 8, 3), (index, 0, 0)))
