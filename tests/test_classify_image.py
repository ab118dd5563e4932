"""classify_image.py in this process: every kind of model, and mistakes."""

import csv
import json
import re
import shutil

import numpy as np
import probe_weights
import pytest
from script_runner import run_script

from deployment.formats import base, exporting, freezing
from deployment.models import graph_files, graph_freezing, run_card
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

NETWORK, SIZE, CLASSES = "softmax_regression", 24, ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Returns a folder with a run, a checkpoint without card, and a frozen graph."""
    folder = tmp_path_factory.mktemp("models")
    network_fn = nets_factory.get_network_fn(NETWORK, len(CLASSES))
    graph_def = graph_files.build_inference_graph(network_fn, [None, SIZE, SIZE, 3])
    graph_files.write_graph(graph_def, str(folder / "graph.pb"))
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, SIZE, SIZE, 3]))
        tf.train.create_global_step()
        probe_weights.initialize(session)
        for name in ("run", "bare"):
            tf.train.Saver().save(session, f"{folder}/{name}/model.ckpt", 3)
    graph_freezing.freeze(
        str(folder / "frozen.pb"),
        input_graph=str(folder / "graph.pb"),
        input_checkpoint=str(folder / "bare"),
    )
    run_card.RunCard(
        model_name=NETWORK,
        num_classes=len(CLASSES),
        class_names=CLASSES,
        image_size=SIZE,
        preprocessing_name="cifarnet",
    ).save(str(folder / "run"))
    (folder / "labels.txt").write_text("\n".join(CLASSES))
    return folder


def classify(*arguments):
    """Returns the JSON that the script prints."""
    status, out, err = run_script(
        "classify_image.py", "--output_format=json", *arguments
    )
    assert status == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def expected(models, pictures_dir):
    """Returns the predictions of the training folder, without other flags."""
    return classify(
        f"--model_path={models}/run",
        pictures_dir / "dots",
        f"{pictures_dir}/rings/1*.jpg",
    )


def test_a_training_folder_is_enough(expected, pictures_dir):
    assert len(expected) == 20 + 11
    assert expected[0]["file"] == f"{pictures_dir}/dots/0.jpg"
    for record in expected:
        names = [p["name"] for p in record["predictions"]]
        scores = [p["score"] for p in record["predictions"]]
        assert sorted(names) == list(CLASSES) and scores == sorted(scores)[::-1]
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert scores[0] > scores[1]
        assert all(CLASSES[p["class"]] == p["name"] for p in record["predictions"])


def test_other_models_give_the_same(models, expected, pictures_dir):
    pictures = [pictures_dir / "dots", f"{pictures_dir}/rings/1*.jpg"]
    labels = f"--label_path={models}/labels.txt"
    by_hand = [labels, f"--model_name={NETWORK}", f"--image_size={SIZE}"]
    for arguments in (
        [f"--model_path={models}/run/model.ckpt-3.index", "--batch_size=7"],
        [f"--model_path={models}/bare", *by_hand],
        [f"--model_path={models}/frozen.pb", labels],
    ):
        found = classify(*arguments, *pictures)
        assert [r["file"] for r in found] == [r["file"] for r in expected]
        for own, other in zip(found, expected, strict=True):
            for a, b in zip(own["predictions"], other["predictions"], strict=True):
                assert a["name"] == b["name"]
                assert a["score"] == pytest.approx(b["score"], abs=2e-6)


def test_contradicting_the_card_needs_ignore_run_card(models, pictures_dir):
    arguments = [
        f"--model_path={models}/run",
        "--preprocessing_name=vgg",
        f"--image_file={pictures_dir}/dots/0.jpg",
    ]
    status, _, err = run_script("classify_image.py", *arguments)
    assert status == 1 and "--preprocessing_name is 'vgg'" in err
    status, out, err = run_script("classify_image.py", *arguments, "--ignore_run_card")
    assert status == 0 and out.count("\n") == 6


def fail(*arguments):
    status, out, err = run_script("classify_image.py", *arguments)
    assert status == 1 and not out and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("name", ["run", "frozen.pb"])
def test_names_match_the_outputs_exactly(name, models, pictures_dir, tmp_path):
    model = f"--model_path={models}/{name}"
    image = pictures_dir / "dots" / "0.jpg"
    labels = tmp_path / "names.txt"
    for names in (CLASSES[:-1], (*CLASSES, "f")):
        labels.write_text("\n".join(names))
        said = fail(model, f"--label_path={labels}", image)
        assert f"has 5 outputs, but {labels} lists {len(names)} names" in said
    assert "--labels_offset=1 if the first is the background" in said
    if name != "run":
        (record,) = classify(
            model, f"--label_path={labels}", "--labels_offset=1", image
        )
        assert sorted(p["name"] for p in record["predictions"]) == list("bcdef")


def test_names_may_not_contradict_the_model(models, export, pictures_dir, tmp_path):
    image = pictures_dir / "dots" / "0.jpg"
    alone = shutil.copy(export("frozen"), tmp_path)
    labels = tmp_path / "names.txt"
    labels.write_text("a\nc\nb\nd\ne")
    given = f"--label_path={labels}"
    for path, source in ((models / "run", "run.json"), (alone, "frozen_graph.pb")):
        said = fail(f"--model_path={path}", given, image)
        assert f"{labels} calls output 1 'c', but " in said
        assert f"{source} calls it 'b'" in said
    model = f"--model_path={models}/run"
    (expected,) = classify(model, image)
    (found,) = classify(model, given, "--ignore_run_card", image)
    swapped = {"b": "c", "c": "b"}
    for own, other in zip(found["predictions"], expected["predictions"], strict=True):
        assert own["name"] == swapped.get(other["name"], other["name"])


def test_what_is_guessed_is_reported(models, pictures_dir, tmp_path, caplog):
    image = pictures_dir / "dots" / "0.jpg"
    alone = shutil.copy(models / "frozen.pb", tmp_path)
    classify(f"--model_path={alone}", image)
    (message,) = caplog.messages
    assert (
        "contains no model specification and has no run card: guessing the" in message
    )
    assert "preprocessing cifarnet from the names of its nodes" in message
    assert f"images of {SIZE}x{SIZE} pixels from its input" in message
    for names, said in (
        (CLASSES, "contains no names: using those of"),
        ([*CLASSES, "f"], "lists 6 names: .* Classes are numbered instead."),
    ):
        caplog.clear()
        (tmp_path / "labels.txt").write_text("\n".join(names))
        classify(f"--model_path={alone}", "--preprocessing_name=cifarnet", image)
        (message,) = caplog.messages
        assert re.search(said, message)
    caplog.clear()
    classify(f"--model_path={models}/run", image)
    assert not caplog.messages


def test_flags_and_cards_may_not_contradict_a_file(models, pictures_dir, tmp_path):
    image = pictures_dir / "dots" / "0.jpg"
    alone = shutil.copy(models / "frozen.pb", tmp_path)
    model = f"--model_path={alone}"
    said = fail(model, "--image_size=32", image)
    assert f"takes images of {SIZE} pixels, but --image_size is 32" in said
    spec = run_card.find(str(models / "run")).spec
    run_card.RunCard.from_spec(spec.replace(image_size=48)).save(str(tmp_path))
    said = fail(model, image)
    assert f"takes images of {SIZE} pixels, but the run was trained with 48" in said
    assert classify(model, image, "--ignore_run_card")
    said = fail(model, image, "--checkpoint=best")
    assert "--model_path is a frozen graph" in said


def test_tables_and_csv(models, pictures_dir, tmp_path):
    picture = f"{pictures_dir}/dots/0.jpg"
    arguments = [
        f"--model_path={models}/run",
        f"--image_file={picture}",
        "--num_top_predictions=2",
    ]
    # In a batch with others, the last digit may differ.
    best, second = classify(*arguments)[0]["predictions"]
    status, out, _ = run_script("classify_image.py", *arguments)
    assert status == 0
    assert out == (
        f"{picture}\n  {best['score']:.4f}  {best['name']}\n"
        f"  {second['score']:.4f}  {second['name']}\n"
    )
    output = tmp_path / "new" / "names.csv"
    arguments.append(f"--output_file={output}")
    status, out, _ = run_script("classify_image.py", *arguments)
    assert (status, out) == (0, "")
    rows = list(csv.DictReader(output.open()))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["file"] == picture and rows[0]["name"] == best["name"]
    assert float(rows[0]["score"]) == best["score"]
    assert int(rows[0]["class"]) == best["class"]
    assert [path.name for path in output.parent.iterdir()] == ["names.csv"]


def test_unreadable_images_are_reported_and_skipped(models, pictures_dir, tmp_path):
    readable = shutil.copy(pictures_dir / "dots" / "0.jpg", tmp_path / "b.jpg")
    data = (pictures_dir / "dots" / "1.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:300])
    (tmp_path / "c.jpg").write_bytes(b"")
    arguments = ["--output_format=json", f"--model_path={models}/run"]
    status, out, err = run_script(
        "classify_image.py", *arguments, tmp_path, tmp_path / "gone.jpg"
    )
    assert status == 0
    for name in ("a.jpg", "c.jpg", "gone.jpg"):
        assert f"{tmp_path}/{name}: cannot be read: " in err
    assert "3 could not be read, 1 was" in err
    records = {record["file"]: record for record in json.loads(out)}
    assert records[f"{tmp_path}/c.jpg"]["error"] == "the file is empty"
    assert len(records[str(readable)]["predictions"]) == 5
    (tmp_path / "b.jpg").unlink()
    output = tmp_path / "names.json"
    output.write_text("older")
    status, out, err = run_script(
        "classify_image.py", *arguments, tmp_path, f"--output_file={output}"
    )
    assert status == 1 and "None of 2 images could be read." in err
    assert output.read_text() == "older"


def test_mistakes_are_one_sentence(models, pictures_dir, tmp_path):
    picture = pictures_dir / "dots" / "0.jpg"
    (tmp_path / "cut.pb").write_bytes((models / "frozen.pb").read_bytes()[:500])
    (tmp_path / "few.txt").write_text("a\nb\n")
    for said, arguments in (
        ("--model_path=frozen.pb", [picture]),
        ("--image_file=photo.jpg", [f"--model_path={models}/frozen.pb"]),
        ("its folder contains", [f"--model_path={models}/frozn.pb", picture]),
        ("is not a binary GraphDef", [f"--model_path={tmp_path}/cut.pb", picture]),
        ("is empty", [f"--model_path={models}/labels.txt", picture]),
        ("is not frozen", [f"--model_path={models}/graph.pb", picture]),
        ("holds no checkpoint", [f"--model_path={tmp_path}", picture]),
        ("needs --model_name", [f"--model_path={models}/bare", picture]),
        (
            "the nearest: SoftmaxRegression/Predictions",
            [
                f"--model_path={models}/frozen.pb",
                "--output_node=SoftmaxRegresion/Predictions",
                picture,
            ],
        ),
        (
            "There is no label file",
            [f"--model_path={models}/run", "--label_path=none.txt", picture],
        ),
        (
            "few.txt lists 2 names",
            [f"--model_path={models}/run", f"--label_path={tmp_path}/few.txt", picture],
        ),
        (
            "is a folder",
            [f"--model_path={models}/run", f"--output_file={tmp_path}", picture],
        ),
    ):
        status, _, err = run_script("classify_image.py", *arguments)
        assert status == 1 and said in err, err
        assert err.startswith("classify_image.py: error: ") and err.count("\n") == 1


def test_memory_does_not_grow_with_the_number_of_images(models, pictures_dir):
    """Few images are in flight, however slowly results are fetched."""
    from datasets import file_batches

    loaded = []
    read = file_batches._load_encoded
    paths = [str(pictures_dir / "dots" / "0.jpg")] * 2000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            file_batches,
            "_load_encoded",
            lambda *args: loaded.append(1) or read(*args),
        )
        with tf.Graph().as_default(), tf.Session() as session:
            batches = file_batches.build_batches(
                lambda image, height, width: tf.zeros([height, width, 3]),
                SIZE,
                SIZE,
                paths,
                8,
                {},
            )
            iterator = tf.data.make_initializable_iterator(batches)
            next_batch = iterator.get_next()
            session.run(iterator.initializer)
            for _ in range(10):
                _, indices = session.run(next_batch)
            assert list(indices) == list(range(72, 80))
            assert 80 <= len(loaded) < 400


@pytest.fixture
def export(models, tmp_path):
    """Returns a function that exports the run as another task, without its card."""

    def export(name="frozen", **changes):
        spec = run_card.find(str(models / "run")).spec.replace(**changes)
        config = freezing.ExportConfig(
            nets_factory.get_network_fn(NETWORK, len(CLASSES)),
            preprocessing_factory.get_preprocessing(spec.preprocessing_name),
            spec,
        )
        model = freezing.freeze(config, str(models / "run"))
        options = base.ExportOptions(config.preprocessing_fn)
        return exporting.export(model, str(tmp_path / "out"), [name], options)[name]

    return export


@pytest.mark.parametrize("name", ["frozen", "tflite"])
def test_an_exported_file_alone_is_enough(name, export, models, pictures_dir, tmp_path):
    image = pictures_dir / "dots" / "0.jpg"
    path = export(name, preprocessing_name="vgg")
    (expected,) = classify(
        f"--model_path={models}/run",
        image,
        "--preprocessing_name=vgg",
        "--ignore_run_card",
    )
    alone = shutil.copy(path, tmp_path)
    (found,) = classify(f"--model_path={alone}", image)
    # The run card of another run says less about the file than the file itself.
    card = run_card.find(str(models / "run")).spec
    run_card.RunCard.from_spec(
        card.replace(output_names=tuple("vwxyz"), preprocessing_name="cifarnet")
    ).save(str(tmp_path))
    (beside_another,) = classify(f"--model_path={alone}", image)
    for record in (found, beside_another):
        for own, other in zip(
            record["predictions"], expected["predictions"], strict=True
        ):
            assert own["name"] == other["name"]
            assert own["score"] == pytest.approx(other["score"], abs=2e-6)
    (changed,) = classify(
        f"--model_path={path}", image, "--preprocessing_name=cifarnet"
    )
    assert changed != found
    if name == "frozen":
        (repeated,) = classify(
            f"--model_path={alone}", image, f"--model_name={NETWORK}"
        )
        assert repeated == beside_another


def test_labels_above_their_thresholds(export, pictures_dir):
    image = pictures_dir / "dots" / "0.jpg"
    path = export(task="multilabel", task_state={"thresholds": [0.0] * 5})
    (every,) = classify(f"--model_path={path}", image)
    scores = {p["label"]: p["score"] for p in every["predictions"]}
    assert set(scores) == set(CLASSES)
    ordered = sorted(scores.values())
    thresholds = [sum(ordered[1:3]) / 2] * 5
    path = export(task="multilabel", task_state={"thresholds": thresholds})
    (record,) = classify(f"--model_path={path}", image)
    assert [p["score"] for p in record["predictions"]] == ordered[:1:-1]


def test_values_in_the_targets_unit(export, models, pictures_dir):
    image = pictures_dir / "dots" / "0.jpg"
    state = {"mean": [100.0] * 5, "scale": [50.0] * 5}
    path = export(task="regression", task_state=state)
    (record,) = classify(f"--model_path={path}", image)
    values = [p["value"] for p in record["predictions"]]
    assert [p["target"] for p in record["predictions"]] == list(CLASSES)
    # The same network as a classifier: a softmax of the same logits.
    (expected,) = classify(f"--model_path={models}/run", image)
    scores = {p["name"]: p["score"] for p in expected["predictions"]}
    logits = (np.array(values) - 100) / 50
    softmax = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(softmax, [scores[name] for name in CLASSES], atol=1e-5)
    status, out, _ = run_script("classify_image.py", f"--model_path={path}", image)
    assert status == 0 and out.split("\n")[1] == f"  {values[0]:.6g}  a"
