"""What a run card says of the end of a session, and what the next one says of that."""

import logging

import pytest
from toy_training import make_config, make_spec, train

from deployment.models import run_card
from deployment.models.run_card import RunCard
from deployment.train import endings


def make_card():
    return RunCard.from_spec(make_spec(image_size=8, preprocessing_name="lenet"))


def read_reason(folder):
    return RunCard.load(str(folder)).results["stopped_because"]


def list_warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_killed_session_is_told_of_at_the_next_start(tmp_path, caplog):
    config = make_config(tmp_path)
    endings.warn_if_killed(config)  # A new folder.
    card = run_card.with_session(make_card(), 0, 8, started="2026-11-20T10:00:00+00:00")
    card.save(str(tmp_path))
    assert not list_warnings(caplog)
    endings.warn_if_killed(config)
    run_card.with_session_end(card, 1200, 3.5).save(str(tmp_path))
    endings.warn_if_killed(config)
    first, second = list_warnings(caplog)
    assert "started 2026-11-20T10:00:00+00:00, ended before its first check" in first
    assert "ended after step 1,200 without leaving a reason" in second
    assert "ran out of memory" in second and "power cut" in second
    run_card.with_results(card, stopped_because="x").save(str(tmp_path))
    endings.warn_if_killed(config)
    (tmp_path / "run.json").write_text("damaged")
    endings.warn_if_killed(config)
    assert len(list_warnings(caplog)) == 2


def test_a_session_that_ends_by_itself_leaves_its_reason(tmp_path, caplog):
    train(tmp_path, steps=1, card=make_card())
    assert read_reason(tmp_path) == "step 1 of 1 is reached"
    # Does not begin a session.
    with pytest.raises(ValueError):
        train(tmp_path, steps=2, card=make_card().with_spec(make_spec(model_name="b")))
    assert read_reason(tmp_path) == "step 1 of 1 is reached"

    def fail(_):
        assert read_reason(tmp_path) is None  # It goes on.
        raise KeyError("units")

    with pytest.raises(KeyError):
        train(tmp_path, steps=2, card=make_card(), network_fn=fail)
    assert read_reason(tmp_path) == "KeyError: 'units'"
    train(tmp_path, steps=2, card=make_card())
    assert not [line for line in list_warnings(caplog) if "session" in line]
