"""Runs that end at a time: the clock, the schedule, and interruptions."""

import json

import pytest
import toy_training

from deployment.config_flags import SettingError
from deployment.durations import Duration
from deployment.optimize.learning_rates import Schedule
from deployment.train import time_budget
from deployment.train.time_budget import Clock


@pytest.fixture
def now(monkeypatch):
    """A clock that only the test moves; the process begins at 100."""
    times = [100.0]
    monkeypatch.setattr(time_budget.time, "monotonic", lambda: times[0])
    monkeypatch.setattr(time_budget, "_find_start_of_process", lambda: 100.0)

    def move(secs):
        times[0] += secs

    return move


def test_progress_leaves_out_preparations_and_the_ending(now, tmp_path):
    clock = Clock(100, str(tmp_path))
    now(10)
    assert clock.get_progress() == 0  # Such as in a trial of the precision.
    clock.start()
    assert clock.get_progress() == 0
    now(40)  # Of the 100, 10 are for the ending.
    assert clock.get_progress() == pytest.approx(0.5)
    assert clock.left_secs == pytest.approx(40)
    clock.set_ending(30)
    assert clock.get_progress() == pytest.approx(40 / 60)
    now(25)
    assert clock.left_secs == pytest.approx(-5)
    assert clock.get_progress() == 1


def test_interrupted_runs_take_no_more_time_in_all(now, tmp_path):
    first = Clock(100, str(tmp_path))
    now(30)
    first.start()
    first.record()
    now(0.5)
    first.record()  # Too soon.
    assert json.loads((tmp_path / "time_budget.json").read_text())["used_secs"] == 30
    now(9.5)
    first.record()
    second = Clock(100, str(tmp_path))
    assert second.used_secs == 80  # 40, and those since the start of the other.
    assert second.get_progress() == pytest.approx(80 / 90)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"used_secs": "x"}'])
def test_a_damaged_record_is_as_none(now, tmp_path, content):
    (tmp_path / "time_budget.json").write_text(content)
    assert Clock(100, str(tmp_path)).used_secs == 0


def test_this_process_began_before_now():
    used = Clock(100, "nowhere").used_secs
    assert 0 < used < 10**6


class Steps(Clock):
    """A clock by which a step takes a second."""

    ticks = 0

    @property
    def used_secs(self):
        return self.ticks

    def get_progress(self):
        Steps.ticks += 1
        return super().get_progress()


def test_training_ends_with_the_time_and_its_schedule(tmp_path, monkeypatch):
    monkeypatch.setattr(time_budget, "Clock", Steps)
    monkeypatch.setattr(Steps, "ticks", 0)
    options = {
        "schedule": Schedule("cosine", 0.01, warmup_fraction=0.1),
        "time_budget": Duration(20, "secs"),
        "log_every_n_steps": 1,
    }
    result = toy_training.train(tmp_path, steps=None, **options)
    assert result.stopped_because == "the --time_budget of 20 secs is used"
    assert result.step == 18  # Two are kept for the ending.
    lines = (tmp_path / "training.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates[0] < rates[1] and rates[-1] < 1e-3 * max(rates)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    again = toy_training.train(tmp_path, steps=None, **options)
    assert again.step == 18
    longer = {**options, "time_budget": Duration(30, "secs")}
    assert toy_training.train(tmp_path, steps=None, **longer).step > 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_budget": Duration(3, "epochs")}, "must be a time above 0, .* 3 epochs"),
        ({"time_budget": Duration(0, "secs")}, "must be a time above 0"),
        ({"steps": 5}, "at a time, which number_of_steps contradicts"),
        ({"deterministic": True}, "which deterministic contradicts"),
        (
            {"schedule": Schedule("fixed", 0.01, warmup_steps=2)},
            "which warmup_steps contradicts",
        ),
    ],
)
def test_contradictions(tmp_path, options, message):
    options = {"time_budget": Duration(60, "secs"), "steps": None, **options}
    with pytest.raises(SettingError, match=message):
        toy_training.make_config(tmp_path, **options)
