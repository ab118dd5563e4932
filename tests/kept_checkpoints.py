"""Fake checkpoints that are kept as the best of a run, and checks of their folder."""

import json
import os

from deployment.tasks.base import Metric
from tf_slim_compat import tf

ACCURACY = Metric("accuracy", True)
SUFFIXES = [".data-00000-of-00002", ".data-00001-of-00002", ".index", ".meta"]


def write_checkpoint(folder, step, suffixes=SUFFIXES):
    """Writes fake checkpoint files; returns their prefix."""
    folder.mkdir(exist_ok=True)
    for suffix in suffixes:
        (folder / f"model.ckpt-{step}{suffix}").write_text(f"{suffix} of {step}")
    return str(folder / f"model.ckpt-{step}")


def consider(best, folder, step, value):
    return best.consider(write_checkpoint(folder, step), step, value)


def check_folder(folder, steps):
    """Checks that exactly these checkpoints exist, complete, best first."""
    expected = {f"model.ckpt-{step}{suffix}" for step in steps for suffix in SUFFIXES}
    others = {"best.json", "checkpoint"} if steps else {"best.json"}
    assert set(os.listdir(folder)) == expected | others
    check_ranking(folder, steps)
    latest = tf.train.latest_checkpoint(str(folder))
    assert latest == (str(folder / f"model.ckpt-{steps[0]}") if steps else None)


def check_ranking(folder, steps):
    """Checks that these are ranked and each is complete."""
    record = json.loads((folder / "best.json").read_text())
    assert [kept["step"] for kept in record["checkpoints"]] == steps
    for step in steps:
        for suffix in SUFFIXES:
            path = folder / f"model.ckpt-{step}{suffix}"
            assert path.read_text() == f"{suffix} of {step}"


def refuse_links(*args, **kwargs):
    raise OSError(18, "Invalid cross-device link")
