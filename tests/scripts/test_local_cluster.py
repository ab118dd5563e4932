"""Clusters of real processes on this machine, and one that is killed."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from datasets import convert_images

LAUNCHER = str(ROOT / "scripts" / "train_cluster.sh")
# Far above what any run takes: ends what hangs.
HANG_SECS = 1800


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    random = np.random.RandomState(0)
    for label in ("dark", "light"):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(30):
            pixels = random.randint(0, 128, [8, 8, 3]) + 127 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(
                folder / "images" / label / f"{i}.png"
            )
    convert_images.convert(
        convert_images.ConvertConfig(
            str(folder / "images"), str(folder / "data"), workers=1
        )
    )
    return folder / "data"


def start(data_dir, train_dir, *flags, cluster=("2",)):
    command = [
        *(LAUNCHER, *cluster, "--", f"--train_dir={train_dir}"),
        *("--dataset_name=image_folder", f"--dataset_dir={data_dir}"),
        *("--model_name=softmax_regression", "--train_image_size=8"),
        *("--batch_size=4", "--recipe=classic", "--save_summaries_secs=0"),
        *map(str, flags),
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def read_until(process, pattern):
    """Returns the lines up to the first with a match, and the match."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if match := re.search(pattern, line):
            return lines, match
    raise AssertionError("".join(lines))


def load_card(train_dir):
    return json.loads((train_dir / "run.json").read_text())


@pytest.mark.slow
def test_a_killed_worker_ends_the_others_and_the_run_resumes(data_dir, tmp_path):
    flags = ("--save_interval_secs=0", "--log_every_n_steps=1")
    killed = start(data_dir, tmp_path, "--max_number_of_steps=100000", *flags)
    _, pid = read_until(killed, r"\[worker 1\] Process (\d+)")
    read_until(killed, r"\[worker 0\] global step 5:")
    os.kill(int(pid[1]), signal.SIGKILL)
    output, _ = killed.communicate(timeout=HANG_SECS)
    assert killed.returncode == 1
    assert re.search(r"\[worker 0\] .*error: Worker 1 \(localhost:\d+\) does", output)
    assert "worker 1 ended with status 137." in output
    card = load_card(tmp_path)
    assert "Worker 1 (localhost:" in card["results"]["stopped_because"]
    step = card["results"]["step"]
    assert step >= 4

    # Ctrl-C ends all after the same step.
    stopped = start(
        *(data_dir, tmp_path, "--max_number_of_steps=100000", *flags), cluster=("3",)
    )
    read_until(stopped, rf"\[worker 0\] global step {step + 5}:")
    stopped.send_signal(signal.SIGINT)
    output, _ = stopped.communicate(timeout=HANG_SECS)
    assert stopped.returncode == 0, output
    card = load_card(tmp_path)
    assert [s["images_per_step"] for s in card["sessions"]] == [8, 12]
    assert card["sessions"][1]["from_step"] == step
    assert card["results"]["stopped_because"] == "SIGINT was received"


@pytest.mark.slow
def test_a_parameter_server_and_an_evaluator(data_dir, tmp_path):
    cluster = ("1", "--parameter_servers=1", "--evaluator")
    flags = ("--eval_split_name=validation", "--validate_on=evaluator")
    flags += ("--early_stopping_patience=1", "--early_stopping_min_change=9")
    flags += ("--save_interval_secs=0", "--max_number_of_steps=1000000")
    process = start(data_dir, tmp_path, *flags, cluster=cluster)
    output, _ = process.communicate(timeout=HANG_SECS)
    assert process.returncode == 0, output
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) >= 2
    results = load_card(tmp_path)["results"]
    assert json.loads(rows[-1])["step"] == results["step"]
    assert "has not improved" in results["stopped_because"]
    assert (tmp_path / "best" / "best.json").exists()


@pytest.mark.slow
def test_training_ends_if_its_evaluator_fails(data_dir, tmp_path):
    # Without --validate_on=evaluator there is nothing for it to do.
    flags = ("--eval_split_name=validation", "--max_number_of_steps=1000000")
    process = start(data_dir, tmp_path, *flags, cluster=("1", "--evaluator"))
    output, _ = process.communicate(timeout=HANG_SECS)
    assert process.returncode == 1
    assert re.search(r"\[evaluator 0\] .*error: TF_CONFIG makes this process", output)
    assert output.endswith("\nevaluator 0 ended with status 1.\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["2"], "train_image_classifier.py go after --, but there are none"),
        (["2", "--a=1", "--", "--b=2"], "go after --, but --a=1 stands before it"),
        (["0", "--", "--train_dir=x"], "workers must be an integer of at least 1"),
        (["x", "--", "--train_dir=x"], "of at least 1, but is 'x'"),
        (["2", "--parameter_servers=-1", "--", "-a"], "servers must be an integer of"),
    ],
)
def test_mistakes(arguments, reason):
    script = str(ROOT / "scripts" / "local_cluster.py")
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert reason in done.stderr
