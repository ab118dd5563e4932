"""The progress display: what fits beside the bar, and which interval rates are of."""

import contextlib
import fcntl
import logging as python_logging
import os
import struct
import sys
import termios
import time

import pytest
from absl import logging

from deployment.train.progress import Progress, join_fitting

FACTS = {"loss": 1.25, "total_loss": 1.5, "accuracy": 0.5, "learning_rate": 0.01}


class Clock:
    """Replaces the clock; advances when told to."""

    def __init__(self, monkeypatch):
        self._now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def advance(self, secs):
        self._now += secs


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def info_log(caplog):
    caplog.set_level(python_logging.INFO, logger="absl")
    return caplog


def report(progress, clock, steps, secs, waited_secs=0.0):
    for step in steps:
        clock.advance(secs)
        progress.report(step, FACTS, step_secs=secs, waited_secs=waited_secs)


@contextlib.contextmanager
def terminal(columns, monkeypatch):
    """Makes standard error a terminal; yields how to read the last line it shows."""

    def read():
        shown = b""
        while not shown.endswith(b"\n"):
            shown += os.read(reader, 4096)
        return shown.decode().rstrip().split("\r")[-1]

    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with open(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield read
    os.close(reader)


@pytest.mark.parametrize(
    ("columns", "shown", "left_out"),
    [
        (60, ["0:00:43 left", "loss 1.2500"], ["accuracy", "images/s"]),
        (80, ["loss 1.2500", "accuracy 0.500"], ["images/s", "learning rate"]),
        (110, ["accuracy 0.500", "32.0 images/s"], ["learning rate"]),
        (200, ["32.0 images/s", "10 % waiting for data", "learning rate 0.01"], []),
    ],
)
def test_the_bar_has_a_fifth_of_the_terminal(
    columns, shown, left_out, clock, monkeypatch
):
    with terminal(columns, monkeypatch) as read:
        progress = Progress(0, 96, 16, 10)
        report(progress, clock, range(1, 11), secs=0.5, waited_secs=0.05)
        progress.close()
        line = read()
    assert len(line) == columns - 1  # The cursor needs one.
    bar = line.split("|")[1]
    assert len(bar) >= 0.2 * columns
    assert line.startswith(" 10%|") and "| 10/96, 0:00:43 left, loss" in line
    assert all(fact in line for fact in shown)
    assert not any(fact in line for fact in left_out)


def test_without_an_end_there_is_no_bar(clock, monkeypatch):
    with terminal(70, monkeypatch) as read:
        progress = Progress(0, None, 16, 10)
        report(progress, clock, range(1, 11), secs=0.5)
        progress.close()
        line = read()
    assert line == "step 10 [00:00], loss 1.2500, accuracy 0.500, 32.0 images/s"


def test_messages_have_a_line_of_their_own(clock, capsys):
    progress = Progress(0, 96, 16, 10, is_live=True)
    report(progress, clock, [1], secs=0.5)
    handler, record = (
        logging.get_absl_handler(),
        logging.get_absl_logger().makeRecord(
            "absl", python_logging.INFO, __file__, 1, "A message", (), None
        ),
    )
    assert handler.filter(record)
    *_, blank, rest = capsys.readouterr().err.split("\r")
    assert blank.isspace() and rest == ""
    progress.close()
    progress.close()
    capsys.readouterr()
    assert handler.filter(record)
    assert not capsys.readouterr().err


def test_what_fits_is_shown_in_order():
    facts = ["12345", "a longer one", "67"]
    assert join_fitting(facts, 100) == "12345, a longer one, 67"
    assert join_fitting(facts, 11) == "12345, 67"
    assert join_fitting(facts, 10) == "12345"
    assert join_fitting(facts, 6) == "67"
    assert join_fitting(facts, 3) == ""


def test_rates_are_those_since_the_previous_line(clock, info_log):
    progress = Progress(0, 45, 16, 20, is_live=False)
    assert progress.speed is None
    report(progress, clock, [1], secs=9.0, waited_secs=3.0)  # Builds caches.
    assert progress.speed == pytest.approx((9.0, 16 / 9, 1 / 3))
    report(progress, clock, range(2, 21), secs=0.5)
    assert progress.speed == pytest.approx((0.5, 32.0, 0.0))
    with progress.paused():
        clock.advance(100)
    report(progress, clock, range(21, 40), secs=0.25, waited_secs=0.125)
    assert progress.speed == pytest.approx((0.5, 32.0, 0.0))  # Of the latest line.
    report(progress, clock, [40], secs=0.25, waited_secs=0.125)
    assert progress.speed == pytest.approx((0.25, 64.0, 0.5))
    # The time left is that of the whole run, with its pauses: 114.5 s for 39 steps.
    assert info_log.messages[-1] == (
        "global step 40: loss = 1.5000 (0.250 sec/step, 64.0 images/s, without "
        "regularization 1.2500, accuracy 0.500, learning rate 0.01, 50 % waiting for "
        "data, 0:00:15 left)"
    )
    progress.log_mean_speed()
    assert info_log.messages[-1].startswith("On average 43.0 images/s; 17 % of the")


def test_the_last_step_has_a_line_too(clock, info_log):
    progress = Progress(0, 7, 16, 5, is_live=False)
    report(progress, clock, range(1, 8), secs=0.5)
    steps = [message.split(":")[0] for message in info_log.messages]
    assert steps == ["global step 5", "global step 7"]
    without = Progress(0, 7, 16, 0, is_live=False)
    assert not any(map(without.is_line_due, range(1, 8)))


def test_a_loss_without_regularization_is_not_repeated(clock, info_log):
    progress = Progress(0, None, 16, 1, "exact_match", is_live=False)
    facts = {**FACTS, "total_loss": 1.25, "exact_match": 0.25}
    progress.report(1, facts, step_secs=0.5, waited_secs=0.0)
    assert info_log.messages == [
        "global step 1: loss = 1.2500 (0.500 sec/step, 32.0 images/s, exact match "
        "0.250, learning rate 0.01)"
    ]


@pytest.mark.parametrize(
    "precision, said", [("float32", "images/s,"), ("bfloat16", "images/s in bfloat16,")]
)
def test_a_line_tells_a_precision_other_than_float32(precision, said, caplog):
    progress = Progress(0, 9, 8, 1, is_live=False, precision=precision)
    facts = {"total_loss": 1.0, "loss": 1.0, "learning_rate": 0.1, "accuracy": 0.5}
    with caplog.at_level("INFO"):
        progress.report(1, facts, step_secs=0.1, waited_secs=0.0)
    assert said in caplog.text
