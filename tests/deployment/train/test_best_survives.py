"""The best checkpoints and their export survive kills at any file operation."""

import contextlib
import json
import os
import pathlib
import shutil

import pytest
from kept_checkpoints import (
    ACCURACY,
    SUFFIXES,
    check_folder,
    check_ranking,
    consider,
    refuse_links,
)

from deployment import files
from deployment.models import checksums
from deployment.tasks.base import Metric
from deployment.train.best_checkpoints import BestCheckpoints
from tf_slim_compat import tf

LOSS = Metric("loss", False)
EXPORTED = ("frozen.pb", "saved_model/saved_model.pb")


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


def export_best(run, best):
    """Writes an export that tells the step, unless the record says that it is there."""
    best.check_export()
    if best.is_exported():
        return
    folder, step = run / "export" / "best", best.ranking[0].step
    # File by file in place, which is worse than what real exports do.
    for name in EXPORTED:
        files.make_folder(str((folder / name).parent))
        files.remove(str(folder / name))
        files.write_text(str(folder / name), f"{name} of {step}")
    checksums.write(str(folder), EXPORTED)
    best.record_export(str(folder))


def read_export(run):
    folder = run / "export" / "best"
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != checksums.FILE_NAME
    }


def test_a_kill_at_any_file_operation_of_an_export_is_made_good(tmp_path, monkeypatch):
    """Also where an older export is replaced, and where the older one is best again."""
    start = tmp_path / "start"
    start.mkdir()
    best = BestCheckpoints(str(start), ACCURACY, 2)
    consider(best, start, 1, 0.1)
    export_best(start, best)
    consider(best, start, 2, 0.2)
    for number in range(100):
        run = tmp_path / f"run-{number}"
        shutil.copytree(start, run)
        with monkeypatch.context() as patch:
            kill_at(patch, number, is_before=number % 2 == 0)
            with contextlib.suppress(Killed):
                export_best(run, BestCheckpoints(str(run), ACCURACY, 2))
                break
        older = tmp_path / f"older-{number}"
        shutil.copytree(run, older)
        for folder, resumed_at in ((run, 2), (older, 1)):
            again = BestCheckpoints(str(folder), ACCURACY, 2)
            again.forget_after(resumed_at)
            export_best(folder, again)
            assert read_export(folder) == {
                name: f"{name} of {resumed_at}" for name in EXPORTED
            }
    assert number > 6


def test_an_export_that_is_damaged_is_repeated(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    consider(best, tmp_path, 1, 0.1)
    export_best(tmp_path, best)
    whole = read_export(tmp_path)
    shutil.move(tmp_path, f"{tmp_path}-moved")
    run = pathlib.Path(f"{tmp_path}-moved")
    best = BestCheckpoints(str(run), ACCURACY, 2)
    frozen = run / "export" / "best" / "frozen.pb"
    for damage in (
        lambda: None,
        frozen.unlink,
        lambda: frozen.write_text("\0" * len(whole["frozen.pb"])),
        lambda: shutil.rmtree(run / "export"),
    ):
        best.check_export()
        assert best.is_exported()
        damage()
        again = BestCheckpoints(str(run), ACCURACY, 2)
        again.check_export()
        assert again.is_exported() == (read_export(run).items() >= whole.items())
        export_best(run, again)
        assert read_export(run).items() >= whole.items()
        best = BestCheckpoints(str(run), ACCURACY, 2)


def test_another_export_beside_that_of_the_best_does_not_repeat_it(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    consider(best, tmp_path, 1, 0.1)
    export_best(tmp_path, best)
    folder = tmp_path / "export" / "best"
    (folder / "model.tflite").write_text("an export of the user")
    checksums.write(str(folder), ["model.tflite"])
    (folder / "model.tflite").write_text("changed")
    again = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    again.check_export()
    assert again.is_exported()
