"""The quickstart: from a folder of images to a classifier, again and again."""

import json
import os
import shutil
import sys

import pytest
import quickstart
import script_runner

import slim_classifier


def test_the_training_suits_the_images():
    flags, what = quickstart.choose_training(False, ["--seed=1"])
    assert "--model_name=lenet" in flags and flags[-1] == "--seed=1"
    assert "drawn patterns" in what
    flags, what = quickstart.choose_training(True, ["--seed=1"])
    assert flags == ["--time_budget=5mins", "--seed=1"] and "5mins" in what
    given = ["--max_number_of_steps=7"]
    assert quickstart.choose_training(True, given)[0] == given


@pytest.mark.parametrize(
    ("accuracy", "hint"),
    [(0.2, "more time"), (0.7, "it confuses"), (0.95, "some labels may be wrong")],
)
def test_the_last_line_says_how_good_the_model_is(tmp_path, accuracy, hint):
    report = {"accuracy": accuracy, "num_images": 40}
    (tmp_path / "eval.json").write_text(json.dumps(report))
    line = quickstart.describe_result(tmp_path)
    assert f"{100 * accuracy:.1f} % of 40 images" in line and hint in line


def test_the_state_changes_with_images_and_flags(tmp_path):
    def compute(*flags):
        return quickstart.compute_state(quickstart.list_images(tmp_path), flags)

    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.JPG").write_bytes(b"a")
    (tmp_path / "cat" / "notes.txt").write_bytes(b"b")
    first = compute("--seed=1")
    assert first == compute("--seed=1") != compute("--seed=2")
    (tmp_path / "cat" / "2.png").write_bytes(b"c")
    assert first != compute("--seed=1")


def test_ctrl_c_waits_for_the_command_that_it_ends(monkeypatch, capsys):
    class Saving:
        """Answers Ctrl-C with a checkpoint, which takes a while."""

        results = [KeyboardInterrupt, 0]

        def __init__(self, command):
            assert command[-2:] == ["train", "--train_dir=run"]

        def wait(self):
            result = self.results.pop(0)
            if result is KeyboardInterrupt:
                raise result
            return result

    monkeypatch.setattr(quickstart.subprocess, "Popen", Saving)
    with pytest.raises(SystemExit, match="run the same command again to continue"):
        quickstart.run("train", "--train_dir=run")
    assert not Saving.results
    assert capsys.readouterr().out == "\n$ slim-classifier train --train_dir=run\n"


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Runs the quickstart on a folder in this process; returns what it prints."""

    def run(command, *arguments):
        print(f"$ slim-classifier {command}")
        script = f"{slim_classifier.COMMANDS[command]}.py"
        status, out, err = script_runner.run_script(script, *arguments)
        assert not status, err
        print(out)

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["quickstart.py", *arguments])
        quickstart.main()
        return capsys.readouterr().out

    monkeypatch.setattr(quickstart, "run", run)
    monkeypatch.chdir(tmp_path)
    return start


def test_help_starts_nothing(start, tmp_path):
    assert "./scripts/quickstart.sh photos --time_budget=30mins" in start("p", "--help")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_runs_again_after_an_image_was_added(start, pictures_dir, tmp_path):
    photos = tmp_path / "my photos"
    for name in ("dots", "rings"):
        shutil.copytree(pictures_dir / name, photos / name)
    flags = ["--model_name=softmax_regression", "--train_image_size=8"]
    flags += ["--max_number_of_steps=2", "--batch_size=4", "--eval_every=2"]
    first = start("my photos", *flags)
    work_dir = tmp_path / "quickstart_my photos"
    held_out = quickstart.choose_held_out(work_dir / "validation.csv", photos)
    assert len(held_out) == 2 and all(map(os.path.isfile, held_out))
    for path in held_out:
        assert f"{os.path.relpath(path, tmp_path)}\n  0." in first
    second = start("my photos", *flags)
    assert "unchanged since the last run" in second
    assert "$ slim-classifier convert" not in second
    shutil.copy(photos / "dots" / "0.jpg", photos / "dots" / "new.jpg")
    (work_dir / "data" / "notes.txt").touch()
    third = start("my photos", *flags)
    assert "training anew" in third and "$ slim-classifier convert" in third
    assert len(list(work_dir.glob("train_*"))) == 1
    # Only the converter's own files are replaced.
    assert (work_dir / "data" / "notes.txt").exists()
