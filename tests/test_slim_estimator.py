"""Networks of this project as Estimators, against the scripts."""

import json

import numpy as np
import pytest
from script_runner import run_script

import slim_estimator
from tf_slim_compat import tf

SETTINGS = {
    "optimizer": "momentum",
    "learning_rate": 0.02,
    "end_learning_rate": 0.001,
    "learning_rate_decay_type": "cosine",
    "max_number_of_steps": 4,
    "moving_average_decay": 0.9,
    "batch_size": 8,
    "label_smoothing": 0.1,
    "seed": 5,
    "precision": "float32",
    "num_preprocessing_threads": 1,
}
MODEL_NAME, IMAGE_SIZE = "simple_cnn", 32


def succeed(script, *arguments):
    status, out, err = run_script(script, *arguments)
    assert status == 0, out + err
    return out + err


def make_model(data_dir, **options):
    return slim_estimator.ImageModel(
        MODEL_NAME,
        "image_folder",
        str(data_dir),
        image_size=IMAGE_SIZE,
        **SETTINGS | options,
    )


def read_all(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """A folder with a run of the script, and one of an Estimator from its start."""
    folder = tmp_path_factory.mktemp("runs")

    def train(name, **options):
        flags = SETTINGS | {"train_image_size": IMAGE_SIZE, **options}
        succeed(
            "train_image_classifier.py",
            f"--train_dir={folder}/{name}",
            "--dataset_name=image_folder",
            f"--dataset_dir={data_dir}",
            f"--model_name={MODEL_NAME}",
            "--recipe=classic",  # An Estimator has no recipes.
            "--save_summaries_secs=0",
            *(f"--{flag}={value}" for flag, value in flags.items()),
        )

    train("start", max_number_of_steps=1)
    start = f"{folder}/start/model.ckpt-1"
    train("script", checkpoint_path=start)
    # In two parts: the second continues the stream of images.
    for steps in (2, 4):
        model = make_model(data_dir, checkpoint_path=start)
        estimator = model.build_estimator(f"{folder}/estimator")
        tf.estimator.train_and_evaluate(
            estimator,
            tf.estimator.TrainSpec(model.input_fn("train"), max_steps=steps),
            tf.estimator.EvalSpec(
                model.input_fn("validation"), steps=None, throttle_secs=0
            ),
        )
    return folder


def test_an_estimator_trains_what_the_script_trains(runs):
    script = read_all(f"{runs}/script/model.ckpt-4")
    estimator = read_all(f"{runs}/estimator/model.ckpt-4")
    assert script.keys() == estimator.keys()
    for name, value in script.items():
        np.testing.assert_allclose(
            estimator[name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_the_evaluation_is_that_of_the_script(runs, data_dir):
    succeed("eval_image_classifier.py", f"--checkpoint_path={runs}/estimator")
    expected = json.loads((runs / "estimator" / "eval" / "eval.json").read_text())
    model = make_model(data_dir)
    estimator = model.build_estimator(f"{runs}/estimator")
    found = estimator.evaluate(model.input_fn("validation", batch_size=7))
    assert found["global_step"] == 4
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["average_loss"] == pytest.approx(expected["loss"], rel=1e-4)
    predicted = next(estimator.predict(model.input_fn("validation")))
    assert predicted["probabilities"].sum() == pytest.approx(1)
    assert len(predicted["class_names"]) == 5


def test_an_export_classifies_files(runs, data_dir, pictures_dir, tmp_path):
    model = make_model(data_dir)
    estimator = model.build_estimator(f"{runs}/estimator")
    folder = estimator.export_saved_model(
        str(tmp_path), model.serving_input_receiver_fn
    ).decode()
    path = next(pictures_dir.glob("*/0.jpg"))
    out = succeed("classify_image.py", f"--model_path={folder}", f"--image_file={path}")
    assert path.parent.name in out


def test_options_are_flags_of_the_script(data_dir):
    model = make_model(data_dir, learning_rate_factors="SimpleCnn/logits:10")
    assert model.config.optimizer.learning_rate_factors == (("SimpleCnn/logits", 10),)
    assert model.config.schedule.initial == SETTINGS["learning_rate"]
    with pytest.raises(ValueError, match="learning_rat.*learning_rate"):
        make_model(data_dir, learning_rat=1)
    with pytest.raises(ValueError, match="feature_copies=1.*train_image_classifier"):
        make_model(data_dir, feature_copies=1, trainable_scopes="SimpleCnn/logits")


def test_a_folder_of_another_run_is_an_error(runs, data_dir):
    model = make_model(data_dir, use_grayscale=True)
    with pytest.raises(ValueError, match="use_grayscale"):
        model.build_estimator(f"{runs}/estimator")
