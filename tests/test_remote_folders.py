"""Data, training, evaluation, exports and classification on an S3 server."""

import re
import subprocess
import sys

import numpy as np
import pytest
import s3_server
from conftest import ROOT
from script_runner import run_script
from tensorflow.python.framework import config

from deployment.models.run_card import RunCard
from remote_files import store
from remote_files.copies import Copy
from remote_files.store import Store
from tf_slim_compat import tf

pytestmark = pytest.mark.slow

FLAGS = (
    "--dataset_name=image_folder",
    "--model_name=softmax_regression",
    "--train_image_size=16",
    "--batch_size=8",
    "--max_number_of_steps=6",
    "--eval_split_name=validation",
    "--eval_every=2",
    "--seed=1",
    "--deterministic",
    "--recipe=classic",
    "--save_summaries_secs=0",
)


@pytest.fixture(scope="module")
def s3(data_dir, tmp_path_factory):
    """A server with the generated images in s3://bucket/data."""
    with s3_server.serve(tmp_path_factory.mktemp("aws")) as server:
        for path in data_dir.iterdir():
            server.put(f"data/{path.name}", path.read_bytes())
        yield server


@pytest.fixture(scope="module")
def run(s3, tmp_path_factory):
    """A run in s3://bucket/run that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        succeed("train_image_classifier.py", *train_flags("run"))
    return "s3://bucket/run"


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with an empty cache, which does not wait; gives the cache's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_RETRY_AFTER_SECS", ())
    yield tmp_path / "cache" / "slim-image-classifier" / "remote"
    config.disable_op_determinism()  # A run enables it for the process.


def train_flags(name):
    return f"--train_dir=s3://bucket/{name}", "--dataset_dir=s3://bucket/data", *FLAGS


def succeed(*command):
    status, out, err = run_script(*command)
    assert status == 0, out + err
    return out


def fail(*command):
    """Returns the one sentence in which a command ends."""
    status, _, err = run_script(*command)
    assert status == 1, err
    assert "Traceback" not in err
    message = err[err.index(f"{command[0]}: error: ") :].rstrip("\n")
    assert "\n" not in message
    return message


def read_variables(url, folder):
    """Returns the variables of the newest checkpoint in a store."""
    copy = Copy(url, str(folder))
    copy.fetch()
    reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(copy.folder))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()}


def check_same_result(url, run, tmp_path):
    found = read_variables(url, tmp_path / "found")
    expected = read_variables(run, tmp_path / "expected")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_run_is_complete_in_the_store_and_only_there(run, s3, machine, tmp_path):
    names = s3.list("run/")
    for prefix in ("model.ckpt-2", "model.ckpt-6"):
        assert f"{prefix}.index" in names
    assert {"checkpoint", "run.json", "metrics.csv", "best/best.json"} <= set(names)
    copy = Copy(run, str(tmp_path))
    copy.fetch()
    card = RunCard.load(copy.folder)
    assert card.dataset_dir == "s3://bucket/data"
    assert card.flags["train_dir"] == run
    assert "--train_dir=s3://bucket/run" in card.command
    assert card.results["step"] == 6
    assert "slim-image-classifier" not in s3.get("run/run.json").decode()


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_a_run_resumes_exactly_after_an_interrupted_upload(
    place, run, s3, machine, tmp_path, monkeypatch
):
    sent, real_send = [], Store.send

    def send(self, source, name):
        # The server goes away while the files of step 4 are sent.
        if name == "model.ckpt-4.index":
            s3.stop()
        sent.append(name)
        return real_send(self, source, name)

    command = ("train_image_classifier.py", *train_flags(place))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "send", send)
        message = fail(*command)
    s3.start()
    assert f"'s3://bucket/{place}/model.ckpt-4.index' cannot be written" in message
    (kept,) = machine.glob("run-*/")
    assert f"in this machine's {str(kept)!r}" in message
    assert sent[-1] == "model.ckpt-4.index"
    assert "model.ckpt-4.data-00000-of-00001" in s3.list(f"{place}/")
    assert "model.ckpt-4.index" not in s3.list(f"{place}/")
    if place == "elsewhere":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    succeed(*command)
    assert not list(machine.glob("run-*/")) or place == "elsewhere"
    check_same_result(f"s3://bucket/{place}", run, tmp_path)
    rows = [re.sub(r",[^,]*,[^,]*$", "", r) for r in read_metrics(s3, place)]
    assert [row.split(",")[0] for row in rows] == ["step", "2", "4", "6"]


def test_a_run_resumes_exactly_elsewhere_after_a_kill_during_an_upload(
    run, s3, tmp_path, monkeypatch
):
    command = ("train_image_classifier.py", *train_flags("killed"))
    with (
        s3.holding("killed/model.ckpt-4.index") as has_begun,
        subprocess.Popen([sys.executable, *command], cwd=ROOT) as process,
    ):
        while not has_begun.wait(0.1):
            assert process.poll() is None
        process.kill()
    assert "model.ckpt-4.data-00000-of-00001" in s3.list("killed/")
    assert b"model.ckpt-2" in s3.get("killed/checkpoint")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    succeed(*command)
    check_same_result("s3://bucket/killed", run, tmp_path)


def read_metrics(s3, name):
    return s3.get(f"{name}/metrics.csv").decode().splitlines()


def test_evaluation_writes_beside_the_run(run, s3):
    out = succeed("eval_image_classifier.py", f"--checkpoint_path={run}")
    assert "accuracy" in out
    assert b'"accuracy"' in s3.get("run/eval/eval.json")


def test_an_export_is_classified_from_the_store(run, s3, pictures_dir):
    succeed(
        "export_model.py",
        f"--checkpoint_path={run}",
        "--output_dir=s3://bucket/out",
        "--formats=frozen,saved_model",
    )
    assert {"frozen_graph.pb", "SHA256SUMS"} <= set(s3.list("out/"))
    s3.put("photos/a.jpg", (pictures_dir / "dots" / "0.jpg").read_bytes())
    tables = []
    for model in ("out/frozen_graph.pb", "out/saved_model", "run"):
        succeed(
            "classify_image.py",
            f"--model_path=s3://bucket/{model}",
            "--output_file=s3://bucket/names.csv",
            "--precision=float32",
            "s3://bucket/photos",
            str(pictures_dir / "rings" / "0.jpg"),
        )
        tables.append(s3.get("names.csv").decode())
    rows = tables[0].splitlines()
    assert rows[1].startswith("s3://bucket/photos/a.jpg,1,")
    assert rows[6].startswith(f"{pictures_dir}/rings/0.jpg,1,")
    assert len(set(tables)) == 1


def test_a_dataset_is_converted_into_the_store(s3, pictures_dir, data_dir):
    command = (
        "convert_dataset.py",
        f"--source={pictures_dir}",
        "--dataset_dir=s3://bucket/converted",
        "--dataset_name=patterns",
        "--shards=2",
        "--workers=1",
    )
    assert "--dataset_dir=s3://bucket/converted" in succeed(*command)
    names = sorted(path.name for path in data_dir.iterdir())
    assert s3.list("converted/") == names
    for name in names:
        assert s3.get(f"converted/{name}") == (data_dir / name).read_bytes()
    assert "'s3://bucket/converted' already holds" in fail(*command)
    succeed(*command[:-2], "--shards=1", "--workers=1", "--overwrite")
    assert len(s3.list("converted/")) == len(names) - 2


def test_checkpoints_are_averaged_in_the_store(run, s3):
    succeed(
        "edit_checkpoint.py",
        f"--checkpoint_path={run}",
        "--last=2",
        "--output_path=s3://bucket/averaged/model.ckpt",
    )
    assert "model.ckpt.index" in s3.list("averaged/")


def test_without_credentials(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3_server.forget_connections()
    message = fail("train_image_classifier.py", *train_flags("new"))
    s3_server.forget_connections()
    assert "'s3://bucket/new' cannot be listed: there are no credentials" in message
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


def test_what_cannot_be_written_is_an_error_before_training(s3, monkeypatch):
    steps = []
    monkeypatch.setattr("deployment.train.loop.TrainingLoop.__call__", steps.append)

    def send(self, source, name):
        with s3.denying():
            return real_send(self, source, name)

    real_send = Store.send
    monkeypatch.setattr(Store, "send", send)
    message = fail("train_image_classifier.py", *train_flags("denied"))
    assert (
        "'s3://bucket/denied/run.json' cannot be written: access is denied" in message
    )
    assert not steps


def test_an_export_that_cannot_be_sent_stays_here(run, s3, machine, monkeypatch):
    def send(self, source, name):
        with s3.denying():
            return real_send(self, source, name)

    real_send = Store.send
    monkeypatch.setattr(Store, "send", send)
    command = (
        "--output_dir=s3://bucket/denied",
        "--formats=frozen",
        "--check_images=0",
    )
    message = fail("export_model.py", f"--checkpoint_path={run}", *command)
    (kept,) = machine.glob("unsent-*")
    assert f"Nothing is lost: what was written is below {str(kept)!r}." in message
    assert [path.name for path in kept.rglob("*.pb")] == ["frozen_graph.pb"]
    assert not list(machine.glob("view-*"))


@pytest.mark.parametrize(
    "script, flag",
    [
        ("classify_image.py", "model_path"),
        ("export_model.py", "checkpoint_path"),
        ("eval_image_classifier.py", "checkpoint_path"),
        ("plot_training.py", "train_dir"),
    ],
)
def test_a_model_that_is_not_there(script, flag, s3):
    message = fail(script, f"--{flag}=s3://bucket/none")
    assert "There is no file or folder 's3://bucket/none'." in message
