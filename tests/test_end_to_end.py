"""The main path as users type it, from images to a frozen graph that classifies."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from script_runner import run_script

from tf_slim_compat import tf

NETWORK = ["--model_name=mobilenet_v1_025"]
DATASET = ["--dataset_name=image_folder"]
# Far above what any script takes: ends what hangs.
HANG_SECS = 1800


def run(script, *arguments, status=0):
    """Runs an entry script in its own process; returns its output."""
    result = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_SECS,
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def fail_here(script, *arguments):
    """Runs a script that must fail in this process; returns its error message."""
    status, _, err = run_script(script, *arguments)
    assert status == 1, err
    (message,) = re.findall(rf"^{script}: error: (.*)$", err, re.MULTILINE)
    assert err.endswith(f"{message}\n"), "there is output after the error"
    return message


def run_here(script, *arguments):
    """Does the same as `run` in this process."""
    status, out, err = run_script(script, *arguments)
    assert not status, out + err
    return out + err


@pytest.fixture(scope="module")
def work(pictures_dir, tmp_path_factory):
    """A folder with a converted dataset, a trained network and a frozen graph."""
    folder = tmp_path_factory.mktemp("work")
    data = [*DATASET, f"--dataset_dir={folder}/data"]
    outputs = {
        "convert": run(
            "convert_dataset.py",
            f"--source={pictures_dir}",
            f"--dataset_dir={folder}/data",
            "--workers=1",
        ),
        "train": run(
            "train_image_classifier.py",
            f"--train_dir={folder}/run",
            *data,
            *NETWORK,
            "--train_image_size=64",
            "--batch_size=8",
            "--max_number_of_steps=6",
            "--log_every_n_steps=2",
        ),
        "evaluate": run(
            "eval_image_classifier.py",
            f"--checkpoint_path={folder}/run",
            f"--eval_dir={folder}/eval",
            "--dataset_split_name=validation",
            *data,
            *NETWORK,
            "--eval_image_size=64",
            "--batch_size=7",
        ),
        "export": run(
            "export_inference_graph.py",
            "--alsologtostderr",
            f"--output_file={folder}/graph.pb",
            "--image_size=64",
            *data,
            *NETWORK,
        ),
        "freeze": run(
            "freeze_graph.py",
            *("--input_graph", f"{folder}/graph.pb"),
            *("--input_binary", "true"),
            f"--input_checkpoint={folder}/run/model.ckpt-6",
            "--output_node_names=MobilenetV1/Predictions/Reshape_1",
            f"--output_graph={folder}/frozen.pb",
        ),
        "classify": run(
            "classify_image.py",
            f"--model_path={folder}/frozen.pb",
            f"--label_path={folder}/data/labels.txt",
            f"--image_file={pictures_dir}/dots/0.jpg",
            f"{pictures_dir}/rings",
        ),
    }
    return folder, outputs


def test_the_main_path_of_a_small_network(pictures_dir, data_dir, tmp_path):
    data = [*DATASET, f"--dataset_dir={data_dir}"]
    model = "--model_name=softmax_regression"
    run_here(
        "train_image_classifier.py",
        *(*data, model, f"--train_dir={tmp_path}/run", "--train_image_size=16"),
        *("--batch_size=8", "--max_number_of_steps=2"),
    )
    evaluation = run_here(
        "eval_image_classifier.py",
        *(f"--checkpoint_path={tmp_path}/run", f"--eval_dir={tmp_path}/eval"),
    )
    assert re.search(r"^accuracy ", evaluation, re.MULTILINE)
    run_here(
        "export_inference_graph.py",
        *(*data, model, "--image_size=16", f"--output_file={tmp_path}/graph.pb"),
    )
    run_here(
        "freeze_graph.py",
        *(f"--input_graph={tmp_path}/graph.pb", "--input_binary=true"),
        f"--input_checkpoint={tmp_path}/run/model.ckpt-2",
        "--output_node_names=SoftmaxRegression/Predictions/Reshape_1",
        f"--output_graph={tmp_path}/frozen.pb",
    )
    classes = run_here(
        "classify_image.py",
        *(f"--model_path={tmp_path}/frozen.pb", "--preprocessing_name=cifarnet"),
        *(f"--label_path={data_dir}/labels.txt", f"{pictures_dir}/rings"),
    )
    assert classes.count(".jpg\n") == 20


@pytest.mark.slow
def test_the_main_path(work):
    folder, outputs = work
    info = json.loads((folder / "data" / "dataset_info.json").read_text())
    assert info["splits"]["validation"]["num_samples"] == 20
    assert "global step 6: loss = " in outputs["train"]
    assert (folder / "run" / "checkpoint").exists()
    assert "Evaluated 20 images at step 6" in outputs["evaluate"]
    assert re.search(r"eval/Accuracy\[[01]\.\d+\]", outputs["evaluate"])
    # With five classes, recall at 5 is always 1.
    assert "Recall_5" not in outputs["evaluate"]
    assert list((folder / "eval").glob("events*"))
    assert outputs["classify"].count(".jpg\n") == 21
    scores = re.findall(r"^  (\d\.\d{4})  \w+$", outputs["classify"], re.MULTILINE)
    assert sum(map(float, scores[:5])) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_scripts_print_no_noise(work):
    for step, output in work[1].items():
        for noise in ("WARNING", "deprecated", "oneDNN", "cuInit", "INFO:"):
            assert noise not in output, f"{step} prints {noise}"


@pytest.mark.slow
def test_the_frozen_graph_computes_the_logits_of_the_evaluation(work, monkeypatch):
    """The graph is loaded as in TensorFlow 1: GraphDef, import, feed, fetch.

    Neither graph is optimized: TensorFlow's optimizer would fuse variables and
    constants differently, and a network after six steps magnifies rounding errors.
    """
    from datasets import dataset_factory, input_pipeline
    from deployment import model_deploy
    from deployment.evaluate import evaluation
    from deployment.models.spec import ModelSpec
    from nets import nets_factory
    from preprocessing import preprocessing_factory

    folder, _ = work
    session_config = tf.ConfigProto()
    session_config.graph_options.rewrite_options.disable_meta_optimizer = True
    monkeypatch.setattr(model_deploy, "build_session_config", lambda _: session_config)
    dataset = dataset_factory.get_dataset(
        "image_folder", "validation", str(folder / "data")
    )

    def build_batches():
        preprocessing_fn = preprocessing_factory.get_preprocessing("mobilenet_v1_025")
        return input_pipeline.build_batches(
            dataset, preprocessing_fn, 64, 64, 20, is_training=False
        )

    spec = ModelSpec(model_name="mobilenet_v1_025", num_outputs=5)
    config = evaluation.EvaluationConfig(str(folder / "run"), None, spec)
    network_fn = nets_factory.get_network_fn("mobilenet_v1_025", 5)
    predictions = evaluation.predict(config, network_fn, build_batches)
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(build_batches())
        session.run(iterator.initializer)
        images, _ = session.run(iterator.get_next())
    graph_def = tf.GraphDef()
    graph_def.ParseFromString((folder / "frozen.pb").read_bytes())
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        tf.import_graph_def(graph_def, name="")
        logits = session.run("MobilenetV1/Logits/SpatialSqueeze:0", {"input:0": images})
    np.testing.assert_allclose(logits, predictions.logits, rtol=1e-5)


@pytest.mark.slow
def test_damaged_shards_are_named(work, tmp_path):
    folder, _ = work
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    shards = sorted(data.glob("*train*.tfrecord"))
    arguments = [
        "train_image_classifier.py",
        f"--train_dir={tmp_path}/run",
        f"--dataset_dir={data}",
        *DATASET,
        *NETWORK,
        "--train_image_size=64",
        "--batch_size=8",
        "--max_number_of_steps=40",
    ]
    size = shards[1].stat().st_size
    os.truncate(shards[1], size - 100)
    assert shards[1].name in fail_here(*arguments)
    # Without dataset_info.json, as with shards from elsewhere, reading finds it.
    (data / "dataset_info.json").unlink()
    for shard in data.glob("*.tfrecord"):
        shard.rename(shard.with_name(shard.name.replace("images_", "satellite_")))
    arguments[3] = "--dataset_name=satellite"
    assert shards[1].name.replace("images_", "satellite_") in fail_here(*arguments)
    shards[1].with_name(shards[1].name.replace("images_", "satellite_")).unlink()
    assert "missing" in fail_here(*arguments)
