"""Tests of URLs as values of flags."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import fsspec
import pytest
from absl import flags
from conftest import ROOT
from script_runner import load_flags

import remote_files
from deployment import remote
from deployment.remote_copies import get_key

SCRIPTS = sorted(
    path.name
    for path in ROOT.glob("*.py")
    if "entry.run(main" in path.read_text(encoding="utf-8")
)
PATHS = set(f"{remote._READ} {remote._WRITTEN} dataset_dir".split())
# Not paths, or not of files; others begin with neither of these words.
NO_PATHS = {
    *("all_checkpoints", "best", "checkpoint", "checkpoint_exclude_scopes"),
    *("checkpoint_version", "drop_path", "file_column", "gallery_size"),
    *("filename_tensor_name", "output_format", "output_node", "output_node_names"),
    *("max_checkpoints_to_keep", "num_best_checkpoints", "labels_offset", "compare"),
    *("write_text_graphdef", "average_images", "use_moving_averages"),
    "moving_average_decay",
}


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """An empty store, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe_file("/bucket/a.pb", b"a")
    system.pipe_file("/bucket/b.pb", b"b")
    return system


@pytest.fixture
def cache():
    return pathlib.Path(remote_files.get_cache_folder())


def make_flags(**values):
    """Returns flags with values, as parsed."""
    found = flags.FlagValues()
    for name, value in {"task": [], **values}.items():
        define = flags.DEFINE_list if isinstance(value, list) else flags.DEFINE_string
        define(name, value, "", flag_values=found)
    found(["script"])
    return found


def test_every_flag_with_a_path_is_read_or_written():
    names = {name for script in SCRIPTS for name in load_flags(script)}
    words = ("dir", "file", "path", "png", "csv", "graph", "gallery", "checkpoint")
    assert names >= PATHS
    assert {n for n in names if any(word in n for word in words)} <= PATHS | NO_PATHS


def test_local_paths_need_no_store(cache, monkeypatch):
    monkeypatch.setattr(remote, "_Session", None)
    values = make_flags(model_path="a.pb", master="grpc://host:1")
    with remote.local_copies(values, "classify_image.py", ["x", "a.jpg"]) as argv:
        assert argv == ["x", "a.jpg"]
        assert values.model_path == "a.pb"
    assert not list(cache.iterdir())


def test_flags_have_local_paths_within(cache):
    values = make_flags(
        model_path=["memory://bucket/a.pb", "memory://bucket/b.pb", "c.pb"],
        dataset_dir="memory://bucket/data",
    )
    argv = ["x", "memory://bucket/a.pb", "d"]
    with remote.local_copies(values, "benchmark_model.py", argv) as local:
        contents = [pathlib.Path(path).read_text() for path in values.model_path[:2]]
        assert contents == ["a", "b"]
        assert values.model_path[2] == "c.pb"
        assert values.dataset_dir == "memory://bucket/data"
        assert pathlib.Path(local[1]).read_text() == "a"
        assert [local[0], local[2]] == ["x", "d"]
        assert remote.describe_flags(values)["model_path"] == [
            "memory://bucket/a.pb",
            "memory://bucket/b.pb",
            "c.pb",
        ]
    assert values.model_path[0] == "memory://bucket/a.pb"
    assert not list(cache.glob("view-*"))


def test_several_paths_in_one_value():
    values = make_flags(train_dir="memory://bucket/a.pb,run,memory://bucket/b.pb")
    with remote.local_copies(values, "plot_training.py"):
        one, run, other = values.train_dir.split(",")
        assert [os.path.basename(one), run, os.path.basename(other)] == [
            "a.pb",
            "run",
            "b.pb",
        ]


def test_what_is_written_is_sent_unless_there_is_an_error(memory):
    def write(script="export_model.py", **names):
        values = make_flags(**names)
        with remote.local_copies(values, script):
            for name in names:
                os.makedirs(values[name].value, exist_ok=True)
                pathlib.Path(values[name].value, "x").write_text(name)
            if "output_path" in names:
                raise ValueError("wrong")

    write(output_dir="memory://bucket/out", eval_dir="memory://bucket/eval")
    assert memory.cat_file("/bucket/out/x") == b"output_dir"
    assert memory.cat_file("/bucket/eval/x") == b"eval_dir"
    write("convert_dataset.py", dataset_dir="memory://bucket/data")
    assert memory.cat_file("/bucket/data/x") == b"dataset_dir"
    with pytest.raises(ValueError, match="wrong"):
        write(output_path="memory://bucket/more")
    assert not memory.exists("/bucket/more/x")


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_training_folder_is_sent_however_training_ends(error, memory, cache):
    values = make_flags(train_dir="memory://bucket/run")
    with (
        pytest.raises(error) if error else contextlib.nullcontext(),
        remote.local_copies(values, "train_image_classifier.py"),
    ):
        path = pathlib.Path(values.train_dir, "run.json")
        path.write_text("1")
        remote.publish()
        assert memory.cat_file("/bucket/run/run.json") == b"1"
        path.write_text("22")
        if error:
            raise error
    assert memory.cat_file("/bucket/run/run.json") == b"22"
    assert not list(cache.glob("run-*/"))


CHIEF_AND_WORKER = {"chief": ["a:1"], "worker": ["b:1"]}


@pytest.mark.parametrize(
    "task, environment, is_chief",
    [
        ([], None, True),
        (["classification", "0"], None, True),
        (["1"], None, False),
        ([], {"cluster": CHIEF_AND_WORKER, "task": {"type": "chief"}}, True),
        ([], {"cluster": CHIEF_AND_WORKER, "task": {"type": "worker"}}, False),
        ([], {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}}, True),
    ],
)
def test_only_the_chief_sends(task, environment, is_chief, memory, monkeypatch):
    memory.pipe_file("/bucket/run/run.json", b"1")
    if environment is not None:
        monkeypatch.setenv("TF_CONFIG", json.dumps(environment))
    values = make_flags(train_dir="memory://bucket/run", task=task)
    with remote.local_copies(values, "train_image_classifier.py"):
        path = pathlib.Path(values.train_dir, "run.json")
        assert path.read_text() == "1"
        path.write_text("22")
        remote.publish()
    assert memory.cat_file("/bucket/run/run.json") == (b"22" if is_chief else b"1")


def test_two_processes_cannot_train_in_one_folder(cache):
    url = "memory://bucket/run"
    with (
        remote_files.lock(str(cache / f"run-{get_key(url)}.lock"), wait=False),
        pytest.raises(ValueError, match="Another process of this machine trains in"),
        remote.local_copies(make_flags(train_dir=url), "train_image_classifier.py"),
    ):
        pass


def test_views_of_killed_processes_are_removed_and_others_stay(cache):
    program = (
        "import sys; from deployment import remote\n"
        "with remote._make_root() as root:\n"
        "    print(root, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        root = process.stdout.readline().strip()
        values = make_flags(model_path="memory://bucket/a.pb")
        with remote.local_copies(values, "classify_image.py"):
            assert os.path.isdir(root)
        process.kill()
        process.wait()
        assert os.path.isdir(root)
        with remote.local_copies(values, "classify_image.py"):
            assert not os.path.exists(root)
