"""edit_checkpoint.py converts weights of Keras; others of its tests are per module."""

import json

import keras_files
import numpy as np
import pytest
from script_runner import run_script

from deployment.models.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns (folder, values) of files of weights for 1,000 and for no classes."""
    folder = tmp_path_factory.mktemp("keras")
    keras_files.write(folder / "no_top.h5", 0)
    return folder, keras_files.write(folder / "imagenet.h5", 1000)


def convert(path, output, *arguments):
    return run_script(
        "edit_checkpoint.py",
        f"--from_keras={path}",
        f"--model_name={keras_files.NETWORK}",
        f"--output_path={output}",
        *arguments,
    )


def test_converted_weights_have_a_run_card(files, tmp_path):
    folder, values = files
    output = tmp_path / "new" / "model.ckpt"
    status, _, err = convert(folder / "imagenet.h5", output)
    assert status == 0, err
    found = Checkpoint(str(tmp_path / "new"))
    assert found.variables.keys() == values.keys()
    for name, array in values.items():
        np.testing.assert_array_equal(found.read(name), array)
    card = json.loads((tmp_path / "new" / "run.json").read_text())
    wanted = {
        "model_name": keras_files.NETWORK,
        "num_classes": 1000,
        "labels_offset": 1,
        "image_size": 224,
        "preprocessing_name": "inception",
    }
    assert {name: card[name] for name in wanted} == wanted
    status, _, err = convert(folder / "imagenet.h5", tmp_path / "new" / "other.ckpt")
    assert status == 1 and "belongs to another model" in err
    output = tmp_path / "background" / "model.ckpt"
    status, _, err = convert(folder / "imagenet.h5", output, "--add_background")
    assert status == 0, err
    card = json.loads((tmp_path / "background" / "run.json").read_text())
    assert (card["num_classes"], card["labels_offset"]) == (1001, 0)


def test_converted_weights_evaluate(data_dir, tmp_path):
    """All settings come from the run card; the flags give the data."""
    keras_files.write(tmp_path / "own.h5", 5)
    output = tmp_path / "new" / "model.ckpt"
    assert convert(tmp_path / "own.h5", output)[0] == 0
    status, _, err = run_script(
        "eval_image_classifier.py",
        f"--checkpoint_path={output.parent}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        "--dataset_split_name=validation",
        "--batch_size=10",
        "--max_num_batches=1",
        f"--eval_dir={tmp_path / 'eval'}",
    )
    assert status == 0, err


@pytest.mark.parametrize("name", ["imagenet.h5", "no_top.h5"])
def test_converted_weights_are_fine_tuned(name, files, data_dir, tmp_path, caplog):
    folder, values = files
    output = tmp_path / "new" / "model.ckpt"
    with caplog.at_level("INFO"):
        status, _, err = convert(folder / name, output)
    assert status == 0, err
    has_card = (output.parent / "run.json").exists()
    assert has_card == (name == "imagenet.h5")
    assert has_card or "--checkpoint_exclude_scopes=MobilenetV1/Logits" in caplog.text
    status, _, err = run_script(
        "train_image_classifier.py",
        f"--train_dir={tmp_path / 'run'}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        f"--model_name={keras_files.NETWORK}",
        f"--checkpoint_path={output}",
        "--checkpoint_exclude_scopes=MobilenetV1/Logits",
        "--trainable_scopes=MobilenetV1/Logits",
        "--train_image_size=32",
        "--batch_size=8",
        "--precision=float32",
        "--max_number_of_steps=2",
    )
    assert status == 0, err
    found = Checkpoint(str(tmp_path / "run"))
    kept = "MobilenetV1/Conv2d_5_pointwise/weights"
    np.testing.assert_array_equal(found.read(kept), values[kept])
    assert found.read("MobilenetV1/Logits/Conv2d_1c_1x1/biases").any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--best=3"], "--best does not go with --from_keras"),
        (["--model_name="], "The network that the weights are for is missing"),
        (["--model_name=lenet"], "Keras Applications have no such network"),
        (["--model_name=vgg_16"], "does not hold the weights of Keras' VGG16"),
        (["--from_keras=none.h5"], "There is no file 'none.h5'"),
        (["--from_keras="], "--model_name only goes with --from_keras"),
    ],
)
def test_mistakes(arguments, message, files, tmp_path):
    output = tmp_path / "new" / "model.ckpt"
    status, _, err = convert(files[0] / "imagenet.h5", output, *arguments)
    assert status == 1 and message in err and "Traceback" not in err
    assert not output.parent.exists()
