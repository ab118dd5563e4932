"""Conversion by tasks, run here in any order, against the converter of one machine."""

import filecmp
import os

import pytest
from conversions import draw, draw_pets
from PIL import Image

from datasets import convert_images
from deployment import tasks


def convert(source, folder, task=None, distribute=None, **options):
    options = {"shards": 3, "workers": 1, **options}
    config = convert_images.ConvertConfig(str(source), str(folder), **options)
    return convert_images.convert(config, task, distribute)


def distribute(function, given, folder):
    """Runs each task twice, the last one first, as no engine promises an order."""
    for task in given:
        function(task)
    return [function(task) for task in reversed(given)][::-1]


def assert_same(first, second):
    names = sorted(os.listdir(first))
    assert names == sorted(os.listdir(second))
    assert filecmp.cmpfiles(first, second, names, shallow=False)[0] == names


@pytest.fixture
def source(tmp_path):
    """Images of which two cannot be read, one is turned, and two are the same."""
    folder = draw_pets(tmp_path / "photos")
    (folder / "cat" / "0.png").write_bytes(b"no image")
    (folder / "dog" / "3.png").write_bytes(b"")
    draw(folder / "dog" / "4.png", (5, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((8, 6), 50).save(folder / "cat" / "turned.jpg", exif=exif)
    return folder


def test_classes(source, tmp_path, capsys):
    local = convert(source, tmp_path / "local", seed=3)
    said = [line for line in capsys.readouterr().err.split("\n") if "read" in line]
    assert len(said) == 2 and local.num_skipped == 2 and local.notes
    assert convert(source, tmp_path / "tasks", None, distribute, seed=3) == local
    assert_same(tmp_path / "local", tmp_path / "tasks")
    reported = capsys.readouterr().err.split("\n")
    assert [line for line in reported if line.startswith("Cannot read")] == said


@pytest.mark.parametrize("name", ["multilabel", "regression"])
def test_label_files(name, source, tmp_path):
    rows = [f"dog/{i}.png,{i % 2},{int(i > 2)}" for i in range(6)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,wet,green", *rows, "dog/gone.png,1,1"]))
    task = tasks.get_task(name)
    options = {"labels": str(table), "shards": 2}
    local = convert(source, tmp_path / "local", task, **options)
    assert local.num_skipped == 2 and local.label_dtype == "float32"
    convert(source, tmp_path / "tasks", task, distribute, **options)
    assert_same(tmp_path / "local", tmp_path / "tasks")


def test_a_dataset_is_replaced_as_a_whole(source, tmp_path):
    for folder, how in ("local", None), ("tasks", distribute):
        convert(source, tmp_path / folder, None, how)
        convert(source, tmp_path / folder, None, how, seed=1, overwrite=True)
    assert_same(tmp_path / "local", tmp_path / "tasks")


@pytest.mark.parametrize(
    "bad, said",
    [
        ({"skip_bad_images": False}, "Cannot read .*: (not a JPEG|the file is empty)"),
        ({"seed": 2}, "changed during the conversion"),
    ],
)
def test_nothing_is_left_of_a_conversion_that_fails(bad, said, source, tmp_path):
    rounds = []

    def meddle(function, given, folder):
        rounds.append(function)
        if len(rounds) == 2:
            draw(source / "dog" / "5.png", (99, 99, 99))
        return distribute(function, given, folder)

    with pytest.raises(ValueError, match=said):
        convert(source, tmp_path / "tasks", None, meddle, **bad)
    assert not (tmp_path / "tasks").exists()
