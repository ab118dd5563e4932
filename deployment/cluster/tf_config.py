"""The environment variable TF_CONFIG, which describes a cluster to each process.

    TF_CONFIG='{"cluster": {"worker": ["host1:2222", "host2:2222"]},
                "task": {"type": "worker", "index": 0}}'

Kubeflow's training operator, cloud trainers and TensorFlow's own strategies use it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

VARIABLE = "TF_CONFIG"
WORKER, PARAMETER_SERVER, EVALUATOR = "worker", "ps", "evaluator"
# The chief, by its name and the one that older trainers give it, is the first worker.
_CHIEFS = ("chief", "master")
_JOBS = (*_CHIEFS, WORKER, PARAMETER_SERVER, EVALUATOR)
_ADDRESS = re.compile(r"(\[[^\[\]]+\]|[^:/\s\[\]]+):(\d{1,5})")
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Task(NamedTuple):
    """The place of this process in a cluster.

    Attributes:
      job: `WORKER`, `PARAMETER_SERVER` or `EVALUATOR`.
      index: the index in the job; worker 0 is the chief.
      workers: addresses HOST:PORT of the workers that train.
      parameter_servers: addresses of the parameter servers.
    """

    job: str
    index: int
    workers: tuple[str, ...]
    parameter_servers: tuple[str, ...]

    @property
    def is_chief(self) -> bool:
        """Whether this process is worker 0."""
        return self.job == WORKER and self.index == 0

    @property
    def is_parameter_server(self) -> bool:
        """Whether this process only holds variables."""
        return self.job == PARAMETER_SERVER

    @property
    def is_evaluator(self) -> bool:
        """Whether this process evaluates what others train."""
        return self.job == EVALUATOR

    @property
    def jobs(self) -> dict[str, list[str]]:
        """The jobs that train, for `tf.train.ClusterSpec`."""
        jobs = {WORKER: self.workers, PARAMETER_SERVER: self.parameter_servers}
        return {job: list(addresses) for job, addresses in jobs.items() if addresses}


def read_task(environment: Mapping[str, str]) -> Task | None:
    """Returns the place that TF_CONFIG gives this process.

    Returns:
      The task; None if the variable is not set, or describes a process that trains
      alone.

    Raises:
      ValueError: if the variable is wrong.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _complain(f"is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise _complain("is not an object")
    cluster = _read_cluster(config.get("cluster") or {})
    if not cluster:
        return None
    job, index = _read_task(config.get("task"), cluster)
    workers = [a for name in (*_CHIEFS, WORKER) for a in cluster.get(name, ())]
    if job == WORKER:
        index += sum(len(cluster.get(name, ())) for name in _CHIEFS)
    servers = tuple(cluster.get(PARAMETER_SERVER, ()))
    if not workers:
        raise _complain("names no chief and no worker in its cluster")
    if job != EVALUATOR and len(workers) + len(servers) == 1:
        return None
    job = WORKER if job in _CHIEFS else job
    return Task(job, index, tuple(workers), servers)


def _read_cluster(cluster: Any) -> dict[str, list[str]]:
    """Returns the addresses by job."""
    if not isinstance(cluster, dict):
        raise _complain("has a cluster that is not an object")
    found = {}
    for job, addresses in cluster.items():
        if job not in _JOBS:
            raise _complain(f"has the job {job!r}; known are {', '.join(_JOBS)}")
        if isinstance(addresses, dict):  # Some give only the tasks in use, by index.
            addresses = [addresses[key] for key in sorted(addresses, key=int)]
        if not isinstance(addresses, list):
            raise _complain(f"does not list the addresses of the job {job!r}")
        found[job] = [_check_address(job, address) for address in addresses]
    if len([a for name in _CHIEFS for a in found.get(name, ())]) > 1:
        raise _complain("has more than one chief")
    known = [a for job, all_ in found.items() if job != EVALUATOR for a in all_]
    for address in known:
        if known.count(address) > 1:
            raise _complain(f"gives the address {address} to two processes")
    return found


def _check_address(job: str, address: Any) -> str:
    match = isinstance(address, str) and _ADDRESS.fullmatch(address)
    if not match or not 0 < int(match[2]) < 2**16:
        raise _complain(f"has {address!r} in the job {job!r}, which is not HOST:PORT")
    return address


def _read_task(task: Any, cluster: Mapping[str, list[str]]) -> tuple[str, int]:
    """Returns the job of this process and its index there."""
    if not isinstance(task, dict) or "type" not in task:
        raise _complain("does not say which task this process is")
    job, index = task["type"], task.get("index", 0)
    if job not in _JOBS:
        raise _complain(f"has a task of type {job!r}; known are {', '.join(_JOBS)}")
    try:
        index = int(index)
    except (TypeError, ValueError) as error:
        raise _complain(f"has the task index {index!r}") from error
    # The evaluator takes no part in the cluster.
    count = len(cluster.get(job, ())) or int(job == EVALUATOR)
    if not 0 <= index < count:
        raise _complain(
            f"makes this process task {index} of the job {job!r}, which has {count}"
        )
    return job, index


def _complain(what: str) -> ValueError:
    return ValueError(
        f"The environment variable {VARIABLE} {what}. It must be such as {_EXAMPLE}; "
        f"unset it to train in this process alone."
    )
