"""The converter on the command line, and interrupted."""

import ast
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image

from datasets import convert_images


def command(*flags):
    return [sys.executable, str(ROOT / "convert_dataset.py"), *flags]


@pytest.fixture
def source(tmp_path):
    """Ten images of cats and ten of dogs."""
    for name in "cat", "dog":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            path = tmp_path / "photos" / name / f"{index}.jpg"
            Image.new("RGB", (8, 6)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def stalled(source):
    """The source, whose conversion waits until its messages are read.

    They name more bad images than fit into a pipe.
    """
    for index in range(400):
        (source / "dog" / f"{index}{'x' * 200}.jpg").write_bytes(b"no image")
    return source


def start(source, dataset_dir):
    """Returns the process once it has begun to write."""
    process = subprocess.Popen(
        command(f"--source={source}", f"--dataset_dir={dataset_dir}", "--workers=2"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs, and thus their children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(dataset_dir.glob(".images.partial/*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return process


def lives(pid):
    """Returns whether a process is running."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_converts_and_says_what_to_do_next(source, tmp_path):
    data = tmp_path / "my data"
    flags = ["--dataset_name=pets", "--validation_fraction=0.3", "--shards=2"]
    program, *rest = command(f"--source={source}", f"--dataset_dir={data}", *flags)
    done = subprocess.run(
        [program, "-X", "importtime", *rest, "--workers=2"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(re.findall(r"\| +([a-z]\w*)[\w.]*$", done.stderr, re.MULTILINE))
    assert "deployment" in imported and "apache_beam" not in imported
    lines = done.stdout.splitlines()
    table = [line.split() for line in lines[:4]]
    assert table == [
        ["class", "train", "validation"],
        ["cat", "7", "3"],
        ["dog", "7", "3"],
        ["total", "14", "6"],
    ]
    commands = done.stdout.partition("Next:\n")[2].replace("\\\n", "").splitlines()
    training, evaluation = map(shlex.split, commands)
    assert training[1] == "train_image_classifier.py"
    assert f"--dataset_dir={data}" in training
    assert evaluation == ["python", "eval_image_classifier.py", "--checkpoint_path=run"]
    assert json.loads((data / "dataset_info.json").read_text())["name"] == "pets"


def test_errors_are_one_sentence(tmp_path):
    done = subprocess.run(
        command(f"--source={tmp_path}/none", f"--dataset_dir={tmp_path}/data"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"convert_dataset.py: error: There is no folder .*\.", message)
    assert "Traceback" not in done.stderr


# Imports the script in a process of its own, as two scripts define the same flags.
PRINT_CALL = """
import sys, types
from absl import flags
import convert_dataset
from datasets import conversion_report, convert_images
sys.modules["deployment.tasks"] = types.SimpleNamespace(get_task="task {}".format)
convert_images.convert = lambda config, task, _: print(repr((vars(config), task)))
conversion_report.describe = lambda info, folder: "done"
convert_dataset.main(flags.FLAGS(sys.argv)[1:])
"""


def read_call(*flags):
    """Returns (config as a dict, task) with which the script converts."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_CALL, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return ast.literal_eval(done.stdout.splitlines()[0])


def test_label_files_are_passed_on_with_their_task():
    config, task = read_call(
        *("--source=photos", "--dataset_dir=data", "--labels=labels.csv"),
        *("--task=regression", "--file_column=name", "--label_columns=a,b"),
    )
    assert task == "task regression"
    assert config == vars(
        convert_images.ConvertConfig(
            source="photos",
            dataset_dir="data",
            labels="labels.csv",
            file_column="name",
            label_columns=("a", "b"),
        )
    )


def test_class_folders_are_the_default():
    config, task = read_call(
        *("--source=photos", "--dataset_dir=data", "--on_bad_image=fail")
    )
    assert task is None
    expected = convert_images.ConvertConfig("photos", "data", skip_bad_images=False)
    assert config == vars(expected)


def test_workers_do_not_import_tensorflow():
    # Spawned workers import the script as well as what they run.
    code = (
        "import sys, convert_dataset, datasets.image_pool;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(stalled, tmp_path):
    process = start(stalled, tmp_path / "data")
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_it_leaves_nothing_that_looks_complete(stalled, tmp_path):
    data = tmp_path / "data"
    process = start(stalled, data)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split()
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    assert [path.name for path in data.iterdir()] == [".images.partial"]
    while any(map(lives, workers)):
        time.sleep(0.05)
    flags = "--workers=1", "--validation_fraction=0"
    subprocess.run(
        command(f"--source={stalled}", f"--dataset_dir={data}", *flags),
        check=True,
        capture_output=True,
    )
    assert (data / "dataset_info.json").exists()
    assert not list(data.glob(".*"))
