"""The example of fine-tuning with Estimator: it learns, stops early and exports."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

MAX_STEPS = 2000


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """What the example prints."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "examples" / "text_classifier.py")]
        + [f"--model_dir={tmp_path_factory.mktemp('text')}", "--pretraining_steps=50"]
        + [f"--max_steps={MAX_STEPS}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_encoder_starts_from_the_language_model(output):
    assert re.search(r"^36 of 38 variables start from .*ckpt-50:$", output, re.M)
    assert re.search(
        r"classifier/encoder/words +\[44, 32\] +language_model/encoder/words$",
        output,
        re.M,
    )
    assert re.search(r"classifier/logits/bias +\[2\] +\(random\)$", output, re.M)


def test_it_learns_and_stops_early(output):
    (step,) = re.findall(rf"^Stopped at step (\d+) of {MAX_STEPS}\.$", output, re.M)
    assert int(step) < MAX_STEPS
    (accuracy,) = re.findall(r"^Accuracy on new sentences: (.*)$", output, re.M)
    assert float(accuracy) > 0.9


def test_sentences_are_predicted_one_by_one(output):
    found = re.findall(r"^  (negative|positive) [01]\.\d{3}  \w.*", output, re.M)
    assert len(found) == 4


def test_the_export_is_loaded_and_predicts(output):
    (accuracy,) = re.findall(r"best_exporter/\d+: (.*)$", output, re.M)
    assert float(accuracy) > 0.9
