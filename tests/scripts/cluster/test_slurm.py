"""The Slurm script, with commands that start the processes on this machine."""

import os
import random
import signal
import socket
import sys

import cluster_runs
import fake_slurm
import pytest
from conftest import ROOT

from tf_slim_compat import tf


def start(folder, *flags, **environment):
    """Starts the script as Slurm does on the first of two nodes."""
    folder.mkdir(exist_ok=True)
    variables = {
        "SLURM_JOB_ID": str(choose_job_id()),
        "SLURM_JOB_NODELIST": "localhost,localhost",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "PYTHON": sys.executable,
        **fake_slurm.install(folder),
        **environment,
    }
    # Slurm runs a copy.
    script = folder / "slurm_script"
    script.write_bytes((ROOT / "scripts" / "cluster" / "slurm.sh").read_bytes())
    return cluster_runs.Command(["bash", str(script), *flags], variables, folder)


def choose_job_id():
    """Returns a number whose ports nobody uses."""
    while True:
        job_id = random.randrange(10**6)
        try:
            for offset in range(2):
                with socket.socket() as opened:
                    opened.bind(("", 20000 + job_id % 10000 + offset))
            return job_id
        except OSError:
            continue


@pytest.mark.slow
def test_it_saves_and_is_queued_again_when_the_time_is_up(tmp_path):
    data, run = cluster_runs.convert_pets(tmp_path), tmp_path / "run"
    flags = cluster_runs.list_flags(data, run, steps=10**6)
    job = start(tmp_path / "slurm", *flags)
    job.read_until("global step 3:")
    job.signal(signal.SIGUSR1)
    assert job.finish() == 0, job.output
    assert "0: 2 workers train together; this is worker 0, the chief." in job.output
    assert "1: 2 workers train together; this is worker 1." in job.output
    assert "SIGTERM was received" in job.output
    assert tf.train.latest_checkpoint(str(run))
    scancel, requeue = fake_slurm.read_changes(tmp_path / "slurm")
    assert scancel.startswith("scancel --signal=TERM ")
    assert requeue.startswith("scontrol requeue ")


@pytest.mark.parametrize(
    "program, restarts, status, requeued",
    [("true", 0, 0, False), ("false", 0, 1, True), ("false", 3, 1, False)],
)
def test_failures_are_queued_again_three_times(
    program, restarts, status, requeued, tmp_path
):
    job = start(tmp_path, PYTHON=program, SLURM_RESTART_COUNT=str(restarts))
    assert job.finish() == status
    changes = fake_slurm.read_changes(tmp_path)
    assert [change.split()[1] for change in changes] == ["requeue"] * requeued


def test_each_process_is_told_its_place(tmp_path):
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$TF_CONFIG" "$@"\n')
    program.chmod(0o755)
    job = start(tmp_path, "--a b", PYTHON=str(program), SLURM_JOB_ID="123456")
    assert job.finish() == 0
    addresses = '"localhost:23456", "localhost:23457"'
    for index in range(2):
        assert (
            f'{index}: {{"cluster": {{"worker": [{addresses}]}}, '
            f'"task": {{"type": "worker", "index": {index}}}}} '
            "train_image_classifier.py --a b" + os.linesep
        ) in job.output


def test_another_folder_than_the_projects_is_a_mistake(tmp_path):
    job = start(tmp_path, SLURM_SUBMIT_DIR=str(tmp_path))
    assert job.finish() == 1
    assert job.output.startswith("Submit this script from the project's folder: ")
