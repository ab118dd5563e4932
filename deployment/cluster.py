"""The clones and workers that train together, and the servers that they need."""

import dataclasses
import os
import re
import socket
import subprocess
import sys
import time

from absl import logging

from deployment import model_deploy, ranges
from deployment.config_flags import SettingError, setting

_CONNECT_ATTEMPTS = 3
_CONNECT_SECS = 2.0
_ANSWER_SECS = 60.0
# Its alarm ends it even if this process ends first.
_ASK = """import signal, sys

signal.alarm(int(sys.argv[2]))
from tf_slim_compat import tf

with tf.Graph().as_default(), tf.Session(sys.argv[1]) as session:
    session.run(tf.no_op())
"""


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
    """The clones and workers that train together.

    What the fields mean is said where their flags are defined.

    Raises:
      ValueError: if a number is out of range.
    """

    num_clones: int = setting(
        1, "Copies of the network, one per GPU, each with its own batch."
    )
    clone_on_cpu: bool | None = setting(
        None, "Whether clones run on the CPU. If unset, when there is no GPU."
    )
    worker_replicas: int = setting(1, "Number of workers that train together.")
    num_ps_tasks: int = setting(
        0, "Number of parameter servers; 0 keeps variables on the worker."
    )

    def __post_init__(self):
        ranges.check(
            self,
            num_clones=ranges.AT_LEAST_ONE,
            worker_replicas=ranges.AT_LEAST_ONE,
            num_ps_tasks=ranges.AT_LEAST_ZERO,
        )
        if self.worker_replicas > 1 and not self.num_ps_tasks:
            raise SettingError(
                f"{self.worker_replicas} workers ({{{{worker_replicas}}}}) need "
                "parameter servers to share variables, but {{num_ps_tasks}} is 0: "
                "start a server and set it to 1 or more."
            )

    def deploy(self, worker: int, master: str) -> model_deploy.DeploymentConfig:
        """Returns the deployment on this machine, once the servers answer.

        Args:
          worker: index of this worker.
          master: address of this worker's server; "" for this process.

        Raises:
          ValueError: if there are fewer workers or GPUs, parameter servers are used
            without `master`, or the servers do not answer.
        """
        if worker >= self.worker_replicas:
            raise SettingError(
                f"The index of this worker, --task={worker}, must be below the number "
                f"of workers, {{{{worker_replicas}}}}={self.worker_replicas}: correct "
                "one of the two."
            )
        if self.num_ps_tasks and not master:
            raise SettingError(
                f"{{{{num_ps_tasks}}}}={self.num_ps_tasks} needs the address of this "
                "worker's server: give {{master}}=grpc://HOST:PORT."
            )
        wait_for_servers(master)
        return model_deploy.choose_deployment(
            num_clones=self.num_clones,
            clone_on_cpu=self.clone_on_cpu,
            replica_id=worker,
            num_replicas=self.worker_replicas,
            num_ps_tasks=self.num_ps_tasks,
        )


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
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
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
