"""Parsing durations, and converting them into steps."""

import pytest

from deployment.durations import Duration, parse_duration, parse_durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", Duration(500, "steps")),
        (500, Duration(500, "steps")),
        ("500steps", Duration(500, "steps")),
        ("1 step", Duration(1, "steps")),
        ("2epochs", Duration(2, "epochs")),
        (" 1.5 epochs ", Duration(1.5, "epochs")),
        ("1 Epoch", Duration(1, "epochs")),
        (".5epochs", Duration(0.5, "epochs")),
        ("600secs", Duration(600, "secs")),
        ("10mins", Duration(600, "secs")),
        ("1.5 hours", Duration(5400, "secs")),
        ("0", Duration(0, "steps")),
    ],
)
def test_parse(text, expected):
    assert parse_duration(text, "--eval_every") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many",
        "-5",
        "1.5",
        "1.5steps",
        "5weeks",
        "5s",
        "5epochss",
        "1,5epochs",
        "nan",
    ],
)
def test_invalid_text_is_an_error(text):
    with pytest.raises(ValueError, match=r"^--eval_every must be .* but is '") as error:
        parse_duration(text, "--eval_every")
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("duration", "steps_per_epoch", "steps"),
    [
        (Duration(500), 10, 500),
        (Duration(2, "epochs"), 12.5, 25),
        (Duration(2.5, "epochs"), 12.5, 31),
        (Duration(3, "epochs"), 100 / 3, 100),
        (Duration(0.1, "epochs"), 30, 3),
        (Duration(0.001, "epochs"), 10, 1),
        (Duration(0, "epochs"), 10, 0),
    ],
)
def test_to_steps(duration, steps_per_epoch, steps):
    found = duration.to_steps(steps_per_epoch)
    assert found == steps and isinstance(found, int)


def test_seconds_are_not_steps():
    duration = parse_duration("10mins", "--eval_every")
    assert duration.is_time and not Duration(1).is_time
    with pytest.raises(ValueError, match="600 secs cannot be converted into steps"):
        duration.to_steps(10)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (1, "weeks", "must be one of steps, epochs, secs, but is 'weeks'"),
        (-1, "epochs", "must be 0 or more, but is -1"),
        (float("nan"), "secs", "must be 0 or more, but is nan"),
        (1.5, "steps", "whole number, but is 1.5"),
    ],
)
def test_invalid_durations_are_errors(value, unit, said):
    with pytest.raises(ValueError, match=said):
        Duration(value, unit)


def test_parse_lists():
    assert parse_durations(None, "--b") == parse_durations("", "--b") == ()
    found = parse_durations("100, 2epochs", "--b")
    assert [str(duration) for duration in found] == ["100 steps", "2 epochs"]
    with pytest.raises(ValueError, match="--b must be"):
        parse_durations("100,,200", "--b")
