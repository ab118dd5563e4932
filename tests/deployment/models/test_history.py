"""What a run measured, on disk; and when it should stop by that."""

import csv
import json
import math
import pathlib

import numpy as np
import pytest

from deployment.models.history import History, is_lower_better
from deployment.train import early_stopping


def make_row(step, split="validation", **values):
    return {
        "step": step,
        "split": split,
        "accuracy": step / 1000,
        "time": "t",
        **values,
    }


def read_table(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_evaluations_are_kept_as_lines_and_as_a_table(tmp_path):
    history = History(str(tmp_path))
    assert history.rows() == []
    history.append(make_row(100))
    history.append({"step": np.int64(200), "split": "validation", "accuracy": 0.25})
    history.append(make_row(200, "test", loss=np.float32(0.5)))
    history.append(make_row(300, loss=float("nan")))
    rows = History(str(tmp_path)).rows()
    assert rows == history.rows()
    assert [row["step"] for row in rows] == [100, 200, 200, 300]
    assert rows[1].pop("time").endswith("+00:00")
    assert rows[1] == {"step": 200, "split": "validation", "accuracy": 0.25}
    assert rows[3]["loss"] is None
    assert [row["step"] for row in history.rows("test")] == [200]
    table = read_table(tmp_path)
    assert list(table[0]) == ["step", "split", "accuracy", "time", "loss"]
    assert [row["loss"] for row in table] == ["", "", "0.5", ""]
    text = (tmp_path / "metrics.jsonl").read_text()
    assert all(json.loads(line) for line in text.splitlines())


def test_an_evaluation_of_the_same_step_takes_the_place_of_the_first(tmp_path):
    history = History(str(tmp_path))
    for row in (make_row(1), make_row(2), make_row(2, "test"), make_row(2, loss=3.0)):
        history.append(row)
    assert History(str(tmp_path)).rows() == history.rows()
    assert history.rows() == [make_row(1), make_row(2, "test"), make_row(2, loss=3.0)]
    assert len(read_table(tmp_path)) == 3


def test_rows_that_are_given_away_are_copies(tmp_path):
    history = History(str(tmp_path))
    history.append(make_row(1))
    history.rows()[0]["step"] = 5
    assert history.rows() == [make_row(1)]


def test_a_line_that_a_kill_cut_short_is_dropped_at_any_length(tmp_path):
    history = History(str(tmp_path))
    history.append(make_row(1, split="gültig"))
    history.append(make_row(2))
    history.append_training({"step": 1})
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        again = History(str(tmp_path))
        assert path.read_bytes() == whole[:length], "reading changes nothing"
        expected = int(length >= first - 1) + int(length >= len(whole) - 1)
        assert len(again.rows()) == expected
        again.append(make_row(3))
        assert [row["step"] for row in History(str(tmp_path)).rows()] == [
            *range(1, expected + 1), 3,
        ]  # fmt: skip
        assert len(read_table(tmp_path)) == expected + 1


def test_half_a_line_of_training_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "training.jsonl"
    path.write_text('{"step": 10, "loss": 1.5}\n{"step": 20, "lo')
    history = History(str(tmp_path))
    history.append_training({"step": 30, "time": "t"})
    history.append_training({"step": 40, "time": "t"})
    assert [row["step"] for row in history.training_rows()] == [10, 30, 40]
    path.write_text('{"step": 10}\n{"step": 2')
    History(str(tmp_path)).truncate_after(10)
    assert path.read_text() == '{"step": 10}\n'


@pytest.mark.parametrize("name", ["metrics.jsonl", "training.jsonl"])
@pytest.mark.parametrize("line", ["half", "[1]", '{"loss": 1}'])
def test_a_damaged_line_within_is_named(tmp_path, name, line):
    (tmp_path / name).write_text('{"step": 1}\n' + line + '\n{"step": 3}\n')
    with pytest.raises(ValueError, match=rf"Line 2 of '.*{name}' .*delete that line"):
        History(str(tmp_path)).truncate_after(1)


def test_a_resumed_run_forgets_what_lies_beyond(tmp_path):
    history = History(str(tmp_path))
    for step in (10, 20, 30):
        history.append(make_row(step))
        history.append_training({"step": step, "time": "t"})
    again = History(str(tmp_path))
    again.truncate_after(20)
    for one in (again, History(str(tmp_path))):
        assert [row["step"] for row in one.rows()] == [10, 20]
        assert [row["step"] for row in one.training_rows()] == [10, 20]
    assert [row["step"] for row in read_table(tmp_path)] == ["10", "20"]
    again.append(make_row(25))
    again.append_training({"step": 25})
    again.truncate_after(0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    assert History(str(tmp_path)).rows() == []
    assert read_table(tmp_path) == []


def test_nothing_is_written_where_nothing_was(tmp_path):
    History(str(tmp_path)).truncate_after(0)
    History(str(tmp_path / "none")).truncate_after(5)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path):
    history = History(str(tmp_path))
    history.append_training({"step": 1})
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "training.jsonl").unlink()
    (tmp_path / "training.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"training.jsonl' cannot be written: No space"):
        history.append_training({"step": 2})


def test_metrics_have_a_direction():
    assert is_lower_better("loss")
    assert not is_lower_better("accuracy") and not is_lower_better("top_5")
    with pytest.raises(ValueError, match="no metric 'acuracy': choose accuracy"):
        is_lower_better("acuracy")


def stop(values, patience, metric="accuracy", min_change=0.0):
    rows = [{"step": 10 * (i + 1), metric: value} for i, value in enumerate(values)]
    return early_stopping.reason_to_stop(rows, metric, patience, min_change)


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.4], False),
        ([0.5, 0.4, 0.5], True),
        ([0.5, 0.4, 0.51], False),
        ([0.5, 0.4, 0.51, 0.3, 0.51], True),
        ([math.nan, None], True),
        ([math.nan, 0.1], False),
        ([0.5, None, math.inf], True),
    ],
)
def test_training_stops_after_two_evaluations_without_improvement(values, stops):
    assert bool(stop(values, patience=2)) == stops
    losses = [-v if v is not None else None for v in values]
    assert bool(stop(losses, patience=2, metric="loss")) == stops
    assert stop(values, patience=0) is None and stop(values, patience=None) is None


def test_an_improvement_must_be_large_enough():
    values = [0.6, 0.65, 0.69, 0.699]
    assert stop(values, 3) is None
    assert stop(values, 3, min_change=0.1)
    assert stop([0.6, 0.65, 0.69, 0.7], 3, min_change=0.1) is None


def test_the_reason_says_what_was_best_and_how_long_ago():
    assert stop([0.5, 0.61, 0.6, 0.61, 0.2], 3) == (
        "accuracy has not improved in the last 3 evaluations: it was best, 0.6100, "
        "at step 20"
    )
    assert stop([2.0, 1.95], 1, "loss", 0.1) == (
        "loss has not improved by 0.1 or more in the last 1 evaluations: it was best, "
        "2.0000, at step 10"
    )
    assert stop([None, None], 2, "loss") == (
        "loss was not a finite number in 2 evaluations"
    )


def test_a_metric_that_is_not_measured_is_an_error():
    with pytest.raises(ValueError, match="at step 5 has no top_5: give another"):
        early_stopping.reason_to_stop([{"step": 5, "accuracy": 1}], "top_5", 1)
    with pytest.raises(ValueError, match="no metric 'f1'"):
        early_stopping.reason_to_stop([], "f1", 1)
