"""TensorFlow servers: starts this process's, and waits for that of another."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from absl import logging

from deployment.cluster import liveness
from deployment.cluster.tf_config import Task
from deployment.config_flags import SettingError
from tf_slim_compat import tf

_CONNECT_ATTEMPTS = 3
_CONNECT_SECS = 2.0
_ANSWER_SECS = 60.0
_running = []  # They would end when nothing refers to them.
# Its alarm ends it even if this process ends first.
_ASK = """import signal, sys

signal.alarm(int(sys.argv[2]))
from tf_slim_compat import tf

with tf.Graph().as_default(), tf.Session(sys.argv[1]) as session:
    session.run(tf.no_op())
"""


def start(
    jobs: Mapping[str, Sequence[str]], job: str, index: int, config: tf.ConfigProto
) -> str:
    """Starts this process's TensorFlow server, which ends with it.

    Args:
      jobs: addresses HOST:PORT of all processes by job.
      job: the job of this process.
      index: its index there.
      config: configuration of the sessions, which settles the threads.

    Returns:
      Its address, for sessions.

    Raises:
      ValueError: if the port is taken.
    """
    address = jobs[job][index]
    try:
        server = tf.distribute.Server(
            tf.train.ClusterSpec(jobs), job_name=job, task_index=index, config=config
        )
    except tf.errors.OpError as error:
        raise ValueError(
            f"No server can be started at {address} ({job} {index} of TF_CONFIG): "
            "another process has that port, or the address is not this machine's."
        ) from error
    _running.append(server)
    return server.target


def join(task: Task, timeout_secs: float, is_synchronous: bool) -> str:
    """Starts the server of a worker with parameter servers, once these are there.

    If a process that it needs is lost and does not come back within half a minute,
    this process ends with one sentence: it may be waiting in a call that never returns.

    Args:
      task: the place of this process.
      timeout_secs: how long to wait for the parameter servers.
      is_synchronous: whether the workers need each other.

    Returns:
      The server's address, for sessions.

    Raises:
      ValueError: if they do not answer in time, or the port is taken.
    """
    target = start(task.jobs, task.job, task.index, configure_workers(task))
    peers = liveness.Peers(
        {f"parameter server {i}": a for i, a in enumerate(task.parameter_servers)}
    )
    silent = liveness.wait_until_up(peers, timeout_secs, logging.info)
    if silent:
        raise SettingError(
            f"{peers.describe(silent)} did not answer within {timeout_secs:.0f} s "
            "({{worker_timeout}}): start the same command there, or correct the "
            "address in TF_CONFIG."
        )
    if is_synchronous:
        others = {f"worker {i}": a for i, a in enumerate(task.workers)}
        del others[f"worker {task.index}"]
        peers = peers.join(others)
        liveness.wait_until_up(peers, timeout_secs, logging.info)
    monitor = liveness.Monitor(peers, None, lambda: _end(monitor.loss))
    return target


def _end(loss: str) -> None:
    """Ends the process as an entry script does, from any thread."""
    print(
        f"{os.path.basename(sys.argv[0])}: error: {loss}; training cannot go on "
        "without it. Run the same command on every machine again to resume from the "
        "last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def serve(task: Task, timeout_secs: float) -> None:
    """Serves variables as a parameter server until training has ended.

    Args:
      task: the place of this process.
      timeout_secs: how long to wait for the chief.

    Raises:
      ValueError: if the chief does not come in time, or the port is taken.
    """
    start(task.jobs, task.job, task.index, tf.ConfigProto())
    chief = liveness.Peers({"worker 0, the chief": task.workers[0]})
    if liveness.wait_until_up(chief, timeout_secs, logging.info):
        raise SettingError(
            f"The chief ({task.workers[0]}) did not answer within {timeout_secs:.0f} s "
            "({{worker_timeout}}): start it, or correct the address in TF_CONFIG."
        )
    logging.info("Serving variables until the chief ends.")
    answered = time.monotonic()
    while time.monotonic() - answered < liveness.SILENCE_SECS:
        if not chief.find_silent():
            answered = time.monotonic()
        time.sleep(liveness.PAUSE_SECS)
    logging.info("The chief has ended, and so does this parameter server.")


def configure_workers(task: Task) -> tf.ConfigProto:
    """Returns the session configuration of a worker with parameter servers.

    It sees the parameter servers and itself, so that other workers may come and go.
    """
    return tf.ConfigProto(device_filters=["/job:ps", f"/job:worker/task:{task.index}"])


def wait_for_servers(master: str) -> None:
    """Waits until a TensorFlow server and the cluster behind it answer.

    A session that is made earlier would wait forever, and ignore signals.

    Args:
      master: the server's address, such as "grpc://localhost:2222"; "" and "local" for
        this process, which needs no server.

    Raises:
      ValueError: if it is no address, or the servers do not answer: after about 6
        seconds if nothing accepts connections there, else after about a minute.
    """
    if master in ("", "local"):
        return
    match = re.fullmatch(r"grpc://\[?([^/\[\]]+)\]?:(\d{1,5})", master)
    if not match:
        raise SettingError(
            "{{master}} must be the address of a TensorFlow server, "
            f"grpc://HOST:PORT, but is {master!r}."
        )
    _connect(master, match[1], int(match[2]))
    logging.info("Waiting for the cluster of --master=%s.", master)
    # In a process of its own: a session that waits ignores signals and time limits.
    root = str(pathlib.Path(__file__).resolve().parents[2])
    try:
        subprocess.run(
            [sys.executable, "-c", _ASK, master, f"{_ANSWER_SECS + 10:.0f}"],
            cwd=root,
            capture_output=True,
            timeout=_ANSWER_SECS,
            check=True,
        )
        return
    except subprocess.SubprocessError as error:
        cause = error
    raise SettingError(
        f"The server {{{{master}}}}={master} accepts connections, but its cluster does "
        f"not answer within {_ANSWER_SECS:.0f} s: start all its servers (workers and "
        "parameter servers) first."
    ) from cause


def _connect(master: str, host: str, port: int) -> None:
    """Raises a ValueError unless the address accepts connections."""
    for attempt in range(_CONNECT_ATTEMPTS):
        if attempt:
            time.sleep(_CONNECT_SECS / 2)
        try:
            socket.create_connection((host, port), _CONNECT_SECS).close()
            return
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise SettingError(
        f"The server {{{{master}}}}={master} cannot be reached ({reason}): start it "
        "first, correct the address, or leave {{master}} out to train in this process."
    )
