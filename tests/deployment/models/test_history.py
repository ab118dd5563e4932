"""The measurements of a run on disk."""

import csv
import json
import pathlib

import numpy as np
import pytest

from deployment.models.history import History


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


def test_evaluations_are_written_as_lines_and_as_a_table(tmp_path):
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


def test_training_rows_have_the_time(tmp_path):
    history = History(str(tmp_path))
    history.append_training({"step": 1})
    history.append_training({"step": 2, "time": "noon"})
    first, second = history.training_rows()
    assert first["time"].endswith("+00:00") and second["time"] == "noon"


def test_an_evaluation_of_the_same_step_replaces_the_first(tmp_path):
    history = History(str(tmp_path))
    for row in (make_row(1), make_row(2), make_row(2, "test"), make_row(2, loss=3.0)):
        history.append(row)
    assert History(str(tmp_path)).rows() == history.rows()
    assert history.rows() == [make_row(1), make_row(2, "test"), make_row(2, loss=3.0)]
    assert len(read_table(tmp_path)) == 3


def test_returned_rows_are_copies(tmp_path):
    history = History(str(tmp_path))
    history.append(make_row(1))
    history.rows()[0]["step"] = 5
    assert history.rows() == [make_row(1)]


def test_an_incomplete_last_line_is_ignored_at_any_length(tmp_path):
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


def test_an_incomplete_training_row_does_not_damage_the_next(tmp_path):
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
def test_a_damaged_line_before_the_last_is_an_error(tmp_path, name, line):
    (tmp_path / name).write_text('{"step": 1}\n' + line + '\n{"step": 3}\n')
    with pytest.raises(ValueError, match=rf"Line 2 of '.*{name}' .*delete that line"):
        History(str(tmp_path)).truncate_after(1)


def test_a_resumed_run_removes_later_rows(tmp_path):
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


def test_truncating_an_empty_history_writes_nothing(tmp_path):
    History(str(tmp_path)).truncate_after(0)
    History(str(tmp_path / "none")).truncate_after(5)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_of_one_sentence(tmp_path):
    history = History(str(tmp_path))
    history.append_training({"step": 1})
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "training.jsonl").unlink()
    (tmp_path / "training.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"training.jsonl' cannot be written: No space"):
        history.append_training({"step": 2})


def test_zero_bytes_of_a_power_cut_are_dropped(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    rows = [f'{{"step": {step}, "split": "validation"}}\n' for step in (1, 2, 3)]
    path.write_text(rows[0] + "\0" * 30 + rows[1] + rows[2] + "\0" * 40)
    history = History(str(tmp_path))
    assert [row["step"] for row in history.rows()] == [1, 3]
    assert "metrics.jsonl has lost rows" in caplog.text
    history.append({"step": 4, "split": "validation"})
    lines = path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 3, 4]


def test_rows_of_two_processes_are_put_in_order(tmp_path):
    for name in ("metrics.jsonl", "training.jsonl"):
        lines = [f'{{"step": {s}, "loss": {i}}}\n' for i, s in enumerate((2, 4, 2, 3))]
        (tmp_path / name).write_text("".join(lines))
    history = History(str(tmp_path))
    history.truncate_after(4)
    for rows in (history.rows(), history.training_rows()):
        assert [(row["step"], row["loss"]) for row in rows] == [(2, 2), (3, 3), (4, 1)]


def test_rows_that_were_lost_are_noticed(tmp_path):
    history = History(str(tmp_path))
    assert history.get_last_steps() == {}
    for step in (2, 4):
        history.append({"step": step, "split": "validation"})
        history.append_training({"step": step + 1})
    history.sync()
    recorded = history.get_last_steps()
    assert recorded == {"metrics.jsonl": 4, "training.jsonl": 5}
    assert History(str(tmp_path)).find_losses(recorded) == []
    assert History(str(tmp_path)).find_losses({}) == []
    (tmp_path / "metrics.jsonl").write_text("")
    lines = (tmp_path / "training.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "training.jsonl").write_text(lines[0])
    first, second = History(str(tmp_path)).find_losses(recorded)
    assert first.startswith("metrics.jsonl lacks the rows after step 0 up to step 4")
    assert second.startswith("training.jsonl lacks the rows after step 3 up to step 5")
