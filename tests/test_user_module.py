"""The README's example of a network of one's own runs as it is written."""

import os
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT


def run(script, *arguments, folder):
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_run_card_remembers_the_module(data_dir, tmp_path):
    readme = (ROOT / "README.md").read_text()
    start = readme.index("    # my_networks.py")
    example = readme[start : readme.index("\nThen:", start)]
    (tmp_path / "my_networks.py").write_text(textwrap.dedent(example))
    run(
        "train_image_classifier.py",
        "--user_module=my_networks.py",
        "--model_name=tiny",
        "--train_dir=run",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        "--max_number_of_steps=2",
        "--batch_size=4",
        folder=tmp_path,
    )
    # Another process and another working folder, and no flag.
    output = run(
        "eval_image_classifier.py",
        f"--checkpoint_path={tmp_path}/run",
        folder=tmp_path.parent,
    )
    assert "eval/Accuracy" in output
    assert f"Importing the user module {tmp_path}/my_networks.py" in output
