"""Evaluates one checkpoint, all of a folder, or a run that trains; and the reports."""

import base64
import csv
import html.parser
import io
import json
import logging
import os
import re
import shutil

import numpy as np
import pytest
from evaluated_runs import (
    FILE_NAMES,
    LABELS,
    NAMES,
    NUM_CLASSES,
    Follow,
    expect_accuracy,
    make_config,
    make_spec,
    run,
    save,
)
from PIL import Image

from deployment import tasks
from deployment.evaluate import evaluation_reports, gallery
from deployment.tasks.base import Mistake
from tf_slim_compat import tf


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    save(folder, 3, num_wrong=2)
    predictions = run(
        folder,
        eval_dir=folder / "eval",
        predictions_csv=str(folder / "out" / "predictions.csv"),
        gallery=str(folder / "out" / "gallery.html"),
        gallery_size=5,
    )
    return folder, predictions


def test_eval_json(evaluated):
    folder, predictions = evaluated
    record = json.loads((folder / "eval" / "eval.json").read_text())
    assert record["step"] == 3 and record["split"] == "validation"
    assert record["checkpoint"] == predictions.path
    assert record["num_images"] == 40
    assert record["accuracy"] == pytest.approx(expect_accuracy(2))
    values = tasks.get_task("classification").compute(predictions, make_spec())
    assert {name: record[name] for name in values} == values
    assert [entry["name"] for entry in record["classes"]] == list(NAMES)
    assert sum(entry["count"] for entry in record["classes"]) == 40
    assert record["classes"][0]["recall"] == 0 and record["classes"][3]["f1"] == 1


def test_confusion_matrix_csv(evaluated):
    with open(evaluated[0] / "eval" / "confusion_matrix.csv") as file:
        header, *rows = csv.reader(file)
    assert header == ["label \\ prediction", *NAMES]
    assert [row[0] for row in rows] == list(NAMES)
    counts = np.array([row[1:] for row in rows], int)
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(LABELS))
    assert counts[0, 1] == np.sum(LABELS == 0)


def test_predictions_csv(evaluated):
    with open(evaluated[0] / "out" / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == FILE_NAMES
    assert [int(row["label"]) for row in rows] == list(LABELS)
    for row in rows:
        assert row["label_name"] == NAMES[int(row["label"])]
        assert row["prediction_name"] == NAMES[int(row["prediction"])]
        score = np.exp(4) / (np.exp(4) + NUM_CLASSES - 1)
        assert float(row["score"]) == pytest.approx(score, abs=1e-6)


def test_no_name_is_a_formula_in_a_csv_file():
    rows = [("file_name", "-wet"), ("=1+2.jpg", -0.5), ("-1", "@cat")]
    assert evaluation_reports.format_csv(rows) == (
        "file_name,'-wet\n'=1+2.jpg,-0.5\n-1,'@cat\n"
    )


def test_the_gallery_is_escaped_and_needs_no_other_file(evaluated):
    text = (evaluated[0] / "out" / "gallery.html").read_text()
    tags, words = [], []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

        def handle_data(self, data):
            words.append(data)

    Parser().feed(text)
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 5
    assert all(i["src"].startswith("data:image/jpeg;base64,/9j/") for i in images)
    assert {i["alt"] for i in images} <= set(FILE_NAMES)
    assert not {"b", "i", "script", "link"} & {tag for tag, _ in tags}
    assert NAMES[1] in words and "http" not in text
    num_wrong = np.sum(LABELS < 2)
    assert f"{num_wrong} of 40 images are misclassified" in text
    assert text.count('class="wrong"') == text.count('class="right"') == 5


def test_printed_report(evaluated, capsys):
    folder, _ = evaluated
    run(folder)
    text = capsys.readouterr().out
    for words in (
        "class  ",
        "macro average",
        "precision  recall      F1",
        "label \\ prediction",
        f"accuracy  {expect_accuracy(2):.4f}",
        "top_5 ",
        "loss ",
    ):
        assert words in text


def test_summaries(evaluated):
    (events,) = (evaluated[0] / "eval").glob("events*")
    written = {
        value.tag: value
        for event in tf.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert set(written) == {
        *("eval/Accuracy", "eval/Loss", "eval/Recall_5", "eval/confusion_matrix"),
        *("eval/Macro_Precision", "eval/Macro_Recall", "eval/Macro_F1", "eval/report"),
    }
    image = written["eval/confusion_matrix"].image
    assert image.encoded_image_string[:4] == b"\x89PNG" and image.height > 100
    assert (
        "macro average"
        in tf.make_ndarray(written["eval/report"].tensor).item().decode()
    )


def test_confusion_matrix_image(evaluated):
    with Image.open(evaluated[0] / "eval" / "confusion_matrix.png") as image:
        assert image.format == "PNG" and image.width > 200


def test_all_checkpoints_are_compared_best_first(tmp_path, capsys):
    save(tmp_path, 5, 3)
    save(tmp_path, 20, 1, tf.train.SaverDef.V1)
    save(tmp_path, 10, 2)
    save(tmp_path / "best", 7, 0)
    for name in os.listdir(tmp_path):  # A copy of what is there.
        if name.startswith("model.ckpt-10."):
            shutil.copy(tmp_path / name, tmp_path / "best" / name)
    broken = save(tmp_path, 30, 0)
    os.remove(f"{broken}.data-00000-of-00001")

    best = run(tmp_path, all_checkpoints=True, eval_dir=tmp_path / "eval")
    assert best.step == 7
    header, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert header.split() == ["checkpoint", "step", "accuracy", "loss", "top_5"]
    order = ["best/model.ckpt-7", "model.ckpt-20", "model.ckpt-10", "model.ckpt-5"]
    assert [row.split()[0] for row in rows] == order
    assert [row.split()[2] for row in rows] == [
        f"{expect_accuracy(n):.4f}" for n in (0, 1, 2, 3)
    ]
    record = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert record["step"] == 7
    (events,) = (tmp_path / "eval").glob("events*")
    steps = {event.step for event in tf.train.summary_iterator(str(events))}
    assert steps - {0} == {5, 7, 10, 20}
    best = run(tmp_path, all_checkpoints=True, metric="loss")
    assert best.step == 7


def test_scores_that_are_not_numbers_are_no_accuracy(tmp_path, caplog):
    save(tmp_path, 5, 3)
    prefix = save(tmp_path, 10, 0)
    with tf.Graph().as_default(), tf.Session() as session:
        weights = np.full([NUM_CLASSES] * 2, np.nan, np.float32)
        tf.get_variable("Net/weights", initializer=weights)
        tf.get_variable("global_step", initializer=np.int64(10))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
    message = f"scores of 40 of 40 images are not finite numbers .* of '{prefix}'"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, eval_dir=tmp_path / "eval")
    assert not list(tmp_path.glob("eval/eval.json"))
    assert run(tmp_path, all_checkpoints=True).step == 5
    assert re.search(message, caplog.text)


def test_a_folder_without_a_checkpoint_cannot_be_compared(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        run(tmp_path, all_checkpoints=True)
    broken = save(tmp_path, 30, 0)
    os.remove(f"{broken}.data-00000-of-00001")
    with pytest.raises(ValueError, match="is whole"):
        run(tmp_path, all_checkpoints=True)


def test_impossible_settings_are_errors(tmp_path):
    path = save(tmp_path, 1, 0)
    five = make_spec(5)
    for said, options in (
        ("^metric is 'acc', but .* has accuracy, loss, top_5", {"metric": "acc"}),
        ("'top_5', but .* with 5 outputs", {"metric": "top_5", "spec": five}),
        ("interval_secs must be above 0, but is 0", {"interval_secs": 0}),
        ("give one of them", {"interval_secs": 1, "all_checkpoints": True}),
    ):
        with pytest.raises(ValueError, match=said):
            make_config(tmp_path, **options)
    for option in ({"interval_secs": 1}, {"all_checkpoints": True}):
        with pytest.raises(ValueError, match="needs a folder of checkpoints, but"):
            make_config(path, **option)


def test_outputs_are_checked_before_the_work(tmp_path, monkeypatch):
    follow = Follow(monkeypatch)
    save(tmp_path, 1, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be"):
        run(tmp_path, gallery=str(tmp_path / "file" / "page.html"))
    with pytest.raises(ValueError, match="is a folder"):
        run(tmp_path, predictions_csv=str(tmp_path))
    assert not follow.steps


def test_a_gallery_without_mistakes(tmp_path):
    save(tmp_path, 1, 0)
    run(tmp_path, gallery=str(tmp_path / "page.html"))
    assert "0 of 40 images" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_in_the_gallery_keep_their_channels(channels, mode):
    image = np.full((4, 6, channels), 200, np.uint8)
    page = gallery.build_page("", "", [Mistake(0, ())], ["a.jpg"], {0: image})
    (encoded,) = re.findall('base64,([^"]*)', page)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as shown:
        assert (shown.mode, shown.size) == (mode, (6, 4))


ONE_HOT = np.eye(NUM_CLASSES, dtype=np.float32)[LABELS]
REGRESSION = {"mean": [0.0] * NUM_CLASSES, "scale": [0.25] * NUM_CLASSES}


@pytest.mark.parametrize(
    ("task", "state", "expected", "charts"),
    [
        # All logits are 0 or 4, so that probabilities are 0.5 and 0.98.
        ("multilabel", {}, {"Exact_match": 1.0, "F1_micro": 1.0, "Roc_auc": 1.0}, ()),
        ("regression", REGRESSION, {"R2": 1.0, "Mae": 0.0}, ("scatter", "errors")),
    ],
)
def test_other_tasks(tmp_path, info_log, capsys, task, state, expected, charts):
    save(tmp_path, 5, 3)
    save(tmp_path, 8, 0)
    run(
        tmp_path,
        labels=ONE_HOT,
        eval_dir=tmp_path / "eval",
        spec=make_spec(task=task, task_state=state),
        all_checkpoints=True,
        predictions_csv=str(tmp_path / "predictions.csv"),
        gallery=str(tmp_path / "page.html"),
    )
    for name, value in expected.items():
        assert f"eval/{name}[{value:.4f}]" in info_log.text
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[2:] == [
        metric.name for metric in tasks.get_task(task).list_metrics(NUM_CLASSES)
    ]
    assert first.startswith("model.ckpt-8 ")
    record = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert record["step"] == 8 and record["num_images"] == 40
    assert {p.stem for p in (tmp_path / "eval").glob("*.png")} == set(charts)
    with open(tmp_path / "predictions.csv") as file:
        assert [row["file_name"] for row in csv.DictReader(file)] == FILE_NAMES
    images = (tmp_path / "page.html").read_text().count("<img ")
    assert images == (40 if task == "regression" else 0)
    (events,) = (tmp_path / "eval").glob("events*")
    tags = {
        value.tag
        for event in tf.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {f"eval/{name}" for name in (*expected, *charts, "report")} <= tags
