"""Several labels per image, and numbers, from a label file to exported models."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from script_runner import run_script

CLASSES = ("checks", "dots", "rings", "stripes", "zigzags")
# Every image of a class has these labels; rings have none.
LABELS = {"angular": {"checks", "zigzags"}, "repeated": {"checks", "dots", "stripes"}}
FORMATS = ("frozen", "saved_model", "tflite")


def compute_red(path):
    """The mean of the red channel, in a unit of its own."""
    with Image.open(path) as image:
        return 100 + 50 * np.asarray(image.convert("RGB"))[..., 0].mean() / 255


def write_csv(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def succeed(script, *arguments):
    status, out, err = run_script(script, *arguments)
    assert status == 0, out + err
    return out


@pytest.fixture(scope="module", params=["multilabel", "regression"])
def trained(request, pictures_dir, tmp_path_factory):
    """The name of the task, and a folder with data, a run and exported models."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    paths = sorted(pictures_dir.glob("*/*.jpg"))
    names = [path.relative_to(pictures_dir) for path in paths]
    if task == "multilabel":
        header = ("file", *LABELS)
        labels = [
            [int(path.parent.name in classes) for classes in LABELS.values()]
            for path in paths
        ]
    else:
        header, labels = ("file", "redness"), [[compute_red(path)] for path in paths]
    rows = [(name, *row) for name, row in zip(names, labels, strict=True)]
    write_csv(folder / "labels.csv", header, rows)
    succeed(
        "convert_dataset.py",
        f"--source={pictures_dir}",
        f"--labels={folder}/labels.csv",
        f"--task={task}",
        f"--dataset_dir={folder}/data",
        "--workers=1",
    )
    succeed(
        "train_image_classifier.py",
        f"--train_dir={folder}/run",
        "--dataset_name=image_folder",
        f"--dataset_dir={folder}/data",
        "--model_name=linear_regression",
        "--train_image_size=8",
        "--preprocessing_name=lenet",
        "--optimizer=adam",
        "--learning_rate=0.01",
        "--learning_rate_decay_type=fixed",
        "--max_number_of_steps=60",
        "--batch_size=16",
        "--mixup_alpha=0.1",
        "--gradient_accumulation_steps=2",
        "--eval_split_name=validation",
        "--eval_every=30",
        "--early_stopping_patience=5",
        "--export_best",
        "--seed=1",
        "--save_summaries_secs=0",
    )
    succeed(
        "export_model.py",
        f"--checkpoint_path={folder}/run",
        f"--output_dir={folder}/out",
        f"--formats={','.join(FORMATS)}",
        "--check_images=8",
    )
    return task, folder


def test_metrics_are_the_tasks_own(trained):
    task, folder = trained
    rows = [json.loads(line) for line in (folder / "run/metrics.jsonl").open()]
    card = json.loads((folder / "run/run.json").read_text())
    out = succeed(
        "eval_image_classifier.py",
        f"--checkpoint_path={folder}/run",
        f"--gallery={folder}/gallery.html",
        f"--predictions_csv={folder}/predictions.csv",
    )
    found = json.loads((folder / "run/eval/eval.json").read_text())
    row = next(row for row in rows if row["step"] == found["step"])
    assert row["step"] == card["results"]["best"]["step"]
    assert (folder / "gallery.html").read_text().count("<li>") > 0
    with open(folder / "predictions.csv") as file:
        assert len(list(csv.DictReader(file))) == found["num_images"]
    if task == "multilabel":
        assert card["results"]["best"]["metric"] == "mean_average_precision"
        assert len(card["task_state"]["thresholds"]) == 2
        assert found["exact_match"] == pytest.approx(row["exact_match"], abs=1e-6)
        assert "angular" in out
    else:
        assert card["results"]["best"]["metric"] == "r2"
        assert 100 < card["task_state"]["mean"][0] < 150
        # A linear model of the pixels can compute the mean of a channel.
        assert found["r2"] > 0.5 and found["r2"] == pytest.approx(row["r2"])
        assert (folder / "run/eval/scatter.png").stat().st_size > 1000


def predict(model, image):
    out = succeed(
        "classify_image.py", f"--model_path={model}", f"{image}", "--output_format=json"
    )
    (record,) = json.loads(out)
    return record["predictions"]


def test_every_file_answers_like_the_checkpoint_in_the_users_units(
    trained, pictures_dir
):
    task, folder = trained
    image = pictures_dir / "checks" / "3.jpg"
    expected = predict(folder / "run", image)
    models = ["out/frozen_graph.pb", "out/saved_model", "out/model.tflite"]
    for name in [*models, "run/export/best/frozen_graph.pb"]:
        found = predict(folder / name, image)
        key = "label" if task == "multilabel" else "target"
        number = "score" if task == "multilabel" else "value"
        assert [row[key] for row in found] == [row[key] for row in expected], name
        for ours, theirs in zip(found, expected, strict=True):
            assert ours[number] == pytest.approx(theirs[number], rel=1e-3, abs=1e-3)
    if task == "regression":
        (row,) = expected
        assert row["target"] == "redness"
        assert row["value"] == pytest.approx(compute_red(image), abs=25)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--task=classification", "converted for"),
        ("--labels_offset=1", "labels_offset"),
        ("--cutmix_alpha=1", "cutmix_alpha"),
        ("--balanced_sampling", "cannot be counted or balanced"),
        ("--best_metric=accuracy", "best_metric"),
    ],
)
def test_options_without_a_meaning_are_one_sentence(trained, tmp_path, flag, message):
    task, folder = trained
    if task == "multilabel" and flag.startswith("--cutmix"):
        pytest.skip("CutMix suits several labels")
    status, out, err = run_script(
        "train_image_classifier.py",
        f"--train_dir={tmp_path}/run",
        "--dataset_name=image_folder",
        f"--dataset_dir={folder}/data",
        "--model_name=linear_regression",
        "--train_image_size=8",
        "--eval_split_name=validation",
        "--max_number_of_steps=1",
        flag,
    )
    assert status == 1 and "Traceback" not in err
    assert re.search(message, err), err


NO_SUMMARY = """
from datasets import dataset_factory, image_folder

class NoSummary:
    @staticmethod
    def get_split(*args):
        dataset = image_folder.get_split(*args)
        dataset.label_summary = None
        return dataset

dataset_factory.register("no_summary", NoSummary)
"""


def test_targets_of_a_dataset_without_statistics_are_measured(trained, tmp_path):
    task, folder = trained
    (tmp_path / f"no_summary_{task}.py").write_text(NO_SUMMARY)
    succeed(
        "train_image_classifier.py",
        f"--user_module={tmp_path}/no_summary_{task}.py",
        f"--train_dir={tmp_path}/run",
        "--dataset_name=no_summary",
        f"--dataset_dir={folder}/data",
        "--model_name=linear_regression",
        "--train_image_size=8",
        "--max_number_of_steps=1",
        "--save_summaries_secs=0",
    )
    states = [
        json.loads((place / "run" / "run.json").read_text())["task_state"]
        for place in (folder, tmp_path)
    ]
    if task == "multilabel":
        assert states[1] == {"thresholds": [0.5, 0.5]}
    else:
        for name, values in states[0].items():
            assert states[1][name] == pytest.approx(values, rel=1e-6)
