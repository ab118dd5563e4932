"""From images and a label file to batches: all kinds of labels."""

import dataclasses
import json
import types

import numpy as np
import pytest
from PIL import Image
from pipeline_runs import first_pixel, run

from datasets import (
    conversion_report,
    convert_images,
    dataset_factory,
    dataset_utils,
    input_pipeline,
    record_reader,
    shard_files,
)
from preprocessing import preprocessing_factory

NUM_IMAGES = 12


@dataclasses.dataclass
class FakeTask:
    """Labels as the tasks read them, without stratification."""

    name: str
    label_dtype: str

    def read_labels(self, columns):
        faults = {}
        if self.label_dtype == "int64":
            ((_, cells),) = columns.items()
            names = tuple(sorted(set(cells)))
            return types.SimpleNamespace(
                names=names,
                values=np.array([names.index(cell) for cell in cells]),
                faults=faults,
            )
        values = np.zeros([len(next(iter(columns.values()))), len(columns)], "f")
        for j, (name, cells) in enumerate(columns.items()):
            for i, cell in enumerate(cells):
                try:
                    values[i, j] = float(cell)
                except ValueError:
                    faults[i] = f"column {name!r} is {cell!r}, not a number"
        return types.SimpleNamespace(names=tuple(columns), values=values, faults=faults)

    def choose_validation(self, values, fraction, seed):
        count = round(fraction * len(values))
        return np.random.RandomState(seed).permutation(len(values)) < count

    def summarize(self, values, num_names):
        if self.label_dtype == "int64":
            assert values.dtype == np.int64 and values.ndim == 1
            return {"class_counts": np.bincount(values, minlength=num_names).tolist()}
        assert values.dtype == np.float32 and values.shape[1] == num_names
        values = np.nan_to_num(values, posinf=0)
        if self.name == "multilabel":
            return {"class_counts": (values > 0).sum(axis=0).tolist()}
        return {
            key: getattr(values, key)(axis=0).tolist()
            for key in ("mean", "std", "min", "max")
        }


CLASSES = FakeTask("classification", "int64")
LABELS = FakeTask("multilabel", "float32")
TARGETS = FakeTask("regression", "float32")


@pytest.fixture
def photos(tmp_path):
    """Images whose pixels are ten times the number in their name."""
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for index in range(NUM_IMAGES):
        name = f"sub/{index}.png" if index % 2 else f"{index}.png"
        image = Image.new("RGB", (8, 6), (10 * index,) * 3)
        image.save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def list_files():
    return [f"sub/{i}.png" if i % 2 else f"{i}.png" for i in range(NUM_IMAGES)]


def convert(photos, header, rows, task, **options):
    path = photos.parent / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    config = convert_images.ConvertConfig(
        source=str(photos),
        dataset_dir=str(photos.parent / "data"),
        labels=str(path),
        **{"workers": 1, "shards": 2, **options},
    )
    return convert_images.convert(config, task)


def convert_targets(photos, task=TARGETS, **options):
    """The targets of image i are i and -i / 2."""
    rows = [f"{file},{i},{-i / 2}" for i, file in enumerate(list_files())]
    return convert(photos, "file,up,down", rows, task, **options)


def get(photos, split="train"):
    return dataset_factory.get_dataset(
        "image_folder", split, str(photos.parent / "data")
    )


def test_classes_from_a_label_file(photos):
    rows = [
        f"{file},{'even' if i % 2 else 'odd'}" for i, file in enumerate(list_files())
    ]
    info = convert(photos, "file,label", rows, CLASSES, validation_fraction=0.25)
    assert (info.class_names, info.task) == (("even", "odd"), "classification")
    assert info.label_dtype == "int64"
    assert {split: info.num_samples(split) for split in info.splits} == {
        "train": 9,
        "validation": 3,
    }
    written = json.loads((photos.parent / "data" / "dataset_info.json").read_text())
    assert written["format_version"] == 1
    for split in info.splits:
        dataset = get(photos, split)
        names = record_reader.read_file_names(dataset)
        assert dataset_utils.count_labels(dataset).tolist() == [
            sum(name.startswith("sub/") for name in names),
            sum(not name.startswith("sub/") for name in names),
        ]
    assert dataset.task == "classification"
    assert dataset.label_summary == info.labels["train"]


def test_targets_come_back_with_their_images(photos):
    info = convert_targets(photos, validation_fraction=0.25)
    assert (info.class_names, info.task) == (("up", "down"), "regression")
    path = photos.parent / "data" / "dataset_info.json"
    assert shard_files.read_info(str(path.parent)) == info
    assert json.loads(path.read_text())["format_version"] == 2
    seen = []
    for split in "train", "validation":
        dataset = get(photos, split)
        assert (dataset.num_classes, dataset.task) == (2, "regression")
        assert dataset.labels_to_names == {0: "up", 1: "down"}
        assert dataset.label_summary == info.labels["train"]
        assert "up, down" in dataset.items_to_descriptions["label"]
        for images, labels in run(dataset, is_training=False):
            assert np.array_equal(images[:, 0, 0, 0], 10 * labels[:, 0])
            assert np.array_equal(labels[:, 1], -labels[:, 0] / 2)
            seen.extend(labels[:, 0])
        names = record_reader.read_file_names(dataset)
        images = record_reader.read_images(dataset, range(len(names)))
        for index, name in enumerate(names):
            number = int(name.split("/")[-1][:-4])
            assert (images[index] == 10 * number).all()
    assert sorted(seen) == list(range(NUM_IMAGES))


def test_targets_in_training(photos):
    convert_targets(photos, validation_fraction=0)
    fn = preprocessing_factory.get_preprocessing("inception", is_training=True)
    for preprocessing_fn in first_pixel, fn:
        results = run(get(photos), 6, preprocessing_fn, size=16, seed=1)
        labels = np.concatenate([labels for _, labels in results])
        for epoch in labels[:12], labels[12:24]:
            assert sorted(epoch[:, 0]) == list(range(NUM_IMAGES))


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_values_that_are_not_finite_are_an_error(photos, value):
    rows = [f"{file},1,{value}" for file in list_files()]
    convert(photos, "file,up,down", rows, TARGETS)
    with (
        pytest.raises(OSError, match="Record 0 of .*A label is not finite"),
        input_pipeline.naming_broken_files(get(photos)),
    ):
        run(get(photos), is_training=False)


def test_what_needs_classes_says_so(photos):
    convert_targets(photos, LABELS)
    dataset = get(photos)
    with pytest.raises(ValueError, match="classes cannot be counted or balanced"):
        dataset_utils.count_labels(dataset)
    with pytest.raises(ValueError, match="classes cannot be counted or balanced"):
        run(dataset, 1, class_counts=[5, 5])
    with pytest.raises(ValueError, match="labels_offset is 1"):
        run(dataset, 1, labels_offset=1)


def test_all_faults_are_named_with_their_line(photos, capsys):
    (photos / "unlisted.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "notes.txt").write_text("?")
    (photos / "broken.png").write_bytes(b"?")
    (photos / "empty.png").write_bytes(b"?")
    rows = [f"{file},{i},0" for i, file in enumerate(list_files())]
    rows[2] = "2.png,two,0"
    rows += ["none.png,1,1", "/0.png,1,1", "../x.png,1,1", "0.png,0,0"]
    rows += ["sub/1.png,7,7", "4.png,4", "empty.png,,1", "broken.png,1,1"]
    info = convert(photos, "file,up,down", rows, TARGETS, validation_fraction=0)
    assert info.num_samples("train") == NUM_IMAGES - 2
    assert info.num_skipped == 9
    message = capsys.readouterr().err
    for line, text in {
        3: "'sub/1.png' is labeled differently in line 18; skipped",
        4: "column 'up' is 'two', not a number; skipped",
        14: "there is no file 'none.png'",
        15: "'/0.png' is not a file name relative to --source",
        16: "'../x.png' is not a file name relative to --source",
        17: "'0.png' is listed again, as in line 2; ignored",
        18: "'sub/1.png' is labeled differently in line 3; skipped",
        19: "there are 2 cells",
        20: "column 'up' is '', not a number; skipped",
    }.items():
        assert f"labels.csv, line {line}: {text}" in message
    assert "Images in" in message and "does not label: 1; left out" in message
    assert "are no images: 1 .txt" in message
    assert "broken.png': not a JPEG" in message
    assert "Left out, as listed above: 9." in conversion_report.describe(info, "data")


def test_a_fault_stops_where_asked(photos):
    rows = [f"{file},{i},0" for i, file in enumerate(list_files())]
    rows[5] = "5.png,five,0"
    with pytest.raises(ValueError, match="line 7: there is no.*--on_bad_image=skip"):
        convert(photos, "file,a,b", rows, TARGETS, skip_bad_images=False)
    # What is merely repeated is no fault.
    rows[5] = rows[4]
    convert(photos, "file,a,b", rows, TARGETS, skip_bad_images=False)


def test_a_label_file_without_usable_images(photos):
    for rows in [], ["x.png,1"], ["0.png,one"]:
        with pytest.raises(ValueError, match="lists no usable image"):
            convert(photos, "file,up", rows, TARGETS)
    assert not (photos.parent / "data").exists()
    for index in range(NUM_IMAGES):
        (photos / list_files()[index]).write_bytes(b"?")
    with pytest.raises(ValueError, match="No image can be read to train on"):
        convert_targets(photos)


def test_a_classifier_needs_two_classes(photos):
    rows = [f"{file},cat" for file in list_files()]
    with pytest.raises(ValueError, match="single class 'cat'"):
        convert(photos, "file,label", rows, CLASSES)


def test_a_split_column_fixes_the_split(photos):
    splits = ["train"] * 6 + ["val"] * 4 + ["test"] * 2
    rows = [
        f"{f},{i},{s}"
        for i, (f, s) in enumerate(zip(list_files(), splits, strict=True))
    ]
    info = convert(photos, "file,up,split", rows, TARGETS)
    assert info.class_names == ("up",)
    assert [info.labels[s]["min"] for s in info.splits] == [[0], [6], [10]]
    assert [info.num_samples(s) for s in info.splits] == [6, 4, 2]


def test_training_images_are_split_if_there_are_none_for_validation(photos):
    splits = ["train"] * 10 + ["test"] * 2
    rows = [
        f"{f},{i},{s}"
        for i, (f, s) in enumerate(zip(list_files(), splits, strict=True))
    ]
    info = convert(photos, "file,up,split", rows, TARGETS, validation_fraction=0.3)
    assert [info.num_samples(s) for s in info.splits] == [7, 3, 2]


def test_tables_of_all_kinds(photos):
    info = convert_targets(photos, validation_fraction=0.25)
    lines = conversion_report.describe(info, "data").splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["target", "split", "images", "mean", "std", "min", "max"]
    assert [row[:3] for row in rows[1:5]] == [
        ["up", "train", "9"],
        ["up", "validation", "3"],
        ["down", "train", "9"],
        ["down", "validation", "3"],
    ]
    for row, name in zip(rows[1:5], ["train", "validation"] * 2, strict=True):
        summary = info.labels[name]
        index = info.class_names.index(row[0])
        values = [summary[key][index] for key in ("mean", "std", "min", "max")]
        np.testing.assert_allclose([float(cell) for cell in row[3:]], values, 1e-3)
    rows = [f"{file},{i % 2},1" for i, file in enumerate(list_files())]
    info = convert(
        photos, "file,odd,any", rows, LABELS, overwrite=True, validation_fraction=0
    )
    lines = conversion_report.describe(info, "data").splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["label", "train"],
        ["odd", "6"],
        ["any", "12"],
        ["images", "12"],
    ]


def test_settings_that_do_not_fit(photos):
    def fail(message, task=None, **options):
        config = convert_images.ConvertConfig(
            str(photos), str(photos.parent / "data"), **options
        )
        with pytest.raises(ValueError, match=message):
            convert_images.convert(config, task)

    fail("--labels needs a --task", labels="labels.csv")
    fail("--task=regression cannot take its labels from folder", TARGETS)
    fail("--file_column names columns", file_column="file")
    fail("--label_columns names columns", label_columns=("a",))
