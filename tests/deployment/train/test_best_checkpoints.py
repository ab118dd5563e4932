"""The best checkpoints: which are kept, and that a kill never leaves partial ones."""

import contextlib
import json
import math
import os
import shutil

import pytest

from deployment import files
from deployment.models.history import History
from deployment.tasks.base import Metric
from deployment.train.best_checkpoints import BestCheckpoints, Kept
from tf_slim_compat import tf

ACCURACY, TOP_5 = Metric("accuracy", True), Metric("top_5", True)
LOSS = Metric("loss", False)

SUFFIXES = [".data-00000-of-00002", ".data-00001-of-00002", ".index", ".meta"]


def write_checkpoint(folder, step, suffixes=SUFFIXES):
    """Writes fake checkpoint files; returns their prefix."""
    folder.mkdir(exist_ok=True)
    for suffix in suffixes:
        (folder / f"model.ckpt-{step}{suffix}").write_text(f"{suffix} of {step}")
    return str(folder / f"model.ckpt-{step}")


def consider(best, folder, step, value):
    return best.consider(write_checkpoint(folder, step), step, value)


def check_folder(folder, steps):
    """Checks that exactly these checkpoints exist, complete, best first."""
    expected = {f"model.ckpt-{step}{suffix}" for step in steps for suffix in SUFFIXES}
    others = {"best.json", "checkpoint"} if steps else {"best.json"}
    assert set(os.listdir(folder)) == expected | others
    check_ranking(folder, steps)
    latest = tf.train.latest_checkpoint(str(folder))
    assert latest == (str(folder / f"model.ckpt-{steps[0]}") if steps else None)


def check_ranking(folder, steps):
    """Checks that these are ranked and each is complete."""
    record = json.loads((folder / "best.json").read_text())
    assert [kept["step"] for kept in record["checkpoints"]] == steps
    for step in steps:
        for suffix in SUFFIXES:
            path = folder / f"model.ckpt-{step}{suffix}"
            assert path.read_text() == f"{suffix} of {step}"


def test_the_best_are_kept_and_the_others_deleted(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    assert best.get_best() is None
    news = [(1, 0.3, True), (2, 0.2, False), (3, 0.1, False), (4, 0.3, False)]
    for step, value, is_best in [*news, (5, 0.5, True)]:
        assert consider(best, tmp_path, step, value) == is_best
    assert best.ranking == [Kept(5, 0.5), Kept(1, 0.3)]
    assert best.get_best() == {"metric": "accuracy", "value": 0.5, "step": 5}
    assert best.get_path(best.ranking[1]) == str(tmp_path / "best" / "model.ckpt-1")
    check_folder(tmp_path / "best", [5, 1])
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {
        "metric": "accuracy",
        "checkpoints": [{"step": 5, "value": 0.5}, {"step": 1, "value": 0.3}],
    }


def test_the_lowest_loss_is_best_and_nan_never(tmp_path):
    best = BestCheckpoints(str(tmp_path), LOSS, 3)
    for step, value in enumerate([math.nan, 2.0, -math.inf, 1.0, None, math.inf, 3.0]):
        assert consider(best, tmp_path, step, value) == (step in (1, 3))
    check_folder(tmp_path / "best", [3, 1, 6])


def test_zero_best_checkpoints_keeps_none(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 0)
    assert not consider(best, tmp_path, 1, 0.5)
    best.forget_after(0)
    assert not (tmp_path / "best").exists()
    with pytest.raises(ValueError, match="must be 0 or more, but is -1"):
        BestCheckpoints(str(tmp_path), ACCURACY, -1)


def test_the_ranking_survives_a_restart(tmp_path):
    best = BestCheckpoints(str(tmp_path), TOP_5, 3)
    for step, value in ((1, 0.1), (2, 0.4), (3, 0.3)):
        consider(best, tmp_path, step, value)
    best = BestCheckpoints(str(tmp_path), TOP_5, 3)
    assert not consider(best, tmp_path, 4, 0.2)
    check_folder(tmp_path / "best", [2, 3, 4])
    best = BestCheckpoints(str(tmp_path), TOP_5, 2)
    check_folder(tmp_path / "best", [2, 3])
    best.forget_after(2)
    check_folder(tmp_path / "best", [2])
    best.forget_after(1)
    check_folder(tmp_path / "best", [])
    assert consider(best, tmp_path, 2, 0.05)


def test_a_step_that_is_evaluated_again_is_ranked_again(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    consider(best, tmp_path, 1, 0.3)
    consider(best, tmp_path, 2, 0.2)
    assert best.consider(str(tmp_path / "model.ckpt-2"), 2, 0.4)
    check_folder(tmp_path / "best", [2, 1])
    assert not best.consider(best.get_path(best.ranking[0]), 2, 0.1)
    check_folder(tmp_path / "best", [1, 2])


def refuse_links(*args, **kwargs):
    raise OSError(18, "Invalid cross-device link")


def test_files_are_linked_where_possible_and_copied_elsewhere(tmp_path, monkeypatch):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 3)
    consider(best, tmp_path, 1, 0.1)
    assert os.stat(tmp_path / "best" / "model.ckpt-1.index").st_nlink == 2

    monkeypatch.setattr(os, "link", refuse_links)
    consider(best, tmp_path, 2, 0.2)
    assert os.stat(tmp_path / "best" / "model.ckpt-2.index").st_nlink == 1
    check_folder(tmp_path / "best", [2, 1])


def test_real_checkpoints_of_both_formats_load_again(tmp_path):
    for version in (tf.train.SaverDef.V1, tf.train.SaverDef.V2):
        run = tmp_path / str(version)
        run.mkdir()
        with tf.Graph().as_default(), tf.Session() as session:
            tf.get_variable("x", initializer=[1.0, 2.0])
            session.run(tf.global_variables_initializer())
            saver = tf.train.Saver(write_version=version, max_to_keep=1)
            best = BestCheckpoints(str(run), ACCURACY, 1)
            prefix = saver.save(session, str(run / "model.ckpt"), 7)
            assert best.consider(prefix, 7, 0.5)
            saver.save(session, str(run / "model.ckpt"), 8)
        assert not tf.train.checkpoint_exists(prefix)
        assert BestCheckpoints(str(run), ACCURACY, 1).ranking == [Kept(7, 0.5)]
        latest = tf.train.latest_checkpoint(str(run / "best"))
        values = tf.train.NewCheckpointReader(latest).get_tensor("x")
        assert values.tolist() == [1.0, 2.0]
        moved = shutil.move(run / "best", run / "elsewhere")
        assert tf.train.latest_checkpoint(str(moved)) == str(moved / "model.ckpt-7")


def test_another_metric_ranks_by_its_own_values(tmp_path):
    best, history = (
        BestCheckpoints(str(tmp_path), ACCURACY, 3),
        History(str(tmp_path)),
    )
    for step, accuracy, loss in ((1, 0.1, 3.0), (2, 0.2, 2.0), (3, 0.3, 2.5)):
        consider(best, tmp_path, step, accuracy)
        row = {"step": step, "split": "validation", "accuracy": accuracy, "loss": loss}
        history.append(row)
    best = BestCheckpoints(str(tmp_path), LOSS, 3)
    assert best.get_best() == {"metric": "loss", "value": 2.0, "step": 2}
    check_folder(tmp_path / "best", [2, 3, 1])
    with pytest.raises(ValueError, match="ranks by loss, and the top_5 at step 2 was"):
        BestCheckpoints(str(tmp_path), TOP_5, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"metric": "accuracy"}',
        '{"metric": "accuracy", "checkpoints": [{"step": 1, "value": null}]}',
        '{"metric": "accuracy", "checkpoints": [{"step": 1, "value": NaN}]}',
    ],
)
def test_a_damaged_ranking_raises_one_sentence(tmp_path, text):
    consider(BestCheckpoints(str(tmp_path), ACCURACY, 3), tmp_path, 1, 0.5)
    (tmp_path / "best" / "best.json").write_text(text)
    with pytest.raises(ValueError, match=r"best.json' is damaged .* delete the folder"):
        BestCheckpoints(str(tmp_path), ACCURACY, 3)


def test_a_folder_without_a_ranking_is_not_changed(tmp_path):
    write_checkpoint(tmp_path / "best", 5)
    with pytest.raises(ValueError, match="no best.json .* move it elsewhere"):
        BestCheckpoints(str(tmp_path), ACCURACY, 1)
    assert len(list((tmp_path / "best").iterdir())) == len(SUFFIXES)


def test_a_checkpoint_with_a_missing_file_is_not_ranked(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 3)
    for step in (1, 2, 3):
        consider(best, tmp_path, step, step / 10)
    (tmp_path / "best" / "model.ckpt-3.index").unlink()
    (tmp_path / "best" / "model.ckpt-2.data-00001-of-00002").unlink()
    (tmp_path / "best" / "notes.txt").write_text("mine")
    best = BestCheckpoints(str(tmp_path), ACCURACY, 3)
    (tmp_path / "best" / "notes.txt").unlink()
    assert best.ranking == [Kept(1, 0.1)]
    check_folder(tmp_path / "best", [1])


def test_a_checkpoint_that_does_not_exist_is_an_error(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 3)
    with pytest.raises(ValueError, match="There is no checkpoint '.*model.ckpt-7'"):
        best.consider(str(tmp_path / "model.ckpt-7"), 7, 0.5)
    write_checkpoint(tmp_path, 7, [".data-00000-of-00001", ".meta"])
    with pytest.raises(ValueError, match="There is no checkpoint"):
        best.consider(str(tmp_path / "model.ckpt-7"), 7, 0.5)
    assert best.ranking == []


class Killed(BaseException):
    """Stands for SIGKILL: no code may catch it."""


# What changes files, in the order in which it is counted.
OPERATIONS = [
    (os, "link"),
    (tf.gfile, "Copy"),
    (tf.gfile, "Rename"),
    (tf.gfile, "Remove"),
    (tf.gfile, "MakeDirs"),
    (files, "write_text"),
]


def kill_at(monkeypatch, number, is_before):
    """Raises `Killed` before or after the file operation with this number."""
    left = [number]

    def wrap(operation):
        def counted(*args, **kwargs):
            left[0] -= 1
            is_last = left[0] == -1
            if is_last and is_before:
                raise Killed
            try:
                return operation(*args, **kwargs)
            finally:
                if is_last and not is_before:
                    raise Killed

        return counted

    for place, name in OPERATIONS:
        monkeypatch.setattr(place, name, wrap(getattr(place, name)))


def work(run):
    """Keeps step 3 instead of 1, then forgets the steps after 2."""
    best = BestCheckpoints(str(run), ACCURACY, 2)
    consider(best, run, 3, 0.3)
    best.forget_after(2)


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("can_link", [True, False], ids=["linked", "copied"])
def test_a_kill_at_any_file_operation_leaves_complete_checkpoints(
    tmp_path, monkeypatch, is_before, can_link
):
    if not can_link:
        monkeypatch.setattr(os, "link", refuse_links)
    best = BestCheckpoints(str(tmp_path / "start"), ACCURACY, 2)
    (tmp_path / "start").mkdir()
    for step, value in ((1, 0.1), (2, 0.2)):
        consider(best, tmp_path / "start", step, value)
    rankings = []
    for number in range(100):
        run = tmp_path / f"run-{number}"
        shutil.copytree(tmp_path / "start", run)
        with monkeypatch.context() as patch:
            kill_at(patch, number, is_before)
            with contextlib.suppress(Killed):
                work(run)
                break
        record = json.loads((run / "best" / "best.json").read_text())
        steps = [kept["step"] for kept in record["checkpoints"]]
        rankings.append(steps)
        check_ranking(run / "best", steps)
        # A concurrent reader finds a complete checkpoint too.
        latest = tf.train.latest_checkpoint(str(run / "best"))
        assert latest is not None
        assert set(SUFFIXES) <= {
            p.name.removeprefix(os.path.basename(latest))
            for p in (run / "best").iterdir()
        }
        again = BestCheckpoints(str(run), ACCURACY, 2)
        check_folder(run / "best", steps)
        assert [kept.step for kept in again.ranking] == steps
        work(run)
        check_folder(run / "best", [2])
        shutil.rmtree(run)
    # Each kill leaves the old ranking, the new one, or the one without step 3.
    distinct = [steps for i, steps in enumerate(rankings) if steps != rankings[i - 1]]
    assert len(rankings) > 20
    assert distinct in ([[2, 1], [3, 2], [2]], [[3, 2], [2]]), distinct


def test_a_kill_at_the_first_checkpoint_is_survived(tmp_path, monkeypatch):
    for number in range(100):
        run = tmp_path / f"run-{number}"
        run.mkdir()
        with monkeypatch.context() as patch:
            kill_at(patch, number, is_before=False)
            with contextlib.suppress(Killed):
                consider(BestCheckpoints(str(run), LOSS, 1), run, 1, 0.5)
                break
        best = BestCheckpoints(str(run), LOSS, 1)
        consider(best, run, 1, 0.5)
        check_folder(run / "best", [1])
    assert number > 8


def test_the_export_of_the_best_is_remembered(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    assert best.is_exported()  # There is nothing to export.
    consider(best, tmp_path, 1, 0.1)
    assert not best.is_exported()
    best.record_export()
    assert best.is_exported()
    again = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    assert again.is_exported()
    consider(again, tmp_path, 2, 0.2)
    assert not again.is_exported()
    again.record_export()
    again.forget_after(1)
    assert not again.is_exported()
    again.record_export()
    assert BestCheckpoints(str(tmp_path), ACCURACY, 2).is_exported()


def test_a_full_disk_leaves_the_ranking_and_no_partial_files(tmp_path, monkeypatch):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    consider(best, tmp_path, 1, 0.1)

    copy = tf.gfile.Copy

    def fill(source, target, overwrite):
        copy(source, target, overwrite)
        if "index" in source:
            message = f"{target}; No space left on device"
            raise tf.errors.ResourceExhaustedError(None, None, message)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse_links)
        patch.setattr(tf.gfile, "Copy", fill)
        # The message has the final name.
        with pytest.raises(
            OSError, match=r"/model\.ckpt-2\.index' cannot be written: No space left on"
        ):
            consider(best, tmp_path, 2, 0.2)
    check_folder(tmp_path / "best", [1])
    assert consider(best, tmp_path, 2, 0.2)
    check_folder(tmp_path / "best", [2, 1])
