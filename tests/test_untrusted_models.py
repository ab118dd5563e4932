"""classify_image.py with hostile and with damaged models."""

import hostile_graphs
from PIL import Image
from script_runner import run_script

from deployment.models import graph_files
from tf_slim_compat import tf


def test_hostile_models_need_trust(tmp_path):
    loot = tmp_path / "loot"
    path = hostile_graphs.frozen_graph(tmp_path, loot, None)
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    arguments = ["classify_image.py", f"--model_path={path}"]
    arguments += ["--preprocessing_name=lenet", str(tmp_path / "image.png")]
    status, _, errors = run_script(*arguments)
    assert status == 1 and not loot.exists()
    assert errors.startswith(f"classify_image.py: error: '{path}' contains operations")
    status, _, errors = run_script(*arguments, "--trust_model")
    assert status == 0 and loot.exists(), errors


def test_scores_that_are_not_numbers_are_an_error(tmp_path, pictures_dir):
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 8, 8, 3], "input")
        # Of dark images only.
        total = tf.reduce_sum(images, [1, 2, 3])
        tf.stack([tf.log(total), total], axis=1, name="scores")
    path = str(tmp_path / "damaged.pb")
    graph_files.write_graph(graph.as_graph_def(), path)
    dark = tmp_path / "dark.png"
    Image.new("RGB", (8, 8)).save(dark)
    status, _, errors = run_script(
        "classify_image.py",
        f"--model_path={path}",
        "--preprocessing_name=lenet",
        f"--output_file={tmp_path}/names.csv",
        str(dark),
        str(pictures_dir / "dots" / "1.jpg"),
    )
    assert status == 1 and not (tmp_path / "names.csv").exists()
    assert (
        f"'{path}' returns scores that are not finite numbers for" in errors
        and f"images ({dark}" in errors
    )
