"""classify_image.py in this process: every way to name a model, and mistakes."""

import csv
import json
import shutil

import probe_weights
import pytest
from script_runner import run_script

from deployment.models import graph_files, run_card
from nets import nets_factory
from tf_slim_compat import tf

NETWORK, SIZE, CLASSES = "softmax_regression", 24, ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a run and its card, the bare checkpoint, and a frozen graph."""
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
    graph_files.freeze(
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
    """The JSON that the script writes."""
    status, out, err = run_script(
        "classify_image.py", "--output_format=json", *arguments
    )
    assert status == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def expected(models, pictures_dir):
    """By the run's folder alone."""
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


def test_a_card_may_be_contradicted_only_on_purpose(models, pictures_dir):
    arguments = [
        f"--model_path={models}/run",
        "--preprocessing_name=vgg",
        f"--image_file={pictures_dir}/dots/0.jpg",
    ]
    status, _, err = run_script("classify_image.py", *arguments)
    assert status == 1 and "--preprocessing_name is 'vgg'" in err
    status, out, err = run_script("classify_image.py", *arguments, "--ignore_run_card")
    assert status == 0 and out.count("\n") == 6


def test_tables_and_csv(models, pictures_dir, tmp_path):
    picture = f"{pictures_dir}/dots/0.jpg"
    arguments = [
        f"--model_path={models}/run",
        f"--image_file={picture}",
        "--num_top_predictions=2",
    ]
    # By itself: among others, the last digit may be another.
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


def test_an_unreadable_picture_is_named_and_the_rest_goes_on(
    models, pictures_dir, tmp_path
):
    sound = shutil.copy(pictures_dir / "dots" / "0.jpg", tmp_path / "b.jpg")
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
    assert len(records[str(sound)]["predictions"]) == 5
    (tmp_path / "b.jpg").unlink()
    output = tmp_path / "names.json"
    output.write_text("older")
    status, out, err = run_script(
        "classify_image.py", *arguments, tmp_path, f"--output_file={output}"
    )
    assert status == 1 and "None of 2 pictures could be read." in err
    assert output.read_text() == "older"


def test_mistakes_are_one_sentence(models, pictures_dir, tmp_path):
    picture = pictures_dir / "dots" / "0.jpg"
    (tmp_path / "cut.pb").write_bytes((models / "frozen.pb").read_bytes()[:500])
    (tmp_path / "few.txt").write_text("a\nb\n")
    for said, arguments in (
        ("--model_path=frozen.pb", [picture]),
        ("--image_file=photo.jpg", [f"--model_path={models}/frozen.pb"]),
        ("its folder holds", [f"--model_path={models}/frozn.pb", picture]),
        ("holds no binary GraphDef", [f"--model_path={tmp_path}/cut.pb", picture]),
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
            "there are names for 2",
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


def test_memory_does_not_grow_with_the_number_of_pictures(models, pictures_dir):
    """The pictures on their way are few, however slowly results are fetched."""
    from datasets import picture_batches

    loaded = []
    read = picture_batches._load_encoded
    paths = [str(pictures_dir / "dots" / "0.jpg")] * 2000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            picture_batches,
            "_load_encoded",
            lambda *args: loaded.append(1) or read(*args),
        )
        with tf.Graph().as_default(), tf.Session() as session:
            batches = picture_batches.build_batches(
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
