"""Several processes that train together: their places, servers and communication."""

from deployment.cluster.config import ClusterConfig, Placement
from deployment.cluster.liveness import LostWorkerError
from deployment.cluster.servers import serve, wait_for_servers
from deployment.cluster.tf_config import Task, read_task
from deployment.cluster.workers import Workers

__all__ = [
    "ClusterConfig",
    "LostWorkerError",
    "Placement",
    "Task",
    "Workers",
    "read_task",
    "serve",
    "wait_for_servers",
]
