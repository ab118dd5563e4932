"""Training that is killed or interrupted, or fills the disk, loses nothing."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import killed_run
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from datasets import convert_images
from tf_slim_compat import tf

SCRIPT = str(ROOT / "train_image_classifier.py")
# Far above what any run takes: ends what hangs.
HANG_SECS = 1800


def train_command(data_dir, train_dir, *flags, model="softmax_regression"):
    return [
        *(sys.executable, SCRIPT),
        f"--train_dir={train_dir}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        f"--model_name={model}",
        "--train_image_size=32",
        "--batch_size=8",
        "--learning_rate=0.001",
        "--save_summaries_secs=0",  # Saves a third of the start.
        *map(str, flags),
    ]


def run(command, status=0):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=HANG_SECS,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_all(prefix):
    reader = tf.train.NewCheckpointReader(str(prefix))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def forty_classes(tmp_path_factory):
    """Forty images, each with its own class, in three shards."""
    photos, data = tmp_path_factory.mktemp("forty"), tmp_path_factory.mktemp("data")
    for number in range(40):
        (photos / "train" / f"{number:02}").mkdir(parents=True)
        color = (number * 6, 255 - number * 6, 128)
        Image.new("RGB", (9, 9), color).save(
            photos / "train" / f"{number:02}" / "a.png"
        )
    (photos / "validation" / "00").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(photos / "validation" / "00" / "a.png")
    convert_images.convert(
        convert_images.ConvertConfig(
            str(photos), str(data), "forty", shards=3, workers=1
        )
    )
    return data


@pytest.mark.slow
def test_killed_twenty_times_it_ends_where_it_should(forty_classes, tmp_path):
    # More than 20 children can take before they die, so none reaches the end.
    steps = 120
    output = run(
        [sys.executable, str(ROOT / "tests" / "killed_run.py")]
        + [str(forty_classes), str(tmp_path / "run"), str(steps)]
    )
    assert re.findall(r"^killed: (.*)$", output, re.M) == [
        event for event, _ in killed_run.plan_kills()
    ]
    assert len(killed_run.plan_kills()) == 20 and "ended early" not in output
    (loss,) = re.findall(rf"ended at step {steps} with loss (.*)", output)
    assert np.isfinite(float(loss))
    lines = (tmp_path / "run.log").read_text().splitlines()
    seen = collections.defaultdict(set)
    for line in lines:
        step, _, labels = line.partition(": ")
        seen[int(step)].add(tuple(map(int, labels.split())))
    assert sorted(seen) == list(range(1, steps + 1))
    # Steps that were lost and repeated saw the same images again.
    assert len(lines) > steps + 20
    assert all(len(batches) == 1 for batches in seen.values())
    stream = [label for step in sorted(seen) for label in next(iter(seen[step]))]
    epochs = [stream[i : i + 40] for i in range(0, len(stream), 40)]
    assert len(epochs) == 12
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 12
    newest = tf.train.latest_checkpoint(str(tmp_path / "run"))
    assert read_all(newest)["global_step"] == steps


@pytest.mark.slow
def test_resumed_equals_uninterrupted_bit_for_bit(data_dir, tmp_path):
    # Dropout, batch normalization, random crops and colors: everything is random.
    flags = ["--deterministic", "--seed=3", "--moving_average_decay=0.9"]
    flags += ["--recipe=classic"]  # Cosine decay depends on the number of steps.
    flags += ["--optimizer=rmsprop", "--mixup_alpha=0.2", "--log_every_n_steps=1"]
    flags += ["--eval_split_name=validation", "--eval_every=3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, steps in ((whole, 6), (parts, 3), (parts, 6)):
        limit = f"--max_number_of_steps={steps}"
        run(train_command(data_dir, folder, *flags, limit, model="mobilenet_v1_025"))
    expected, found = (read_all(folder / "model.ckpt-6") for folder in (whole, parts))
    assert expected.keys() == found.keys()
    different = [name for name in expected if not (expected[name] == found[name]).all()]
    assert not different
    lines = (whole / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 7))


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(data_dir, tmp_path, signum):
    # Without a number of steps: only the signal ends it.
    process = subprocess.Popen(
        train_command(data_dir, tmp_path / "run", "--log_every_n_steps=1"),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "global step 3:" in line:
            break
    process.send_signal(signum)
    rest = process.stderr.read()
    assert process.wait(HANG_SECS) == 0, rest
    last = int(re.findall(r"global step (\d+):", "global step 3:" + rest)[-1])
    newest = tf.train.latest_checkpoint(str(tmp_path / "run"))
    assert read_all(newest)["global_step"] == last
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    assert card["results"]["stopped_because"] == f"{signum.name} was received"


def mount_small_disk(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small disk needs the right to mount one")


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_loads(data_dir, tmp_path):
    disk = tmp_path / "disk"
    mount_small_disk(disk, "1500k")
    try:
        # The run's graph takes 0.7 MB, each checkpoint with its graph 0.3 MB.
        output = run(
            train_command(
                data_dir,
                disk / "run",
                "--save_interval_secs=0",
                "--max_number_of_steps=20",
            ),
            status=1,
        )
        (message,) = re.findall(
            r"^train_image_classifier.py: error: (.*)$", output, re.M
        )
        assert "Traceback" not in output
        assert "could not be saved" in message and "no space is left" in message
        last = pathlib.Path(re.findall(r"last good checkpoint is (.*)\.$", message)[0])
        weights = read_all(last)
        assert len(weights) > 2 and all(np.isfinite(w).all() for w in weights.values())
        assert not [name for name in os.listdir(disk / "run") if "tempstate" in name]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
