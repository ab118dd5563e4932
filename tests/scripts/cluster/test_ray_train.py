"""Training on Ray, on a cluster that is this machine."""

import shutil
import signal
import sys

import cluster_runs
import pytest
from conftest import ROOT

from tf_slim_compat import tf

pytest.importorskip("ray")
SCRIPT = "scripts/cluster/ray_train.py"
# In the first attempt worker 1 fails once the other is there; in the second one all
# wait until they are asked to end.
TRAINING = """
import json, os, pathlib, signal, sys, threading

index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
folder = pathlib.Path(sys.argv[1])
(folder / str(index)).touch()
print("ready", flush=True)
if index and not (folder / "failed").exists():
    while not (folder / "0").exists():
        ended.wait(0.01)
    (folder / "failed").touch()
    sys.exit(3)
while not ended.wait(0.01):
    pass
print("saved")
"""


def start(*arguments, folder=ROOT, **environment):
    variables = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": "local",
        **environment,
    }
    command = [sys.executable, SCRIPT, "--workers=2", "--cpus=0.1", *arguments]
    return cluster_runs.Command(command, variables, folder)


@pytest.mark.slow
def test_two_workers_train(tmp_path):
    data, run = cluster_runs.convert_pets(tmp_path), tmp_path / "run"
    job = start("--", *cluster_runs.list_flags(data, run, steps=3))
    assert job.finish() == 0, job.output
    assert "[worker 1] 2 workers train together; this is worker 1." in job.output
    assert "[worker 0] global step 3: " in job.output
    assert tf.train.latest_checkpoint(str(run)) == str(run / "model.ckpt-3")


@pytest.mark.slow
def test_a_failure_ends_all_and_a_restart_goes_on(tmp_path):
    project = tmp_path / "project"
    (project / SCRIPT).parent.mkdir(parents=True)
    shutil.copy(ROOT / SCRIPT, project / SCRIPT)
    (project / "train_image_classifier.py").write_text(TRAINING)
    job = start("--restarts=1", "--", str(tmp_path), folder=project)
    job.read_until("worker 1 ended with status 3, all end.")
    job.read_until("[worker 0] saved")
    job.read_until("Restart 1 of 1.")
    job.read_until("] ready")
    job.read_until("] ready")
    job.signal(signal.SIGTERM)
    assert job.finish() == 128 + signal.SIGINT
    assert job.output.count("[worker 0] saved") == 2
    assert "[worker 1] saved" in job.output


@pytest.mark.slow
def test_too_few_machines_are_reported():
    job = start("--gpus=1000", "--wait_secs=0.1", "--", "--train_dir=run")
    assert job.finish() == 1
    assert "Ray has not found room for 2 workers with " in job.output
    assert "Traceback" not in job.output
