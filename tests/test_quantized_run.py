"""A network in float is trained on with fake quantization, and used by every script."""

import json

import pytest
from script_runner import run_script

FLAGS = (
    *("--dataset_name=image_folder", "--recipe=classic", "--model_name=simple_cnn"),
    *("--train_image_size=32", "--batch_size=16", "--optimizer=adam"),
    *("--learning_rate=0.002", "--seed=1", "--preprocessing_name=lenet"),
)


def succeed(script, *arguments):
    status, out, err = run_script(script, *arguments)
    assert status == 0, out + err
    return out + err


@pytest.fixture(scope="module")
def folder(data_dir, tmp_path_factory):
    """A folder with a run in float and one with fake quantization that follows it."""
    folder = tmp_path_factory.mktemp("quantized")
    train = ("train_image_classifier.py", *FLAGS, f"--dataset_dir={data_dir}")
    succeed(*train, f"--train_dir={folder}/float", "--max_number_of_steps=40")
    succeed(
        *train,
        f"--train_dir={folder}/int8",
        f"--checkpoint_path={folder}/float",
        "--quantize_delay=0",
        "--max_number_of_steps=20",
        "--eval_split_name=validation",
    )
    return folder


@pytest.mark.slow
def test_evaluation_knows_from_the_run_card(folder):
    card = json.loads((folder / "int8" / "run.json").read_text())
    assert card["quantize"] and not card["quantize_per_channel"]
    evaluate = ("eval_image_classifier.py", f"--checkpoint_path={folder}/int8")
    succeed(*evaluate)
    found = json.loads((folder / "int8" / "eval" / "eval.json").read_text())
    assert found["accuracy"] == pytest.approx(card["results"]["best"]["value"])
    report = succeed("inspect_model.py", f"--checkpoint_path={folder}/int8")
    assert "Ranges of 8 bits:" in report


@pytest.mark.slow
def test_graphs_have_the_fake_quantization(folder, pictures_dir):
    graph, frozen = f"{folder}/graph.pb", f"{folder}/frozen.pb"
    run = f"{folder}/int8"
    succeed(
        "export_inference_graph.py",
        f"--checkpoint_path={run}",
        f"--output_file={graph}",
    )
    succeed(
        "freeze_graph.py",
        *(f"--input_graph={graph}", "--input_binary=true"),
        *(f"--input_checkpoint={run}", f"--output_graph={frozen}"),
    )
    out = succeed(
        "classify_image.py",
        f"--model_path={frozen}",
        f"--image_file={next(pictures_dir.glob('*/0.jpg'))}",
    )
    assert "stripes" in out
    with open(frozen, "rb") as file:
        assert b"weights_quant/FakeQuantWithMinMaxVars" in file.read()


@pytest.mark.slow
def test_files_of_integers_agree_with_the_checkpoint(folder, data_dir):
    out = succeed(
        "export_model.py",
        *(f"--checkpoint_path={folder}/int8", f"--output_dir={folder}/out"),
        *("--formats=tflite_int8,tflite_int8_io,onnx", "--check_images=20"),
        *("--calibration_images=20", f"--dataset_dir={data_dir}"),
    )
    assert "tflite_int8_io" in out
