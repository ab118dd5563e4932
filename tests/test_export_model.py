"""export_model.py in this process: with a run card, with flags, and mistakes."""

import dataclasses
import json
import shutil

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
    """Returns a training folder with its card, of the drawn images."""
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
    """Returns the flag of the checkpoint without its card."""
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


def test_with_a_run_card(run_dir, tmp_path):
    exact = "frozen,saved_model,tflite,tflite_float16"
    status, out, err = export(
        f"--checkpoint_path={run_dir}",
        f"--output_dir={tmp_path}/out",
        f"--formats={exact},tflite_int8,onnx_int8,openvino_int8",
        "--calibration_method=minmax",
        "--check_images=8",
    )
    assert status == 0, err
    lines = out.strip().split("\n")
    assert len(lines) == 11 and lines[2].startswith("checkpoint")
    assert "0:" in (tmp_path / "out" / "labels.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "SHA256SUMS",
        "frozen_graph.pb",
        "labels.txt",
        "model.tflite",
        "model_float16.tflite",
        "model_int8.onnx",
        "model_int8.tflite",
        "openvino_int8",
        "run.json",
        "saved_model",
    ]
    for name in ("frozen_graph.pb", "saved_model", "saved_model/saved_model.pb"):
        card = run_card.find(f"{tmp_path}/out/{name}")
        assert card.preprocessing_name == "cifarnet" and card.dataset_dir
        assert len(card.output_names) == 5


def test_with_flags_and_a_folder_of_images(bare, pictures_dir, data_dir, tmp_path):
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
    checkpoint = out.split("\n")[2].split()
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
        # With other names, a rewritten card would differ.
        options = (
            "--formats=frozen",
            "--check_images=0",
            f"--label_path={labels}",
            "--ignore_run_card",
        )
        status, _, err = export(source, f"--output_dir={target}", *options)
        assert status == 0, err
        assert (target / "run.json").read_bytes() == before
        (target / "frozen_graph.pb").unlink()
        (target / "labels.txt").unlink()


def test_the_dataset_gives_the_number_of_classes(bare, data_dir, tmp_path):
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
    assert "The number of classes is unknown" in fail(bare, out, network)
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


def test_names_match_the_outputs_and_the_card(run_dir, data_dir, tmp_path):
    arguments = [f"--checkpoint_path={run_dir}", f"--output_dir={tmp_path}/out"]
    arguments += ["--formats=frozen", "--check_images=0"]
    names = [line.split(":")[1] for line in (data_dir / "labels.txt").open()]
    labels = tmp_path / "labels.txt"
    for lines, said in (
        (names[:-1], f"has 5 outputs, but {labels} lists 4 names"),
        ([*names, "more"], f"has 5 outputs, but {labels} lists 6 names"),
        (names[::-1], "calls output 0 'zigzags', but run.json calls it 'checks'"),
    ):
        labels.write_text("\n".join(line.strip() for line in lines))
        assert said in fail(*arguments, f"--label_path={labels}")
    override = ("--ignore_run_card", f"--label_path={labels}")
    status, _, err = export(*arguments, *override)
    assert status == 0, err
    assert (tmp_path / "out" / "labels.txt").read_text().startswith("0:zigzags\n")


def test_the_best_checkpoint_is_exported(run_dir, tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / "best").mkdir()
    for path in run_dir.glob("model.ckpt-3.*"):
        shutil.copy(path, run / "best" / path.name.replace("-3.", "-2."))
    ranking = {"metric": "accuracy", "checkpoints": [{"step": 2, "value": 0.75}]}
    (run / "best" / "best.json").write_text(json.dumps(ranking))
    arguments = [f"--checkpoint_path={run}", f"--output_dir={tmp_path}/out"]
    arguments += ["--formats=frozen", "--check_images=0"]
    for flags, said in (
        (
            [],
            f"{run}/best/model.ckpt-2, the best by accuracy (0.7500); --checkpoint=la",
        ),
        (["--checkpoint=latest"], f"{run}/model.ckpt-3, the newest."),
        (["--checkpoint=3"], f"{run}/model.ckpt-3."),
    ):
        caplog.clear()
        assert export(*arguments, *flags)[0] == 0
        assert any(m.startswith(f"Exporting {said}") for m in caplog.messages)


def test_a_folder_that_cannot_be_written(run_dir, tmp_path):
    (tmp_path / "file").write_text("")
    fail(
        f"--checkpoint_path={run_dir}",
        f"--output_dir={tmp_path}/file/out",
        "--check_images=0",
    )


def test_unreadable_images_are_skipped(bare, pictures_dir, tmp_path):
    source = next(pictures_dir.rglob("*.jpg")).read_bytes()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/whole.jpg").write_bytes(source)
    (tmp_path / "photos/broken.jpg").write_bytes(b"not an image")
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


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks(task, run_dir, pictures_dir, tmp_path):
    state = {"mean": [5.0] * 5, "scale": [2.0] * 5} if task == "regression" else {}
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    card = run_card.find(str(run_dir))
    card = dataclasses.replace(card, task=task, task_state=state)
    card.save(str(run))
    status, out, err = export(
        f"--checkpoint_path={run}",
        f"--output_dir={tmp_path}/out",
        f"--image_dir={pictures_dir}",
        "--formats=frozen,saved_model,tflite,tflite_float16",
        "--check_images=4",
    )
    assert status == 0, err
    assert out.count("100.0%") == 6
    written = run_card.find(f"{tmp_path}/out/frozen_graph.pb")
    assert written.task == task and written.task_state == state
    assert written.spec.output_names == card.output_names


FORMAT_OF_A_USER = """
from deployment import formats
from deployment.formats import base, frozen


def recognize(path, head):
    return path if path.endswith(".copy") else None


def open_copy(path, output, signature, spec):
    return frozen.FrozenPredictor(path, output, spec)


formats.register(
    base.FileType(
        "copy of a frozen graph",
        recognize,
        open_copy,
        formats=(base.Format("copy", "graph.copy", frozen.write),),
    )
)
"""


def test_a_format_of_a_user_module(run_dir, pictures_dir, tmp_path):
    module = tmp_path / "my_formats.py"
    module.write_text(FORMAT_OF_A_USER)
    arguments = (f"--checkpoint_path={run_dir}", f"--output_dir={tmp_path}/out")
    images = (f"--image_dir={pictures_dir}", "--check_images=3")
    assert "Unknown format 'copy'" in fail(*arguments, "--formats=copy")
    status, out, err = export(
        *arguments, *images, "--formats=frozen,copy", f"--user_module={module}"
    )
    assert status == 0, err
    assert out.split("\n")[-2].startswith("copy")
    assert (tmp_path / "out" / "graph.copy").exists()
