"""The settings of clones and of processes that train together."""

import dataclasses
from typing import NamedTuple

from absl import logging

from deployment import model_deploy, ranges
from deployment.cluster import servers, tf_config
from deployment.cluster.workers import Workers
from deployment.config_flags import SettingError, setting
from deployment.durations import Duration, parse_duration

AUTO, ALL_REDUCE, PARAMETER_SERVER = "auto", "all_reduce", "parameter_server"


class Placement(NamedTuple):
    """Where a process trains.

    Attributes:
      deployment: the devices of clones and variables.
      master: address of the TensorFlow server; "" for this process.
      workers: the workers that train together by all-reduce; None if there are none.
      task: the place in the cluster that TF_CONFIG gave; None if it was not used.
    """

    deployment: model_deploy.DeploymentConfig
    master: str = ""
    workers: Workers | None = None
    task: tf_config.Task | None = None


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
    distribution: str = setting(
        AUTO,
        "How the processes of TF_CONFIG train together: all_reduce (synchronously, "
        "each with all variables) or parameter_server. auto: parameter_server if "
        "TF_CONFIG has a job ps, else all_reduce.",
        choices=(AUTO, ALL_REDUCE, PARAMETER_SERVER),
    )
    worker_timeout: Duration = setting(
        Duration(600, "secs"),
        "How long workers wait for each other at the start, and how long a step, an "
        "evaluation or an export may take, before all stop; workers that died or froze "
        "are noticed within half a minute.",
        kind=str,
        flag_default="10mins",
        parse=lambda text: parse_duration(text, "--worker_timeout"),
    )
    worker_replicas: int = setting(
        1, "Number of workers that train together, with --master."
    )
    num_ps_tasks: int = setting(
        0,
        "Number of parameter servers, with --master; 0 keeps variables on the worker.",
    )

    def __post_init__(self):
        ranges.check(
            self,
            num_clones=ranges.AT_LEAST_ONE,
            worker_replicas=ranges.AT_LEAST_ONE,
            num_ps_tasks=ranges.AT_LEAST_ZERO,
        )
        if not self.worker_timeout.is_time or not self.worker_timeout.value:
            raise SettingError(
                "{{worker_timeout}} must be a time above 0, such as 10mins, but is "
                f"{self.worker_timeout}."
            )
        if self.worker_replicas > 1 and not self.num_ps_tasks:
            raise SettingError(
                f"{self.worker_replicas} workers ({{{{worker_replicas}}}}) need "
                "parameter servers to share variables, but {{num_ps_tasks}} is 0: "
                "start a server and set it to 1 or more. Workers without parameter "
                "servers are given by TF_CONFIG."
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
        servers.wait_for_servers(master)
        return model_deploy.choose_deployment(
            num_clones=self.num_clones,
            clone_on_cpu=self.clone_on_cpu,
            replica_id=worker,
            num_replicas=self.worker_replicas,
            num_ps_tasks=self.num_ps_tasks,
        )

    def join(
        self,
        worker: int,
        master: str,
        task: tf_config.Task | None = None,
        is_synchronous: bool = False,
    ) -> Placement:
        """Joins the cluster that flags or TF_CONFIG describe.

        Args:
          worker: index of this worker, if the flags describe the cluster.
          master: address of this worker's server; "" for none.
          task: what TF_CONFIG says, a worker; None if nothing. The flags take
            precedence.
          is_synchronous: whether workers with parameter servers need each other.

        Raises:
          ValueError: see `deploy`; or if other processes do not answer.
        """
        if task is not None and task.is_evaluator:
            return Placement(self.deploy(0, ""), task=task)
        if task is not None and (master or self.num_ps_tasks):
            logging.warning(
                "TF_CONFIG is not used: --master and --num_ps_tasks take precedence."
            )
            task = None
        if task is None:
            if self.distribution != AUTO:
                raise SettingError(
                    f"{{{{distribution}}}}={self.distribution} needs the environment "
                    "variable TF_CONFIG, which names the processes: set it, or use "
                    "scripts/train_cluster.sh."
                )
            return Placement(self.deploy(worker, master), master)
        if self._uses_parameter_servers(task):
            return self._join_parameter_servers(task, is_synchronous)
        deployment = model_deploy.choose_deployment(self.num_clones, self.clone_on_cpu)
        workers = Workers(task.workers, task.index, self.worker_timeout.value)
        workers.start()
        return Placement(deployment, workers=workers, task=task)

    def _uses_parameter_servers(self, task):
        if self.distribution == PARAMETER_SERVER and not task.parameter_servers:
            raise SettingError(
                "{{distribution}}=parameter_server needs parameter servers, but "
                "TF_CONFIG has no job ps: add one, or use all_reduce."
            )
        if self.distribution == ALL_REDUCE and task.parameter_servers:
            raise SettingError(
                "{{distribution}}=all_reduce uses no parameter servers, but TF_CONFIG "
                "has the job ps: remove it, or use parameter_server."
            )
        return bool(task.parameter_servers)

    def _join_parameter_servers(self, task, is_synchronous):
        master = servers.join(task, self.worker_timeout.value, is_synchronous)
        deployment = model_deploy.choose_deployment(
            num_clones=self.num_clones,
            clone_on_cpu=self.clone_on_cpu,
            replica_id=task.index,
            num_replicas=len(task.workers),
            num_ps_tasks=len(task.parameter_servers),
        )
        return Placement(deployment, master, task=task)
