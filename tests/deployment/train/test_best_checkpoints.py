"""The best checkpoints: which are kept, and that a kill never leaves partial ones."""

import json
import math
import os
import shutil

import pytest
from kept_checkpoints import (
    ACCURACY,
    check_folder,
    consider,
    refuse_links,
    write_checkpoint,
)

from deployment.models.history import History
from deployment.tasks.base import Metric
from deployment.train.best_checkpoints import BestCheckpoints, Kept
from tf_slim_compat import tf

TOP_5 = Metric("top_5", True)
LOSS = Metric("loss", False)


def test_the_best_are_kept_and_the_others_deleted(tmp_path):
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    assert best.get_best() is None
    news = [(1, 0.3, True), (2, 0.2, False), (3, 0.1, False), (4, 0.3, False)]
    for step, value, is_best in [*news, (5, 0.5, True)]:
        assert consider(best, tmp_path, step, value) == is_best
    assert best.ranking == [Kept(5, 0.5), Kept(1, 0.3)]
    assert best.get_best() == {
        "metric": "accuracy",
        "higher_is_better": True,
        "value": 0.5,
        "step": 5,
    }
    assert best.get_path(best.ranking[1]) == str(tmp_path / "best" / "model.ckpt-1")
    check_folder(tmp_path / "best", [5, 1])
    record = json.loads((tmp_path / "best" / "best.json").read_text())
    assert len(record.pop("sha256")) == 64
    assert record == {
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
    assert best.ranking == [Kept(2, 2.0), Kept(3, 2.5), Kept(1, 3.0)]
    check_folder(tmp_path / "best", [2, 3, 1])
    with pytest.raises(ValueError, match="ranks by loss, and the top_5 at step 2 was"):
        BestCheckpoints(str(tmp_path), TOP_5, 3)


# What becomes of `best.json`, and what is said where the checkpoints cannot be ranked.
DAMAGES = {
    "emptied": (lambda text: "", "is damaged .it is empty"),
    "zeroed": (lambda text: "\0" * len(text), "is damaged .it is empty"),
    "cut": (lambda text: text[:-9], "is damaged .Expecting|Unterminated"),
    "another type": (lambda text: "[]", "it must be an object"),
    "no checkpoints": (lambda text: '{"metric": "accuracy"}', "checkpoints is missing"),
    "a wrong step": (lambda text: text.replace("20", "21"), "checksum"),
    "a wrong value": (lambda text: text.replace("0.2", "0.7"), "checksum"),
    "no ranking": (
        lambda text: json.dumps({**json.loads(text), "checkpoints": []}),
        "checksum",
    ),
    "not finite": (lambda text: text.replace("0.2", "NaN"), r"checkpoints\[1\].value"),
    "huge": (lambda text: text.replace("20", "1" + "0" * 30), r"checkpoints\[1\].step"),
    "missing": (lambda text: None, "best.json' is missing"),
}


def keep_and_record(run, steps):
    """Keeps the best checkpoints and records their evaluations."""
    best, history = BestCheckpoints(str(run), ACCURACY, 2), History(str(run))
    for step in steps:
        consider(best, run, step, step / 100)
        row = {"step": step, "split": "validation", "accuracy": step / 100}
        history.append(row)
    return best


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_kept_outlives_its_record(tmp_path, damage):
    keep_and_record(tmp_path, [10, 20, 30])
    edit, said = DAMAGES[damage]
    path, metrics = tmp_path / "best" / "best.json", tmp_path / "metrics.jsonl"
    text = edit(path.read_text())
    path.unlink() if text is None else path.write_text(text)
    rows = metrics.read_text()
    metrics.write_text("")
    before = {p.name: p.read_bytes() for p in (tmp_path / "best").iterdir()}
    for metric in (ACCURACY, LOSS):
        with pytest.raises(ValueError, match=f"(?s){said}.*move .*best' elsewhere"):
            BestCheckpoints(str(tmp_path), metric, 1)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "best").iterdir()}
    metrics.write_text(rows)
    # Fewer are to be kept, but not on account of a damaged record.
    best = BestCheckpoints(str(tmp_path), ACCURACY, 1)
    assert best.ranking == [Kept(30, 0.3), Kept(20, 0.2)]
    check_folder(tmp_path / "best", [30, 20])
    assert not best.is_exported()
    consider(best, tmp_path, 40, 0.4)
    check_folder(tmp_path / "best", [40])


@pytest.mark.parametrize("step", ["20", "21"])
def test_records_of_earlier_releases_are_completed(tmp_path, step):
    """They have no checksum; nothing is removed on account of them."""
    keep_and_record(tmp_path, [10, 20, 30])
    (tmp_path / "metrics.jsonl").write_text('{"step": 30, "accuracy": 0.3}\n')
    rows = f'[{{"step": 30, "value": 0.1}}, {{"step": {step}, "value": 0.2}}]'
    text = f'{{"metric": "accuracy", "checkpoints": {rows}, "exported_step": 30}}'
    (tmp_path / "best" / "best.json").write_text(text)
    if step == "21":
        with pytest.raises(ValueError, match="no checksum.* no accuracy of step 20"):
            BestCheckpoints(str(tmp_path), ACCURACY, 2)
        return
    best = BestCheckpoints(str(tmp_path), ACCURACY, 2)
    assert best.ranking == [Kept(30, 0.3), Kept(20, 0.2)]
    assert not best.is_exported()
    assert BestCheckpoints(str(tmp_path), ACCURACY, 1).ranking == [Kept(30, 0.3)]


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
