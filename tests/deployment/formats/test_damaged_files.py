"""Damaged models end in a sentence: none ends the process, none in a traceback."""

import os
import subprocess
import sys

import tiny_models
from conftest import ROOT

COUNT = 25


def test_damaged_files_end_in_a_sentence(exported, tmp_path):
    saved = tiny_models.write_saved_model(
        tmp_path / "saved", {"pixels": tiny_models.pixels}
    )
    names = ("frozen", "tflite", "tflite_int8", "onnx")
    files = [*(exported.paths[name] for name in names), f"{saved}/saved_model.pb"]
    files.append(f"{exported.paths['openvino']}/model.xml")
    files.append(tiny_models.write_frozen(tmp_path / "tiny.pb"))
    command = [sys.executable, str(ROOT / "tests" / "damage_models.py"), str(COUNT)]
    done = subprocess.run(
        [*command, *files],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1], done.stderr[-2000:])
    outcomes = [line.removeprefix("outcome: ") for line in lines if "outcome: " in line]
    assert len(outcomes) == COUNT * len(files)
    assert 20 < outcomes.count("ok") < len(outcomes) - 20
