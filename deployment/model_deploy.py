"""Deploys clones of a model on several devices, with one update from all of them.

A clone is one copy of the model function: the first one creates the variables, the
others share them. Each clone processes its own batch on its own device. Losses are
averaged and gradients are summed over the clones, so n clones with batches of b take
the same step as one clone with a batch of n*b. Batch normalization is the exception:
each clone normalizes with the statistics of its own batch, and the moving averages
follow those of the first clone.

    config = DeploymentConfig(num_clones=2, clone_on_cpu=True)
    with tf.device(config.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    clones = create_clones(config, model_fn, [iterator])
    total_loss, gradients = optimize_clones(clones, optimizer)
    update = optimizer.apply_gradients(gradients, global_step)

`deploy` does all of this. Devices with `num_clones=2`:

| what | one machine | with parameter servers |
|---|---|---|
| variables | `/device:CPU:0` | `/job:ps/task:N/device:CPU:0`, round-robin |
| clone 1 | `/device:GPU:1` | `/job:worker/device:GPU:1` |
| inputs, sum of gradients | `/device:CPU:0` | `/job:worker/device:CPU:0` |
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deployment.config_flags import SettingError
from tf_slim_compat import slim, tf


class Clone(NamedTuple):
    """One copy of the model.

    Attributes:
      outputs: what the model function returned.
      scope: name scope that the copy was built in, '' or such as 'clone_0/'.
      device: device of its operations.
    """

    outputs: Any
    scope: str
    device: str


class DeployedModel(NamedTuple):
    """A model with its update.

    Attributes:
      train_op: runs one update and returns the total loss; None without an optimizer.
      summary_op: serialized summaries, a string scalar; None if there are none.
      total_loss: float32 scalar; None if no clone has a loss.
      clones: the clones.
    """

    train_op: tf.Tensor | None
    summary_op: tf.Tensor | None
    total_loss: tf.Tensor | None
    clones: list[Clone]


class DeploymentConfig:
    """Devices of the clones, the variables and the inputs.

    Args:
      num_clones: copies of the model in each replica, one per GPU.
      clone_on_cpu: whether to place all clones on the CPU.
      replica_id: index of this worker; 0 is the chief.
      num_replicas: number of workers.
      num_ps_tasks: number of parameter servers that hold the variables; 0 keeps them
        on the worker.
      worker_job_name: name of the workers' job in the cluster.
      ps_job_name: name of the parameter servers' job in the cluster.

    Raises:
      ValueError: if there is no clone, if there are several replicas but no parameter
        server, or if `replica_id` is out of range.
    """

    def __init__(
        self,
        num_clones: int = 1,
        clone_on_cpu: bool = False,
        replica_id: int = 0,
        num_replicas: int = 1,
        num_ps_tasks: int = 0,
        worker_job_name: str = "worker",
        ps_job_name: str = "ps",
    ) -> None:
        if num_clones < 1:
            raise ValueError(f"num_clones must be 1 or more, but is {num_clones}.")
        if num_replicas > 1 and num_ps_tasks < 1:
            raise ValueError(
                f"{num_replicas} replicas need parameter servers to share variables, "
                "but num_ps_tasks is 0: start a server and set it to 1 or more."
            )
        if not 0 <= replica_id < num_replicas:
            raise ValueError(
                f"replica_id must be from 0 to {num_replicas - 1} when num_replicas "
                f"is {num_replicas}, but is {replica_id}."
            )
        self._num_clones = num_clones
        self._clone_on_cpu = clone_on_cpu
        self._replica_id = replica_id
        self._num_replicas = num_replicas
        self._num_ps_tasks = num_ps_tasks
        self._distributed = num_ps_tasks > 0
        self._ps_device = f"/job:{ps_job_name}" if self._distributed else ""
        self._worker_device = f"/job:{worker_job_name}" if self._distributed else ""
        self._ps_job_name = ps_job_name

    @property
    def num_clones(self) -> int:
        return self._num_clones

    @property
    def clone_on_cpu(self) -> bool:
        return self._clone_on_cpu

    @property
    def replica_id(self) -> int:
        return self._replica_id

    @property
    def num_replicas(self) -> int:
        return self._num_replicas

    @property
    def num_ps_tasks(self) -> int:
        return self._num_ps_tasks

    @property
    def ps_device(self) -> str:
        return self._ps_device

    @property
    def worker_device(self) -> str:
        return self._worker_device

    def caching_device(self) -> Callable[[tf.Operation], str] | None:
        """Returns the device function of cached variables; None for no caching."""
        return (lambda op: op.device) if self._distributed else None

    def clone_device(self, clone_index: int) -> str:
        """Returns the device of a clone's operations, such as '/device:GPU:1'."""
        self._check_clone_index(clone_index)
        kind = "CPU:0" if self._clone_on_cpu else f"GPU:{clone_index}"
        return f"{self._worker_device}/device:{kind}"

    def clone_scope(self, clone_index: int) -> str:
        """Returns the name scope of a clone: 'clone_1', or '' for a single clone."""
        self._check_clone_index(clone_index)
        return f"clone_{clone_index}" if self._num_clones > 1 else ""

    def optimizer_device(self) -> str:
        """Returns the device that sums gradients and computes updates."""
        return f"{self._worker_device}/device:CPU:0"

    def inputs_device(self) -> str:
        """Returns the device that reads and preprocesses batches."""
        return f"{self._worker_device}/device:CPU:0"

    def variables_device(self) -> str | Callable[[tf.Operation], str]:
        """Returns the device of the variables.

        With parameter servers it is a function that assigns variables round-robin.
        """
        if not self._distributed:
            return "/device:CPU:0"
        return slim.VariableDeviceChooser(
            num_tasks=self._num_ps_tasks, job_name=self._ps_job_name
        )

    def _check_clone_index(self, clone_index: int) -> None:
        if not 0 <= clone_index < self._num_clones:
            raise ValueError(
                f"clone_index must be from 0 to {self._num_clones - 1}, "
                f"but is {clone_index}."
            )


def choose_deployment(
    num_clones: int = 1, clone_on_cpu: bool | None = None, **kwargs: Any
) -> DeploymentConfig:
    """Returns a `DeploymentConfig` for this machine.

    Args:
      num_clones: see `DeploymentConfig`.
      clone_on_cpu: None places the clones on GPUs if the machine has any, else on the
        CPU.
      **kwargs: further arguments of `DeploymentConfig`.

    Raises:
      ValueError: if the clones are on GPUs and the machine has too few.
    """
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    if clone_on_cpu is None:
        clone_on_cpu = num_gpus == 0
    if not clone_on_cpu and num_clones > num_gpus:
        raise SettingError(
            f"Each clone needs a GPU, but {{{{num_clones}}}} is {num_clones} and this "
            f"machine has {num_gpus}: set {{{{num_clones}}}} to at most "
            f"{max(1, num_gpus)}, or set {{{{clone_on_cpu}}}}."
        )
    return DeploymentConfig(num_clones, clone_on_cpu, **kwargs)


def build_session_config(deployment: DeploymentConfig) -> tf.ConfigProto:
    """Returns the configuration of sessions.

    A single clone on the CPU runs one operation at a time on all cores, which is 10 to
    20 % faster than several operations that compete for them. Input pipelines have
    their own threads.
    """
    session_config = tf.ConfigProto(allow_soft_placement=True)
    session_config.gpu_options.allow_growth = True
    if deployment.clone_on_cpu and deployment.num_clones == 1:
        session_config.inter_op_parallelism_threads = 1
    return session_config


def create_clones(
    config: DeploymentConfig,
    model_fn: Callable[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> list[Clone]:
    """Builds the clones of a model, which share their variables.

    Args:
      config: a `DeploymentConfig`.
      model_fn: builds the model: `outputs = model_fn(*args, **kwargs)`. The losses
        that it adds to the losses collection are those of its clone.
      args: positional arguments of `model_fn`, or None.
      kwargs: keyword arguments of `model_fn`, or None.

    Returns:
      `config.num_clones` clones.
    """
    clones = []
    variable_fns = [slim.model_variable, slim.variable]
    with slim.arg_scope(variable_fns, device=config.variables_device()):
        for index in range(config.num_clones):
            reuse = True if index else None
            with (
                tf.name_scope(config.clone_scope(index)) as scope,
                tf.device(config.clone_device(index)),
                tf.variable_scope(tf.get_variable_scope(), reuse=reuse),
            ):
                outputs = model_fn(*(args or ()), **(kwargs or {}))
                clones.append(Clone(outputs, scope, config.clone_device(index)))
    return clones


def optimize_clones(
    clones: Sequence[Clone],
    optimizer: tf.train.Optimizer,
    regularization_losses: Sequence[tf.Tensor] | None = None,
    **kwargs: Any,
) -> tuple[tf.Tensor, list[tuple[Any, tf.Variable]]]:
    """Computes the total loss and its gradients.

    Args:
      clones: what `create_clones` returned.
      optimizer: a `tf.train.Optimizer`.
      regularization_losses: scalars that are added once; None uses the collection
        `REGULARIZATION_LOSSES`.
      **kwargs: arguments of `optimizer.compute_gradients`, such as `var_list`.

    Returns:
      `(total_loss, grads_and_vars)`: the mean loss of the clones plus regularization,
      a float32 scalar, and the gradients summed over the clones with their variables,
      for `optimizer.apply_gradients`.

    Raises:
      ValueError: if no clone has a loss.
    """
    losses, gradients = [], []
    for clone, loss in _build_clone_losses(clones, regularization_losses):
        with tf.device(clone.device):
            gradients.append(optimizer.compute_gradients(loss, **kwargs))
        losses.append(loss)
    if not losses:
        raise ValueError(
            "No clone has a loss: add one in the model function, for example with "
            "tf.losses.softmax_cross_entropy."
        )
    total_loss = tf.add_n(losses, name="total_loss")
    return total_loss, _sum_gradients(gradients, [clone.device for clone in clones])


def deploy(
    config: DeploymentConfig,
    model_fn: Callable[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    optimizer: tf.train.Optimizer | None = None,
    summarize_gradients: bool = False,
) -> DeployedModel:
    """Builds the clones and, with an optimizer, one update from all of them.

    Args:
      config: a `DeploymentConfig`.
      model_fn: see `create_clones`.
      args: see `create_clones`.
      kwargs: see `create_clones`.
      optimizer: a `tf.train.Optimizer`; None for a model that is not trained.
      summarize_gradients: whether to add a histogram and the norm of each gradient to
        the summaries.

    Returns:
      A `DeployedModel`.
    """
    summaries = set(tf.get_collection(tf.GraphKeys.SUMMARIES))
    with tf.device(config.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    clones = create_clones(config, model_fn, args, kwargs)
    first_scope = clones[0].scope
    update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS, first_scope)
    summaries |= set(tf.get_collection(tf.GraphKeys.SUMMARIES, first_scope))

    train_op = total_loss = None
    with tf.device(config.optimizer_device()):
        if optimizer is not None:
            total_loss, gradients = optimize_clones(clones, optimizer)
            if summarize_gradients:
                summaries |= set(slim.learning.add_gradients_summaries(gradients))
            update_ops.append(optimizer.apply_gradients(gradients, global_step))
            with tf.control_dependencies(update_ops):
                train_op = tf.identity(total_loss, name="train_op")
        elif losses := [loss for _, loss in _build_clone_losses(clones)]:
            total_loss = tf.add_n(losses, name="total_loss")
        if total_loss is not None:
            summaries.add(tf.summary.scalar("total_loss", total_loss))
    summary_op = None
    if summaries:
        summary_op = tf.summary.merge(list(summaries), name="summary_op")
    return DeployedModel(train_op, summary_op, total_loss, clones)


def _build_clone_losses(
    clones: Sequence[Clone], regularization_losses: Sequence[tf.Tensor] | None = None
) -> Iterator[tuple[Clone, tf.Tensor]]:
    """Yields each clone that has a loss, and what it contributes to the total loss."""
    if regularization_losses is None:
        regularization_losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    for clone in clones:
        with tf.device(clone.device):
            parts = []
            clone_losses = tf.get_collection(tf.GraphKeys.LOSSES, clone.scope)
            if clone_losses:
                loss = tf.add_n(clone_losses, name="clone_loss")
                if len(clones) > 1:
                    loss = tf.math.divide(loss, len(clones), name="scaled_clone_loss")
                parts.append(loss)
                tf.summary.scalar(f"{clone.scope}clone_loss".replace("/", "_"), loss)
            if regularization_losses:
                loss = tf.add_n(regularization_losses, name="regularization_loss")
                parts.append(loss)
                tf.summary.scalar("regularization_loss", loss)
            total = tf.add_n(parts) if parts else None
        if parts:
            # The weights are shared, so they are regularized once.
            regularization_losses = []
            yield clone, total


def _sum_gradients(
    clone_gradients: Sequence[list[tuple[Any, tf.Variable]]], devices: Sequence[str]
) -> list[tuple[Any, tf.Variable]]:
    """Sums the clones' gradients of each variable; None gradients are left out."""
    summed = []
    for grads_and_vars in zip(*clone_gradients, strict=True):
        variable = grads_and_vars[0][1]
        gradients = [gradient for gradient, _ in grads_and_vars if gradient is not None]
        if len(gradients) > 1:
            name = f"{variable.op.name}/sum_grads"
            summed.append((_add(gradients, devices, name), variable))
        elif gradients:
            summed.append((gradients[0], variable))
    return summed


def _add(gradients: Sequence[Any], devices: Sequence[str], name: str) -> tf.Tensor:
    """Adds one gradient of each clone; those of several GPUs on the first one."""
    are_dense = all(isinstance(gradient, tf.Tensor) for gradient in gradients)
    # NCCL needs one gradient from each GPU, and cannot leave this machine.
    on_gpus = all(device.startswith("/device:GPU:") for device in devices)
    if not (are_dense and on_gpus and len(gradients) == len(devices)):
        return tf.add_n(gradients, name=name)
    from tensorflow.python.ops import nccl_ops

    on_clones = []
    for gradient, device in zip(gradients, devices, strict=True):
        with tf.device(device):
            on_clones.append(tf.identity(gradient))
    with tf.device(devices[0]):
        return tf.identity(nccl_ops.reduce_sum(on_clones), name=name)
