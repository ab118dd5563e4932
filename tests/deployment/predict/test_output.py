"""Tables, CSV and JSON of predictions."""

import csv
import io
import json

import numpy as np
import pytest

from deployment import tasks
from deployment.models.spec import ModelSpec
from deployment.predict import output

SPEC = ModelSpec(model_name=None, num_outputs=3, output_names=("cat", "dog", "owl"))


def write(kind, task_name="classification", spec=SPEC, scores=(0.1, 0.65432109, 0.2)):
    task, file = tasks.get_task(task_name), io.StringIO()
    writer = output.WRITERS[kind](file, task)
    rows = task.interpret(np.array(scores, np.float32), spec, 2)
    writer.write("a, b.jpg", rows)
    writer.write_failure("c.jpg", "the file is empty")
    writer.close()
    return file.getvalue()


def test_classes():
    assert write("table") == "a, b.jpg\n  0.6543  dog\n  0.2000  owl\n"
    assert write("csv") == (
        "file,rank,class,name,score\n"
        '"a, b.jpg",1,1,dog,0.654321\n'
        '"a, b.jpg",2,2,owl,0.200000\n'
    )
    assert write("json") == (
        '[\n{"file": "a, b.jpg", "predictions": '
        '[{"class": 1, "name": "dog", "score": 0.654321}, '
        '{"class": 2, "name": "owl", "score": 0.2}]},\n'
        '{"file": "c.jpg", "error": "the file is empty"}\n]\n'
    )


def test_labels_above_their_thresholds():
    spec = SPEC.replace(task="multilabel", task_state={"thresholds": [0.05, 0.7, 0.1]})
    table = write("table", "multilabel", spec)
    assert "owl" in table and "cat" in table and "dog" not in table
    (first, _) = json.loads(write("json", "multilabel", spec))
    assert first["predictions"][0]["label"] == "owl"
    assert first["predictions"][0]["score"] == 0.2


def test_values_keep_their_digits():
    spec = SPEC.replace(
        task="regression", task_state={"mean": [0, 0, 0], "scale": [1, 1, 1]}
    )
    scores = (1.5e-7, 1234567.0, -2.25)
    lines = write("csv", "regression", spec, scores).splitlines()
    assert lines[0] == "file,target,value"
    assert [line.split(",")[-2:] for line in lines[1:]] == [
        ["cat", "1.5e-07"],
        ["dog", "1234567"],
        ["owl", "-2.25"],
    ]
    (first, _) = json.loads(write("json", "regression", spec, scores))
    assert [p["value"] for p in first["predictions"]] == [1.5e-7, 1234567.0, -2.25]


def test_no_image_is_an_empty_list():
    file = io.StringIO()
    output.JsonWriter(file, tasks.get_task("classification")).close()
    assert json.loads(file.getvalue()) == []


@pytest.mark.parametrize(
    ("output_format", "name", "start"),
    [(None, "x.csv", "file,"), (None, "x.txt", "a.jpg"), ("json", "x.csv", "[\n")],
)
def test_the_ending_chooses_the_format(output_format, name, start, tmp_path):
    task = tasks.get_task("classification")
    with output.open_writer(output_format, str(tmp_path / name), task) as writer:
        writer.write("a.jpg", [])
        if start == "[\n":
            assert not (tmp_path / name).exists()
    assert (tmp_path / name).read_text().startswith(start)


def test_names_reach_neither_a_terminal_nor_a_spreadsheet_raw():
    spec = SPEC.replace(output_names=("=1+2", "-\x1b[2J", "owl"))
    table = write("table", spec=spec, scores=(0.5, 0.4, 0.1))
    assert table == "a, b.jpg\n  0.5000  =1+2\n  0.4000  -\\u001b[2J\n"
    rows = list(csv.reader(io.StringIO(write("csv", spec=spec, scores=(0.5, 0.4, 0)))))
    assert [row[3] for row in rows[1:]] == ["'=1+2", "'-\x1b[2J"]
    (first, _) = json.loads(write("json", spec=spec, scores=(0.5, 0.4, 0)))
    assert [p["name"] for p in first["predictions"]] == ["=1+2", "-\x1b[2J"]


@pytest.mark.parametrize("count", [1, 100_000])
def test_a_full_disk_leaves_the_previous_file(count, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("previous")
    (tmp_path / ".x.json.partial").symlink_to("/dev/full")
    task = tasks.get_task("classification")
    with (
        pytest.raises(OSError, match="x.json' cannot be written: No space left"),
        output.open_writer(None, str(path), task) as writer,
    ):
        writer.write_failure("a" * count, "no image")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["previous"]
