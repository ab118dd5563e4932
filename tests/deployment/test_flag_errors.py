"""Mistakes in flags: what is suggested instead."""

import pytest
from script_runner import load_flags

from deployment import flag_errors

SCRIPTS = {
    name: list(load_flags(f"{name}.py"))
    for name in ("train_image_classifier", "convert_dataset", "classify_image")
}


@pytest.mark.parametrize(
    "script, name, flag",
    [
        ("train_image_classifier", "lr", "learning_rate"),
        ("train_image_classifier", "max_steps", "max_number_of_steps"),
        ("train_image_classifier", "epochs", "max_number_of_epochs"),
        ("train_image_classifier", "batch", "batch_size"),
        ("train_image_classifier", "batch-size", "batch_size"),
        ("train_image_classifier", "model", "model_name"),
        ("train_image_classifier", "data", "dataset_dir"),
        ("train_image_classifier", "imgsz", "train_image_size"),
        ("train_image_classifier", "patience", "early_stopping_patience"),
        ("train_image_classifier", "learning_rat", "learning_rate"),
        ("convert_dataset", "data", "source"),
        ("convert_dataset", "output_dir", "dataset_dir"),
        ("classify_image", "model", "model_path"),
        ("classify_image", "checkpoint_path", "model_path"),
        ("classify_image", "top_k", "num_top_predictions"),
    ],
)
def test_names_of_other_tools_suggest_the_flag_of_this_script(script, name, flag):
    assert flag_errors.suggest(name, SCRIPTS[script])[0] == flag


def test_a_name_like_no_other_suggests_nothing():
    assert flag_errors.suggest("xyzzy", SCRIPTS["convert_dataset"]) == []
