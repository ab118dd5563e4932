"""Tasks on Beam's runners: in this process, through a job server, and in processes."""

import functools
import os
import signal
import sys

import pytest

from deployment import beam_tasks

pytest.importorskip("apache_beam")
# Beam's own job server, to which any program submits jobs as to that of Flink or Spark.
EMBEDDED = "--job_endpoint=embed --environment_type=LOOPBACK"


def add(number, other):
    if other < 0:
        raise ValueError(f"{other} is negative: give another number.")
    return number + other


def divide(number):
    return 1 / number


def die(folder, number):
    """Kills the first process that comes."""
    try:
        os.mkdir(os.path.join(folder, "dead"))
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("runner, options", [("direct", ""), ("flink", EMBEDDED)])
def test_results_come_in_the_order_of_tasks(runner, options, tmp_path):
    engine = beam_tasks.BeamEngine(runner, options)
    function = functools.partial(add, 10)
    assert engine.distribute(function, range(9), tmp_path) == list(range(10, 19))
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"^-1 is negative: give another number\.$"):
        engine.distribute(function, [1, -1], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_bug_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        beam_tasks.BeamEngine("direct").distribute(divide, [0], tmp_path)
    assert caught.traceback[-1].name == "divide"


def test_a_runner_that_fails_is_no_bug(tmp_path):
    engine = beam_tasks.BeamEngine("spark", "--job_endpoint=embed --environment_type=X")
    with pytest.raises(OSError, match=r"The runner spark failed \(.*X\): see what it"):
        engine.distribute(divide, [1], tmp_path)


@pytest.mark.slow
def test_a_dead_worker_process_ends_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    engine = beam_tasks.BeamEngine("direct", workers=2)
    with pytest.raises(OSError, match="A worker process died, probably because"):
        engine.distribute(functools.partial(die, tmp_path), range(8), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dead"]


def test_a_machine_without_the_folder_says_so(tmp_path):
    with pytest.raises(OSError, match="does not see the folder .*gone': use folders"):
        beam_tasks._run_task(divide, f"{tmp_path}/gone/0")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ValueError, match=r"needs a package .*-e '.\[beam\]"):
        beam_tasks.BeamEngine("direct")
