"""Wide images are kept whole by every script once they were in training."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from script_runner import run_script


def run(script, *arguments):
    status, out, err = run_script(script, *arguments)
    assert not status, out + err
    return out


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two wide images that differ only where evaluation otherwise crops them."""
    folder = tmp_path_factory.mktemp("wide")
    for name, color in (("a.png", 0), ("b.png", 255)):
        image = np.full((16, 64, 3), 100, np.uint8)
        image[:, :3] = color
        Image.fromarray(image).save(folder / name)
    return folder


def classify(path, wide):
    """Returns the scores of both images."""
    lines = run(
        "classify_image.py", f"--model_path={path}", "--output_format=csv", wide
    )
    rows = list(csv.DictReader(lines.splitlines()))
    return [
        [row["score"] for row in rows if row["file"].endswith(name)]
        for name in ("a.png", "b.png")
    ]


@pytest.mark.parametrize("is_letterboxed", [True, False])
def test_from_training_to_the_exported_model(data_dir, wide, tmp_path, is_letterboxed):
    augment = "letterbox|flip" if is_letterboxed else "flip"
    run(
        "train_image_classifier.py",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        "--model_name=softmax_regression",
        "--preprocessing_name=inception",
        f"--augment={augment}",
        f"--train_dir={tmp_path}/run",
        "--train_image_size=16",
        "--batch_size=8",
        "--max_number_of_steps=2",
    )
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    prefix = "letterbox+" if is_letterboxed else ""
    assert card["preprocessing_name"] == f"{prefix}inception"
    run(
        "export_model.py",
        f"--checkpoint_path={tmp_path}/run",
        f"--output_dir={tmp_path}/export",
        "--check_images=4",
    )
    for name in ("frozen_graph.pb", "saved_model"):
        first, second = classify(tmp_path / "export" / name, wide)
        assert (first != second) == is_letterboxed, name
