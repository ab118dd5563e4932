"""The converter as people call it: on a command line, and interrupted."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image


def command(*flags):
    return [sys.executable, str(ROOT / "convert_dataset.py"), *flags]


@pytest.fixture
def source(tmp_path):
    """Many links to one picture that takes a while to decode."""
    Image.effect_noise((1200, 1200), 90).save(tmp_path / "noise.jpg")
    for name in "cat", "dog":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(1000):
            path = tmp_path / "photos" / name / f"{index}.jpg"
            path.symlink_to(tmp_path / "noise.jpg")
    return tmp_path / "photos"


def thin_out(source, left):
    for path in source.glob("*/*.jpg"):
        if int(path.stem) >= left:
            path.unlink()


def start(source, dataset_dir):
    """Returns the process when it has begun to write."""
    process = subprocess.Popen(
        command(f"--source={source}", f"--dataset_dir={dataset_dir}", "--workers=2"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs, and so their children, are deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(dataset_dir.glob(".images.partial/*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def lives(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_converts_and_says_what_to_do_next(source, tmp_path):
    thin_out(source, 10)
    data = tmp_path / "my data"
    flags = ["--dataset_name=pets", "--validation_fraction=0.3", "--shards=2"]
    done = subprocess.run(
        command(f"--source={source}", f"--dataset_dir={data}", "--workers=2", *flags),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    table = [line.split() for line in lines[:4]]
    assert table == [
        ["class", "train", "validation"],
        ["cat", "7", "3"],
        ["dog", "7", "3"],
        ["total", "14", "6"],
    ]
    assert f"--dataset_dir='{data}'" in lines[-1]
    assert json.loads((data / "dataset_info.json").read_text())["name"] == "pets"


def test_a_mistake_is_one_sentence(tmp_path):
    done = subprocess.run(
        command(f"--source={tmp_path}/none", f"--dataset_dir={tmp_path}/data"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"convert_dataset.py: error: There is no folder .*\.", message)
    assert "Traceback" not in done.stderr


def test_workers_do_not_import_tensorflow():
    # Spawned workers import the script as well as what they run.
    code = (
        "import sys, convert_dataset, datasets.picture_pool;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(source, tmp_path):
    process = start(source, tmp_path / "data")
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_it_leaves_nothing_that_looks_whole(source, tmp_path):
    data = tmp_path / "data"
    process = start(source, data)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split()
    assert len(workers) >= 2
    process.kill()
    process.communicate(timeout=60)
    assert [path.name for path in data.iterdir()] == [".images.partial"]
    deadline = time.monotonic() + 30
    while any(map(lives, workers)):
        assert time.monotonic() < deadline, "the worker processes live on"
        time.sleep(0.05)
    thin_out(source, 5)
    subprocess.run(
        command(f"--source={source}", f"--dataset_dir={data}", "--workers=1"),
        check=True,
        capture_output=True,
    )
    assert (data / "dataset_info.json").exists()
    assert not list(data.glob(".*"))
