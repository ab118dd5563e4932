"""Trains on a Ray cluster, with as many workers as it is told.

    python scripts/cluster/ray_train.py --workers=4 --cpus=8 -- FLAGS...
    python scripts/cluster/ray_train.py --workers=4 --gpus=1 --restarts=3 -- FLAGS...

FLAGS are those of train_image_classifier.py. Start it on a machine of the cluster, or
there by `ray job submit --address=http://HEAD:8265 -- python PATH/ray_train.py ...`;
without a cluster it starts one on this machine. Ray (`pip install -e '.[ray]'`), this
project and the data must be at the same paths on all machines; the chief alone uses
--train_dir, which should be a shared folder, since any machine may become the chief.

Each line of output begins with the name of its worker. If a worker is lost, all end;
--restarts starts them again that many times, on the machines that are there, and
training resumes from its last checkpoint. Ctrl-C and SIGTERM end training with a
checkpoint. The exit status is 0 if all workers have ended well.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent import futures

try:
    import ray
except ImportError:
    sys.exit("Training on Ray needs the package ray: pip install -e '.[ray]'")

_SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "train_image_classifier.py"
# Training saves a checkpoint when it is asked to end.
_GRACE_SECS = 60.0


class Machine:
    """Runs one worker, where Ray places this actor."""

    def __init__(self) -> None:
        self._process = None

    def choose_address(self) -> str:
        """Returns an address HOST:PORT of this machine that no process uses."""
        host = ray.util.get_node_ip_address()
        with socket.socket() as opened:
            opened.bind(("", 0))
            port = opened.getsockname()[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def train(
        self, script: str, flags: Sequence[str], folder: str, config: dict
    ) -> Iterator[str | int]:
        """Yields the lines of the worker's output, and at last its exit status.

        Args:
          script: path of the training script.
          flags: its flags.
          folder: the working directory, to which paths in the flags are relative.
          config: the worker's TF_CONFIG.
        """
        self._process = subprocess.Popen(
            [sys.executable, script, *flags],
            cwd=folder,
            env={**os.environ, "TF_CONFIG": json.dumps(config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in self._process.stdout:
            yield line.rstrip("\n")
        status = self._process.wait()
        yield 128 - status if status < 0 else status  # As a shell gives it.

    def stop(self) -> None:
        """Asks the worker to end; kills it if it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def place(count: int, wait_secs: float, **resources: float) -> tuple[list, list[str]]:
    """Returns actors on the machines of the cluster, and an address for each.

    Args:
      count: number of workers.
      wait_secs: how long to wait until the cluster has the resources.
      **resources: what each worker takes, num_cpus and num_gpus.

    Raises:
      SystemExit: if it does not have them in time.
    """
    # A second thread runs `stop` beside `train`.
    options = {"max_concurrency": 2, "scheduling_strategy": "SPREAD", **resources}
    actor = ray.remote(Machine).options(**options)
    machines = [actor.remote() for _ in range(count)]
    try:
        addresses = [machine.choose_address.remote() for machine in machines]
        return machines, ray.get(addresses, timeout=wait_secs)
    except ray.exceptions.GetTimeoutError:
        sys.exit(
            f"Ray has not found room for {count} workers with {resources} each within "
            f"{wait_secs:.0f} s; it has {ray.cluster_resources()}."
        )


def follow(name: str, output: Iterator[ray.ObjectRef]) -> int:
    """Prints the output of a worker; returns its exit status."""
    try:
        for reference in output:
            line = ray.get(reference)
            if isinstance(line, int):
                return line
            print(f"[{name}] {line}", flush=True)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        print(f"[{name}] is lost: {str(cause).splitlines()[0]}", flush=True)
    return 1


def run(options: argparse.Namespace) -> int:
    """Trains; returns the exit status of the first worker that failed, or 0.

    Args:
      options: what `main` parses.
    """
    resources = {"num_cpus": options.cpus, "num_gpus": options.gpus}
    machines, addresses = place(options.workers, options.wait_secs, **resources)
    cluster = {"worker": list(addresses)}
    with futures.ThreadPoolExecutor(len(machines)) as pool:
        followers = {}
        for index, machine in enumerate(machines):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            output = machine.train.remote(
                str(_SCRIPT), options.flags, os.getcwd(), config
            )
            name = f"worker {index}"
            followers[pool.submit(follow, name, output)] = name
        try:
            status = 0
            for follower in futures.as_completed(followers):
                if follower.result() and not status:
                    status = follower.result()
                    name = followers[follower]
                    print(f"{name} ended with status {status}, all end.", flush=True)
                    stop(machines)
        except KeyboardInterrupt:
            print("Training is asked to save a checkpoint and to end.", flush=True)
            stop(machines)
            raise
    return status


def stop(machines: list) -> None:
    """Asks all workers to end, without waiting for them."""
    for machine in machines:
        machine.stop.remote()


def main() -> int:
    """Parses the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--cpus", type=float, default=1, help="of each worker")
    parser.add_argument("--gpus", type=float, default=0, help="of each worker")
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--wait_secs", type=float, default=600, help="for resources")
    parser.add_argument("flags", nargs="+", help="of train_image_classifier.py")
    options = parser.parse_args()
    if options.workers < 1 or options.restarts < 0:
        parser.error("there must be 1 or more workers, and 0 or more restarts.")
    ray.init(log_to_driver=False, logging_level="warning")
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    try:
        status = run(options)
        for restart in range(options.restarts):
            if status:
                print(f"Restart {restart + 1} of {options.restarts}.", flush=True)
                status = run(options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
