"""Slurm's commands on this machine, for scripts that call them.

    python tests/fake_slurm.py srun|scontrol|scancel ARGUMENTS...

The folder $FAKE_SLURM keeps what they share: the processes that srun started, and the
commands that would change a job.
"""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading

_COMMANDS = ("srun", "scontrol", "scancel")


def install(folder: pathlib.Path) -> dict[str, str]:
    """Writes the commands into a folder; returns the environment that uses them."""
    for command in _COMMANDS:
        path = folder / command
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" $0 "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "FAKE_SLURM": str(folder)}


def read_changes(folder: pathlib.Path) -> list[str]:
    """Returns the commands that would have changed a job."""
    path = folder / "changes"
    return path.read_text().splitlines() if path.exists() else []


def _srun(folder, arguments):
    """Runs a command once per node; the first failure ends all."""
    options = [a for a in arguments if a.startswith("--")]
    options = options[: next(i for i, a in enumerate(arguments) if a not in options)]
    processes = []
    for index in range(int(os.environ["SLURM_NNODES"])):
        process = subprocess.Popen(
            arguments[len(options) :],
            env={**os.environ, "SLURM_PROCID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
    (folder / "pids").write_text(" ".join(str(p.pid) for p in processes))

    failures = []

    def follow(index, process):
        for line in process.stdout:
            sys.stdout.write(f"{index}: {line}" if "--label" in options else line)
            sys.stdout.flush()
        if process.wait():
            failures.append(abs(process.returncode))
            if "--kill-on-bad-exit=1" in options:
                _signal(p.pid for p in processes if p.poll() is None)

    followers = [threading.Thread(target=follow, args=f) for f in enumerate(processes)]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join()
    return failures[0] if failures else 0


def _scontrol(folder, arguments):
    if arguments[:2] == ["show", "hostnames"]:
        print("\n".join(arguments[2].split(",")))
        return 0
    return _note(folder, "scontrol", arguments)


def _scancel(folder, arguments):
    assert arguments[0] == "--signal=TERM", arguments
    _signal(map(int, (folder / "pids").read_text().split()))
    return _note(folder, "scancel", arguments)


def _signal(pids):
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def _note(folder, command, arguments):
    with open(folder / "changes", "a") as file:
        print(command, *arguments, file=file)
    return 0


if __name__ == "__main__":
    run = globals()[f"_{pathlib.Path(sys.argv[1]).name}"]
    sys.exit(run(pathlib.Path(os.environ["FAKE_SLURM"]), sys.argv[2:]))
