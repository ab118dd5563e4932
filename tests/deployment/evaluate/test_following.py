"""A run is evaluated while it trains."""

import json
import logging
import os

import pytest
from evaluated_runs import Follow, run, save, write_card

from deployment.evaluate import evaluation_runs


@pytest.fixture(autouse=True)
def info_log(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def test_a_run_is_followed_until_it_ends(tmp_path, monkeypatch, info_log):
    save(tmp_path, 1, 3)
    # The end of an earlier session, before training resumed.
    session = {"from_step": 0, "images_per_step": 8}
    results = {"step": 1, "stopped_because": "SIGTERM"}
    write_card(tmp_path, sessions=(session,), results=results)

    def end():
        save(tmp_path, 3, 1)
        results = {"step": 3, "stopped_because": "the last step is reached"}
        write_card(tmp_path, sessions=({**session, "to_step": 3},), results=results)

    actions = [lambda: save(tmp_path, 2, 1), lambda: None, end]
    follow = Follow(monkeypatch, actions)
    last = run(tmp_path, eval_dir=tmp_path / "eval", interval_secs=5, timeout_secs=11)
    assert follow.steps == [1, 2, 3] and last.step == 3
    assert follow.now == 15  # Each new checkpoint has extended the deadline.
    assert "Training has ended: the last step is reached." in info_log.text
    record = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert record["step"] == 3


def test_following_ends_after_a_time_without_a_checkpoint(
    tmp_path, monkeypatch, info_log
):
    follow = Follow(monkeypatch)
    save(tmp_path, 1, 3)
    run(tmp_path, interval_secs=0.2, timeout_secs=0.5)
    assert follow.now == pytest.approx(0.5)
    assert follow.steps == [1]
    assert "No new checkpoint in 0.5 seconds" in info_log.text


def test_a_checkpoint_that_training_removed_is_skipped(tmp_path, monkeypatch, info_log):
    def remove(path):
        if path.endswith("-1"):
            os.remove(f"{path}.index")

    follow = Follow(monkeypatch, before=remove)
    save(tmp_path, 1, 3)
    save(tmp_path, 2, 3)
    run(tmp_path, interval_secs=5, timeout_secs=10)
    assert follow.steps == [2]
    assert "model.ckpt-1 was removed before" in info_log.text


def test_following_a_run_that_never_begins_is_an_error(tmp_path, monkeypatch):
    follow = Follow(monkeypatch)
    with pytest.raises(ValueError, match="No checkpoint appeared in"):
        run(tmp_path / "run", interval_secs=5, timeout_secs=10)
    with pytest.raises(ValueError, match="No training began in .* within 7 seconds"):
        evaluation_runs.wait_for_start(str(tmp_path / "run"), 5, 7)
    assert follow.now == 17


def test_waiting_ends_with_the_run_card(tmp_path, monkeypatch):
    follow = Follow(monkeypatch, [lambda: None, lambda: write_card(tmp_path)])
    evaluation_runs.wait_for_start(str(tmp_path), 5, None)
    assert follow.now == 10
