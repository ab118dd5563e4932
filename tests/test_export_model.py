"""export_model.py in this process: by the run card, by flags, and mistakes."""

import numpy as np
import probe_weights
import pytest
from script_runner import run_script

from deployment.models import run_card
from nets import nets_factory
from tf_slim_compat import tf

NETWORK, SIZE = "softmax_regression", 24


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, data_dir):
    """A training folder with its card, of the drawn pictures."""
    folder = tmp_path_factory.mktemp("run")
    with tf.Graph().as_default(), tf.Session() as session:
        nets_factory.get_network_fn(NETWORK, 5)(tf.zeros([1, SIZE, SIZE, 3]))
        tf.train.create_global_step()
        probe_weights.initialize(session)
        tf.train.Saver().save(session, f"{folder}/model.ckpt", 3)
    names = [line.split(":")[1] for line in (data_dir / "labels.txt").open()]
    run_card.RunCard(
        model_name=NETWORK,
        num_classes=5,
        class_names=tuple(name.strip() for name in names),
        image_size=SIZE,
        preprocessing_name="cifarnet",
        dataset_name="image_folder",
        dataset_dir=str(data_dir),
        dataset_split_name="train",
        eval_split_name="validation",
    ).save(str(folder))
    return folder


@pytest.fixture
def bare(run_dir, tmp_path):
    """The checkpoint without its card."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for path in run_dir.glob("model.ckpt-3.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return f"--checkpoint_path={folder}/model.ckpt-3"


def export(*arguments):
    return run_script("export_model.py", *arguments)


def fail(*arguments):
    status, out, err = export(*arguments)
    assert status == 1 and out == ""
    assert err.startswith("export_model.py: error: ") and err.count("\n") == 1, err
    return err


def test_by_the_run_card(run_dir, tmp_path):
    formats = "--formats=frozen,saved_model,tflite,tflite_float16,tflite_int8"
    status, out, err = export(
        f"--checkpoint_path={run_dir}",
        f"--output_dir={tmp_path}/out",
        formats,
        "--check_images=8",
    )
    assert status == 0, err
    lines = out.strip().split("\n")
    assert len(lines) == 8 and lines[1].startswith("checkpoint")
    assert "0:" in (tmp_path / "out" / "labels.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "frozen_graph.pb",
        "labels.txt",
        "model.tflite",
        "model_float16.tflite",
        "model_int8.tflite",
        "run.json",
        "saved_model",
    ]
    for name in ("frozen_graph.pb", "saved_model", "saved_model/saved_model.pb"):
        card = run_card.find(f"{tmp_path}/out/{name}")
        assert card.preprocessing_name == "cifarnet" and card.dataset_dir
        assert len(card.output_names) == 5


def test_by_flags_and_a_folder_of_pictures(bare, pictures_dir, data_dir, tmp_path):
    status, out, err = export(
        bare,
        f"--output_dir={tmp_path}/out",
        f"--model_name={NETWORK}",
        f"--image_size={SIZE}",
        f"--label_path={data_dir}/labels.txt",
        f"--image_dir={pictures_dir}",
        "--formats=saved_model",
        "--check_images=7",
    )
    assert status == 0, err
    checkpoint = out.split("\n")[1].split()
    assert checkpoint[0] == "checkpoint" and checkpoint[4].endswith("%")
    card = run_card.find(f"{tmp_path}/out/saved_model")
    assert card.model_name == NETWORK and card.image_size == SIZE
    assert card.output_names == ("checks", "dots", "rings", "stripes", "zigzags")


def test_cards_of_other_runs_are_left_alone(run_dir, tmp_path):
    before = (run_dir / "run.json").read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    for path in run_dir.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    labels = tmp_path / "names.txt"
    labels.write_text("".join(f"{i}:class {i}\n" for i in range(5)))
    for source, target in (
        (f"--checkpoint_path={run_dir}", run_dir),
        (f"--checkpoint_path={run_dir}", other),
    ):
        # Of other names, so that a card written anew would differ.
        options = ("--formats=frozen", "--check_images=0", f"--label_path={labels}")
        status, _, err = export(source, f"--output_dir={target}", *options)
        assert status == 0, err
        assert (target / "run.json").read_bytes() == before
        (target / "frozen_graph.pb").unlink()
        (target / "labels.txt").unlink()


def test_classes_by_the_dataset(bare, data_dir, tmp_path):
    status, _, err = export(
        bare,
        f"--output_dir={tmp_path}/out",
        f"--model_name={NETWORK}",
        f"--image_size={SIZE}",
        f"--dataset_dir={data_dir}",
        "--formats=frozen",
        "--check_images=0",
    )
    assert status == 0, err
    assert (tmp_path / "out/labels.txt").read_text().count("\n") == 5


def test_a_flag_may_not_contradict_the_card(run_dir, tmp_path):
    arguments = (f"--checkpoint_path={run_dir}", f"--output_dir={tmp_path}/out")
    assert "--image_size is 28" in fail(*arguments, "--image_size=28")
    status, _, err = export(
        *arguments, f"--image_size={SIZE}", "--formats=frozen", "--check_images=0"
    )
    assert status == 0, err


def test_mistakes(run_dir, bare, pictures_dir, tmp_path):
    out = f"--output_dir={tmp_path}/out"
    run = f"--checkpoint_path={run_dir}"
    assert "--checkpoint_path" in fail(out)
    assert "--output_dir" in fail(run)
    assert "tflite_int8" in fail(run, out, "--formats=tflite_int9")
    assert "--model_name" in fail(bare, out)
    network = f"--model_name={NETWORK}"
    assert "how many classes" in fail(bare, out, network)
    assert "mobilenet_v1" in fail(bare, out, "--model_name=mobilenet_v7")
    sized = (network, "--num_classes=5", f"--image_size={SIZE}")
    assert "--image_dir" in fail(bare, out, *sized)
    assert "no such file" in fail(bare, out, *sized, "--image_dir=nowhere")
    pictures = f"--image_dir={pictures_dir}"
    assert "shape" in fail(bare, out, network, "--num_classes=7", pictures)
    assert "of another network" in fail(
        bare, out, "--model_name=lenet", "--num_classes=5", pictures
    )
    assert "no checkpoint" in fail(f"{bare}0", out, *sized)
    text = tmp_path / "notes.txt"
    text.write_text("no checkpoint\n" * 50)
    fail(f"--checkpoint_path={text}", out, *sized, pictures)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(run_dir, tmp_path):
    (tmp_path / "file").write_text("")
    fail(
        f"--checkpoint_path={run_dir}",
        f"--output_dir={tmp_path}/file/out",
        "--check_images=0",
    )


def test_a_truncated_picture_is_left_out(bare, pictures_dir, tmp_path):
    source = next(pictures_dir.rglob("*.jpg")).read_bytes()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/whole.jpg").write_bytes(source)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no picture")
    status, out, err = export(
        bare,
        f"--output_dir={tmp_path}/out",
        f"--model_name={NETWORK}",
        "--num_classes=5",
        f"--image_size={SIZE}",
        f"--image_dir={tmp_path}/photos",
        "--formats=frozen",
    )
    assert status == 0, err
    assert np.char.startswith(out.split("\n"), "frozen").any()
