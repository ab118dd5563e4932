"""The console command."""

import subprocess
import sys

import pytest
from conftest import ROOT

import slim_classifier


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["slim-classifier", *arguments])
    slim_classifier.main()


def test_every_script_has_a_command():
    scripts = {
        path.stem
        for path in ROOT.glob("*.py")
        if "entry.run(" in path.read_text() and path.stem != "slim_classifier"
    }
    assert set(slim_classifier.COMMANDS.values()) == scripts


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(monkeypatch, capsys, arguments):
    run(monkeypatch, *arguments)
    text = capsys.readouterr().out
    for command in slim_classifier.COMMANDS:
        assert f"\n  {command}  " in text
    assert "Trains an image classifier, or resumes training.\n" in text


def test_an_unknown_command_suggests_the_nearest(monkeypatch):
    with pytest.raises(SystemExit, match="Unknown command 'trian'. Nearest: train."):
        run(monkeypatch, "trian")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("convert_dataset.py", "python train_image_classifier.py --train_dir=run"),
        ("slim-classifier convert", "slim-classifier train --train_dir=run"),
    ],
)
def test_reports_name_commands_as_they_were_started(monkeypatch, program, expected):
    monkeypatch.setattr(sys, "argv", [program])
    text = "python train_image_classifier.py --train_dir=run"
    assert slim_classifier.translate(text) == expected


def test_a_command_runs_its_script(pictures_dir, tmp_path):
    """In its own process: the flags of a script are global."""

    def call(*arguments):
        return subprocess.run(
            [sys.executable, str(ROOT / "slim_classifier.py"), "convert", *arguments],
            capture_output=True,
            text=True,
        )

    text = call("--help").stdout
    assert text.startswith("usage: slim-classifier convert [--flag")
    assert "\n    slim-classifier convert --source=photos" in text
    assert "python convert_dataset.py" not in text
    done = call(f"--source={pictures_dir}", f"--dataset_dir={tmp_path}", "--workers=1")
    assert "\n  slim-classifier train --" in done.stdout
    done = call("--source=nowhere", "--dataset_dir=data")
    assert done.returncode == 1
    assert done.stderr.startswith("slim-classifier convert: error: ")
