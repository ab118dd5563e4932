"""Starts the processes of a cluster on this machine, each with its TF_CONFIG.

    train_cluster.sh 4 -- FLAGS...                           four all-reduce workers
    train_cluster.sh 2 --parameter_servers=1 -- FLAGS...     two workers and a server
    train_cluster.sh 2 --evaluator -- FLAGS...               validation beside training

FLAGS are those of train_image_classifier.py. Each line of output begins with the name
of its process. Ctrl-C and SIGTERM go to all processes: once, and training ends with a
checkpoint; twice, and it ends at once. If the evaluator fails, training ends, too. The
exit status is 0 if all have ended well, or that of the first one that has not.
"""

import argparse
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TextIO

_SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "train_image_classifier.py"
_JOB_NAMES = {"worker": "worker", "ps": "server", "evaluator": "evaluator"}


def find_free_ports(count: int) -> list[int]:
    """Returns ports of this machine that no process uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("localhost", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def list_tasks(
    workers: int, parameter_servers: int = 0, evaluator: bool = False
) -> list[dict]:
    """Returns the TF_CONFIG of each process."""
    ports = iter(find_free_ports(workers + parameter_servers))
    counts = {"worker": workers, "ps": parameter_servers}
    cluster = {
        job: [f"localhost:{next(ports)}" for _ in range(count)]
        for job, count in counts.items()
        if count
    }
    tasks = [
        (job, i) for job, addresses in cluster.items() for i in range(len(addresses))
    ]
    tasks += [("evaluator", 0)] * evaluator
    return [
        {"cluster": cluster, "task": {"type": job, "index": index}}
        for job, index in tasks
    ]


class Process:
    """A process of the cluster, whose output is passed on line by line.

    Args:
      config: its TF_CONFIG.
      flags: the flags of the training script.
      output: where the lines go.
      on_end: called with this object, in another thread, when the process has ended.

    Attributes:
      name: what its lines begin with.
      job: its job in TF_CONFIG.
      status: its exit status as a shell gives it; None while it runs.
    """

    def __init__(
        self,
        config: dict,
        flags: Sequence[str],
        output: TextIO,
        on_end: Callable[["Process"], None],
    ) -> None:
        task = config["task"]
        self.job = task["type"]
        self.name = f"{_JOB_NAMES[self.job]} {task['index']}"
        self.status: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, str(_SCRIPT), *flags],
            env={**os.environ, "TF_CONFIG": json.dumps(config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # The terminal's Ctrl-C would reach it twice.
        )
        output.write(f"[{self.name}] Process {self._process.pid}.\n")
        threading.Thread(target=self._follow, args=[output, on_end]).start()

    def send(self, signum: int) -> None:
        """Sends a signal, if the process runs."""
        if self._process.poll() is None:
            self._process.send_signal(signum)

    def _follow(self, output: TextIO, on_end: Callable[["Process"], None]) -> None:
        """Passes on the output, then notes the exit status."""
        for line in self._process.stdout:
            output.write(f"[{self.name}] {line}")
            output.flush()
        status = self._process.wait()
        self.status = 128 - status if status < 0 else status
        on_end(self)


def run(
    tasks: Sequence[dict], flags: Sequence[str], output: TextIO = sys.stdout
) -> int:
    """Runs the processes of a cluster until all have ended; returns the exit status.

    Args:
      tasks: the TF_CONFIG of each, as of `list_tasks`.
      flags: the flags of the training script.
      output: where their output goes.
    """
    ended, stopped = queue.SimpleQueue(), set()
    processes = [Process(config, flags, output, ended.put) for config in tasks]
    workers = [process for process in processes if process.job == "worker"]
    others = [process for process in processes if process.job != "worker"]

    def forward(signum, frame):
        del frame
        stopped.update(others)
        for process in processes:
            process.send(signum)

    def stop(which):
        for process in which:
            stopped.add(process)
            process.send(signal.SIGTERM)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, forward)
    for _ in processes:
        process = ended.get()
        if process.job == "evaluator" and process.status and not stopped:
            stop(workers)  # Nothing would validate, keep the best or stop early.
        elif process.job == "worker" and all(w.status is not None for w in workers):
            is_whole = not any(worker.status for worker in workers)
            # They would notice the end only after a while.
            stop(p for p in others if p.job == "ps" or not is_whole)

    def has_failed(process):
        was_stopped = process in stopped and process.status == 128 + signal.SIGTERM
        return process.status != 0 and not was_stopped

    failed = list(filter(has_failed, processes))
    for process in failed:
        print(f"{process.name} ended with status {process.status}.", file=sys.stderr)
    return failed[0].status if failed else 0


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, Sequence[str]]:
    """Returns the options, and the flags of the training script.

    Raises:
      SystemExit: if they are wrong, after a sentence on stderr.
    """
    parser = argparse.ArgumentParser(
        prog="train_cluster.sh",
        usage="%(prog)s WORKERS [--parameter_servers=N] [--evaluator] -- FLAGS",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workers", metavar="WORKERS", help="number of workers")
    parser.add_argument(
        "--parameter_servers", metavar="N", default="0", help="number of servers"
    )
    parser.add_argument(
        "--evaluator", action="store_true", help="also start an evaluator"
    )
    place = arguments.index("--") if "--" in arguments else len(arguments)
    options, misplaced = parser.parse_known_args(arguments[:place])
    flags = arguments[place + 1 :]
    if misplaced or not flags:
        found = f"{misplaced[0]} stands before it" if misplaced else "there are none"
        parser.error(f"the flags of train_image_classifier.py go after --, but {found}")
    for name, least in (("workers", 1), ("parameter_servers", 0)):
        text = getattr(options, name)
        if not text.isdecimal() or int(text) < least:
            parser.error(
                f"the number of {name.replace('_', ' ')} must be an integer of at "
                f"least {least}, but is {text!r}"
            )
        setattr(options, name, int(text))
    return options, flags


def main() -> int:
    """Parses the arguments and runs the cluster."""
    options, flags = parse(sys.argv[1:])
    tasks = list_tasks(options.workers, options.parameter_servers, options.evaluator)
    return run(tasks, flags)


if __name__ == "__main__":
    sys.exit(main())
