"""Checkpoints are durable before they count, and only a run's own are removed."""

import os
import shutil

import pytest
import toy_training as toy

from deployment import files
from deployment.models import checkpoint_state
from deployment.train import saving
from tf_slim_compat import tf

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with run `a`, of six steps: checkpoints 4, 5 and 6."""
    folder = tmp_path_factory.mktemp("runs")
    toy.train(folder / "a", 6, save_interval_secs=0, max_checkpoints_to_keep=3)
    return folder


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run, without the original."""
    return shutil.copytree(runs / "a", tmp_path / "copy")


def go_on(run, steps=8):
    return toy.train(run, steps, save_interval_secs=0, max_checkpoints_to_keep=3)


def list_steps(run):
    return sorted(int(p.stem.split("-")[1]) for p in run.glob("*.index"))


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def test_all_files_are_synced_before_the_list_and_the_list_before_removals(
    tmp_path, monkeypatch
):
    events = []

    def record(name):
        original = getattr(files, name)

        def recording(*args):
            events.extend((name, os.path.basename(path)) for path in args[:3])
            original(*args)

        monkeypatch.setattr(files, name, recording)

    for name in ("sync", "remove"):
        record(name)
    write = checkpoint_state.write

    def record_list(folder, names):
        events.append(("list", *names))
        write(folder, names)

    monkeypatch.setattr(checkpoint_state, "write", record_list)
    tf.get_variable("w", [3])
    step = tf.train.get_or_create_global_step()
    saver = saving.CheckpointSaver(str(tmp_path), keep=1)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for number in (1, 2):
            session.run(step.assign(number))
            saver.save(session, f"{tmp_path}/model.ckpt", global_step=step)
    suffixes = (".index", ".data-00000-of-00001", ".meta")
    assert events == [
        *(("sync", f"model.ckpt-1{suffix}") for suffix in suffixes),
        ("list", "model.ckpt-1"),
        *(("sync", f"model.ckpt-2{suffix}") for suffix in suffixes),
        ("list", "model.ckpt-1", "model.ckpt-2"),
        *(("remove", f"model.ckpt-1{suffix}") for suffix in suffixes),
        ("list", "model.ckpt-2"),
    ]
    latest = tf.train.latest_checkpoint(str(tmp_path))
    assert latest == f"{tmp_path}/model.ckpt-2"


def test_a_copy_with_absolute_paths_leaves_the_original_alone(runs, run):
    lines = [f'"{runs}/a/model.ckpt-{step}"\n' for step in (4, 5, 6)]
    all_paths = "".join(f"all_model_checkpoint_paths: {line}" for line in lines)
    (run / "checkpoint").write_text(f"model_checkpoint_path: {lines[-1]}{all_paths}")
    for path in run.glob("model.ckpt-6*"):  # The copy was not finished.
        path.unlink()
    before = {p: p.read_bytes() for p in (runs / "a").iterdir()}
    go_on(run)
    assert {p: p.read_bytes() for p in (runs / "a").iterdir()} == before
    assert list_steps(run) == [6, 7, 8]
    moved = run.rename(run.with_name("moved"))
    assert str(run.parent) not in (moved / "checkpoint").read_text()
    assert tf.train.latest_checkpoint(str(moved)) == f"{moved}/model.ckpt-8"


def test_a_damaged_checkpoint_is_skipped_and_stays_until_newer_ones_exist(run, caplog):
    zero(run / "model.ckpt-6.data-00000-of-00001")
    (run / "model.ckpt-5.index").write_bytes(b"")
    messages = []

    def watch(steps):
        go_on(run, steps)
        messages.append(caplog.text)
        caplog.clear()
        return list_steps(run)

    assert watch(5) == [4, 5, 6]  # Step 5 is whole again.
    assert "model.ckpt-6' are damaged" in messages[0]
    assert "newest whole checkpoint is " + f"{run}/model.ckpt-4" in messages[0]
    zero(run / "checkpoint")
    assert watch(5) == [4, 5, 6]  # The damaged one is not chosen again.
    assert toy.read_all(run)["global_step"] == 5
    assert watch(8) == [6, 7, 8]


def test_only_listed_checkpoints_are_removed(run, tmp_path):
    for path in run.glob("model.ckpt-4*"):  # Of a user, or of a run that kept all.
        shutil.copy(path, run / path.name.replace("-4", "-2"))
    go_on(run, 9)
    assert list_steps(run) == [2, 7, 8, 9]
    (run / "checkpoint").write_text("")
    go_on(run, 10)
    assert list_steps(run) == [2, 8, 9, 10]


def test_what_a_kill_left_is_removed_and_a_removal_finished(run):
    os.remove(run / "model.ckpt-4.index")
    for name in ("model.ckpt-7.index.tempstate99", "graph.pbtxt.tmp" + "0f" * 16):
        (run / name).write_text("")
    (run / ".probe-12").write_text("")
    go_on(run, 7)
    numbers = {p.name.split("-")[1][0] for p in run.glob("model.ckpt-*")}
    assert numbers == {"5", "6", "7"}
    assert {p.name for p in run.glob(".*")} == {".lock"}
    assert not list(run.glob("*tmp*"))


@pytest.mark.parametrize(
    ("state", "has_files", "said"),
    [
        ("", False, None),  # Killed before the first checkpoint: starts over.
        (None, True, None),  # While the first was being written: likewise.
        ("", True, "No checkpoint in .* is whole.*model.ckpt-6"),
        ("model.ckpt-6", True, "No checkpoint in .* is whole.*model.ckpt-6"),
        ("model.ckpt-6", False, "checkpoint' names 'model.ckpt-6', which is not in"),
    ],
)
def test_no_whole_checkpoint_starts_over_only_if_none_was_listed(
    run, state, has_files, said
):
    for path in run.glob("model.ckpt*"):
        zero(path) if has_files else path.unlink()
    (run / "checkpoint").unlink()
    if state is not None:
        line = state and f'model_checkpoint_path: "{state}"\n'
        (run / "checkpoint").write_text(line)
    if said is None:
        assert go_on(run, 2).step == 2
        return
    with pytest.raises(ValueError, match=said):
        go_on(run, 2)


def test_a_run_that_has_only_its_best_checkpoints_left_keeps_them(run):
    (run / "best").mkdir()
    for path in run.glob("model.ckpt-5.*"):
        shutil.copy(path, run / "best")
    for path in [*run.glob("model.ckpt-*"), run / "checkpoint"]:
        path.unlink()
    with pytest.raises(ValueError, match="'.*/best' holds that of step 5: copy its"):
        go_on(run)
    assert (run / "best" / "model.ckpt-5.index").exists()
    for path in (run / "best").iterdir():
        shutil.copy(path, run)
    assert go_on(run).step == 8


def test_why_a_checkpoint_could_not_be_saved(tmp_path, graph, monkeypatch):
    message = (
        "Graph execution error:\n\nDetected at node 'save/SaveV2' defined at:\n"
        "Node: 'save/SaveV2'\nrun/model.ckpt-3.index.tempstate7; Permission denied\n"
        "\t [[{{node save/SaveV2}}]]"
    )

    def fail(*args, **kwargs):
        raise tf.errors.PermissionDeniedError(None, None, message)

    tf.train.get_or_create_global_step(graph)
    saver = saving.CheckpointSaver(str(tmp_path))
    monkeypatch.setattr(tf.train.Saver, "save", fail)
    with pytest.raises(OSError, match=r"step 3 could not .* \(Permission denied\): "):
        saver.save(None, f"{tmp_path}/model.ckpt", 3)


def abort_saves(monkeypatch, *steps):
    """Has TensorFlow reject the next save of each of these steps."""
    save, left = tf.train.Saver.save, list(steps)

    def abort_once(saver, session, path, global_step, **kwargs):
        if global_step in left:
            left.remove(global_step)
            raise tf.errors.AbortedError(None, None, "It was received twice.")
        return save(saver, session, path, global_step=global_step, **kwargs)

    monkeypatch.setattr(tf.train.Saver, "save", abort_once)


def test_training_goes_on_if_a_save_is_aborted(tmp_path, monkeypatch, caplog):
    abort_saves(monkeypatch, 4)
    toy.train(tmp_path, 6, save_interval_secs=0)
    assert "(It was received twice.): training continues from the" in caplog.text
    assert checkpoint_state.read(str(tmp_path))[-3:] == [
        f"model.ckpt-{step}" for step in (4, 5, 6)
    ]
    assert toy.read(tmp_path, "global_step") == 6


@pytest.mark.parametrize("save_interval_secs", [0, 600])
def test_training_ends_if_the_last_save_is_aborted(
    tmp_path, monkeypatch, save_interval_secs
):
    abort_saves(monkeypatch, 6)
    with pytest.raises(OSError, match=r"\(It was received twice\.\): run the same"):
        toy.train(tmp_path, 6, save_interval_secs=save_interval_secs)
    assert toy.train(tmp_path, 6).step == 6
    assert toy.read(tmp_path, "global_step") == 6
