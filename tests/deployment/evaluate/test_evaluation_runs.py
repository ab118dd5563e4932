"""One checkpoint, all of a folder, or a run followed; and what is written of them."""

import csv
import html.parser
import json
import logging
import os
import shutil
import threading
import time

import numpy as np
import pytest

from deployment.evaluate import evaluation, evaluation_reports, evaluation_runs, gallery
from deployment.models import run_card
from deployment.tasks import confusion_picture, metrics
from tf_slim_compat import slim, tf

NAMES = ("cat", "<b>dog</b> & co", "$5 note", "d", "e", "f")
NUM_CLASSES = len(NAMES)
RNG = np.random.RandomState(0)
LABELS = RNG.randint(0, NUM_CLASSES, 40).astype(np.int64)
# One-hot: the identity as weights finds every label.
IMAGES = np.eye(NUM_CLASSES, dtype=np.float32)[LABELS].reshape(40, 2, 3, 1)
FILE_NAMES = [f"a/{i} <i>.jpg" for i in range(40)]


def network(images):
    flat = slim.flatten(images)
    logits = slim.fully_connected(
        flat, NUM_CLASSES, activation_fn=None, biases_initializer=None, scope="Net"
    )
    return logits, {}


def build_batches():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(7)


def read_file_names(count):
    return FILE_NAMES[:count]


def read_pictures(indices):
    return {i: np.full([9, 12, 3], i, np.uint8) for i in indices}


RECORDS = evaluation_runs.Records(read_file_names, read_pictures)


def save(folder, step, num_wrong, version=tf.train.SaverDef.V2):
    """Saves a network that takes so many classes for their next; returns its prefix."""
    weights = np.eye(NUM_CLASSES, dtype=np.float32) * 4
    weights[:num_wrong] = np.roll(weights[:num_wrong], 1, axis=1)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("Net/weights", initializer=weights)
        tf.get_variable("global_step", initializer=np.int64(step))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=version)
        return saver.save(session, f"{folder}/model.ckpt", step)


def expect_accuracy(num_wrong):
    return np.mean(num_wrong <= LABELS)


def make_config(folder, eval_dir=None, num_classes=NUM_CLASSES, **options):
    return evaluation_runs.RunConfig(
        evaluation.EvaluationConfig(
            str(folder), eval_dir and str(eval_dir), num_classes, show_progress=False
        ),
        NAMES,
        "validation",
        **options,
    )


def run(folder, **options):
    config = make_config(folder, **options)
    return evaluation_runs.run(config, network, build_batches, RECORDS)


def write_card(folder, **changes):
    card = run_card.RunCard(
        model_name="lenet",
        num_classes=NUM_CLASSES,
        image_size=28,
        preprocessing_name="lenet",
        **changes,
    )
    card.save(str(folder))


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
    values = metrics.compute(predictions)
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
    assert f"{num_wrong} of 40 images were taken for another class" in text


def test_everything_is_on_the_screen(evaluated, capsys):
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


def test_everything_is_in_tensorboard(evaluated):
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


def test_the_most_confident_mistakes_go_first():
    logits = np.array([[0, 5], [0, 1], [0, 3], [3, 0]], np.float32)
    predictions = evaluation.Predictions(0, np.zeros(4, np.int64), logits)
    mistakes = gallery.find_mistakes(predictions, ("a", "b"), 2)
    assert [mistake.index for mistake in mistakes] == [0, 2]
    assert mistakes[0].score == pytest.approx(1 / (1 + np.exp(-5)))
    assert mistakes[0].score + mistakes[0].label_score == pytest.approx(1)
    assert gallery.find_mistakes(predictions, ("a", "b"), 0) == []


@pytest.mark.parametrize("num_classes", [2, 21, 61])
def test_the_confusion_matrix_is_a_picture_at_any_size(num_classes):
    confusion = np.eye(num_classes, dtype=np.int64) * 3
    names = ("$x$", "名") + ("a" * 50,) * (num_classes - 2)
    png, height, width = confusion_picture.draw(confusion, names)
    decoded = tf.io.decode_png(png)
    assert [decoded.shape.rank, height > 200, width > height] == [3, True, True]


def test_many_classes_are_cut_down_to_the_worst():
    labels = np.arange(150)
    logits = np.eye(150, dtype=np.float32)
    logits[7] = logits[8]
    report = metrics.report(evaluation.Predictions(0, labels, logits))
    text = evaluation_reports.format_report(report, [f"n{i}" for i in labels])
    lines = text.splitlines()
    assert lines[1].startswith("n7 ") and lines[2].startswith("n8 ")
    assert "20 classes of the lowest F1 out of 150" in text
    assert "prediction" not in text


def test_names_that_cannot_be_written_are_made_so():
    printable = evaluation_reports.printable
    assert printable("Übung 草") == "Übung 草"
    assert printable("a\udcff\nb") == "a\\udcff\\nb"


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


def test_a_folder_without_a_checkpoint_cannot_be_compared(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        run(tmp_path, all_checkpoints=True)
    broken = save(tmp_path, 30, 0)
    os.remove(f"{broken}.data-00000-of-00001")
    with pytest.raises(ValueError, match="is whole"):
        run(tmp_path, all_checkpoints=True)


class Steps:
    """Counts which checkpoints were evaluated, in place of `Evaluator.predict`."""

    def __init__(self, monkeypatch, before=None):
        self.steps = []
        predict = evaluation.Evaluator.predict

        def record(evaluator, path):
            if before is not None:
                before(path)
            predictions = predict(evaluator, path)
            self.steps.append(predictions.step)
            return predictions

        monkeypatch.setattr(evaluation.Evaluator, "predict", record)


def test_a_run_is_followed_until_it_ends(tmp_path, monkeypatch, info_log):
    seen = Steps(monkeypatch)
    save(tmp_path, 1, 3)
    # The end of an earlier session, before training went on.
    session = {"from_step": 0, "images_per_step": 8}
    results = {"step": 1, "stopped_because": "SIGTERM"}
    write_card(tmp_path, sessions=(session,), results=results)

    def train():
        for step in (2, 3):
            time.sleep(1)
            save(tmp_path, step, 1)
        results = {"step": 3, "stopped_because": "the last step is reached"}
        write_card(tmp_path, sessions=({**session, "to_step": 3},), results=results)

    thread = threading.Thread(target=train)
    thread.start()
    last = run(
        tmp_path, eval_dir=tmp_path / "eval", interval_secs=0.05, timeout_secs=60
    )
    thread.join()
    assert seen.steps == [1, 2, 3] and last.step == 3
    assert "Training has ended: the last step is reached." in info_log.text
    record = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert record["step"] == 3


def test_following_ends_after_a_time_without_a_checkpoint(
    tmp_path, monkeypatch, info_log
):
    seen = Steps(monkeypatch)
    save(tmp_path, 1, 3)
    started = time.monotonic()
    run(tmp_path, interval_secs=0.05, timeout_secs=0.5)
    assert time.monotonic() - started >= 0.5
    assert seen.steps == [1]
    assert "No new checkpoint in 0.5 seconds" in info_log.text


def test_a_checkpoint_that_training_removed_is_passed_over(
    tmp_path, monkeypatch, info_log
):
    def remove(path):
        if path.endswith("-1"):
            os.remove(f"{path}.index")

    seen = Steps(monkeypatch, before=remove)
    save(tmp_path, 1, 3)
    save(tmp_path, 2, 3)
    run(tmp_path, interval_secs=0.05, timeout_secs=0.1)
    assert seen.steps == [2]
    assert "model.ckpt-1 was removed before" in info_log.text


def test_following_what_never_comes_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="No checkpoint appeared in"):
        run(tmp_path / "run", interval_secs=0.05, timeout_secs=0.1)
    with pytest.raises(ValueError, match="No training began in"):
        evaluation_runs.wait_for_start(str(tmp_path / "run"), 0.05, 0.1)


def test_waiting_ends_with_the_run_card(tmp_path):
    write_card(tmp_path)
    evaluation_runs.wait_for_start(str(tmp_path), 0.05, 0.1)


def test_impossible_settings_are_errors(tmp_path):
    path = save(tmp_path, 1, 0)
    for said, options in (
        ("--metric is 'acc', but .* one of", {"metric": "acc"}),
        ("'top_5', but with 5 classes", {"metric": "top_5", "num_classes": 5}),
        ("above 0, but is 0", {"interval_secs": 0}),
        ("give one of them", {"interval_secs": 1, "all_checkpoints": True}),
    ):
        with pytest.raises(ValueError, match=said):
            make_config(tmp_path, **options)
    for option in ({"interval_secs": 1}, {"all_checkpoints": True}):
        with pytest.raises(ValueError, match="needs a folder of checkpoints, but"):
            make_config(path, **option)


def test_what_cannot_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    seen = Steps(monkeypatch)
    save(tmp_path, 1, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be"):
        run(tmp_path, gallery=str(tmp_path / "file" / "page.html"))
    with pytest.raises(ValueError, match="is a folder"):
        run(tmp_path, predictions_csv=str(tmp_path))
    assert not seen.steps


def test_a_page_without_mistakes(tmp_path):
    save(tmp_path, 1, 0)
    run(tmp_path, gallery=str(tmp_path / "page.html"))
    assert "0 of 40 images" in (tmp_path / "page.html").read_text()
