"""Clones of one model on several devices, and one update from all of them.

A clone is one copy of the model function: the first creates the variables, the
others share them. Each clone works on its own batch, on its own device. The
losses are averaged over the clones, the gradients summed, so that n clones of
batch b take the same step as one clone of batch n*b (batch statistics aside:
each clone normalises by its own batch, and the moving averages follow the first
clone's).

    config = DeploymentConfig(num_clones=2, clone_on_cpu=True)
    with tf.device(config.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    clones = create_clones(config, model_fn, [iterator])
    total_loss, gradients = optimize_clones(clones, optimizer)
    update = optimizer.apply_gradients(gradients, global_step)

`deploy` does the whole of it in one call.

Where things lie, with `num_clones=2`:

| what | one machine | with parameter servers |
|---|---|---|
| variables | `/device:CPU:0` | `/job:ps/task:N/device:CPU:0`, in turn |
| clone 1 | `/device:GPU:1` | `/job:worker/device:GPU:1` |
| inputs, sum of gradients | `/device:CPU:0` | `/job:worker/device:CPU:0` |
"""

import collections

from tf_slim_compat import slim, tf

Clone = collections.namedtuple("Clone", ["outputs", "scope", "device"])
Clone.__doc__ = """One copy of the model.

`outputs` is what the model function returned, `scope` the name scope that it
was built in ('' or 'clone_0/'), `device` the device of its operations.
"""

DeployedModel = collections.namedtuple(
    "DeployedModel", ["train_op", "summary_op", "total_loss", "clones"]
)
DeployedModel.__doc__ = """A model with its update.

`train_op` and `total_loss` are None for a model that is not trained.
"""


class DeploymentConfig:
    """Where the clones, the variables and the inputs are placed.

    Args:
      num_clones: copies of the model in each replica, one to a GPU.
      clone_on_cpu: place every clone on the CPU.
      replica_id: which worker this is; 0 is the chief.
      num_replicas: how many workers train.
      num_ps_tasks: how many parameter servers hold the variables; 0 keeps them
        on the worker.
      worker_job_name: the workers' job in the cluster.
      ps_job_name: the parameter servers' job in the cluster.

    Raises:
      ValueError: if there are several replicas but no parameter server, or if
        `replica_id` is not one of the replicas.
    """

    def __init__(
        self,
        num_clones=1,
        clone_on_cpu=False,
        replica_id=0,
        num_replicas=1,
        num_ps_tasks=0,
        worker_job_name="worker",
        ps_job_name="ps",
    ):
        if num_clones < 1:
            raise ValueError(f"num_clones must be 1 or more, but is {num_clones}.")
        if num_replicas > 1 and num_ps_tasks < 1:
            raise ValueError(
                f"{num_replicas} replicas share their variables through parameter "
                "servers, but num_ps_tasks is 0: start one and set it to 1 or more."
            )
        if not 0 <= replica_id < num_replicas:
            raise ValueError(
                f"replica_id must be from 0 to {num_replicas - 1} with "
                f"{num_replicas} replica(s), but is {replica_id}."
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
    def num_clones(self):
        return self._num_clones

    @property
    def clone_on_cpu(self):
        return self._clone_on_cpu

    @property
    def replica_id(self):
        return self._replica_id

    @property
    def num_replicas(self):
        return self._num_replicas

    @property
    def num_ps_tasks(self):
        return self._num_ps_tasks

    @property
    def ps_device(self):
        return self._ps_device

    @property
    def worker_device(self):
        return self._worker_device

    def caching_device(self):
        """Where workers cache variables: beside each operation, or nowhere."""
        return (lambda op: op.device) if self._distributed else None

    def clone_device(self, clone_index):
        """The device of the operations of one clone, such as '/device:GPU:1'."""
        self._check_clone_index(clone_index)
        kind = "CPU:0" if self._clone_on_cpu else f"GPU:{clone_index}"
        return f"{self._worker_device}/device:{kind}"

    def clone_scope(self, clone_index):
        """The name scope of one clone: 'clone_1', or '' for an only clone."""
        self._check_clone_index(clone_index)
        return f"clone_{clone_index}" if self._num_clones > 1 else ""

    def optimizer_device(self):
        """Where gradients are summed and updates computed."""
        return f"{self._worker_device}/device:CPU:0"

    def inputs_device(self):
        """Where batches are read and preprocessed."""
        return f"{self._worker_device}/device:CPU:0"

    def variables_device(self):
        """A device function that spreads variables over the parameter servers."""
        if not self._distributed:
            return "/device:CPU:0"
        return slim.VariableDeviceChooser(
            num_tasks=self._num_ps_tasks, job_name=self._ps_job_name
        )

    def _check_clone_index(self, clone_index):
        if not 0 <= clone_index < self._num_clones:
            raise ValueError(
                f"clone_index must be from 0 to {self._num_clones - 1}, "
                f"but is {clone_index}."
            )


def choose_deployment(num_clones=1, clone_on_cpu=None, **kwargs):
    """A `DeploymentConfig` for this machine.

    Args:
      num_clones: see `DeploymentConfig`.
      clone_on_cpu: None places clones on GPUs where the machine has any, else on
        the CPU.
      **kwargs: further arguments of `DeploymentConfig`.

    Raises:
      ValueError: if the machine has GPUs, but fewer than clones.
    """
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    if clone_on_cpu is None:
        clone_on_cpu = num_gpus == 0
    if not clone_on_cpu and num_clones > num_gpus:
        raise ValueError(
            f"Each clone takes a GPU, but num_clones is {num_clones} and this machine "
            f"has {num_gpus}: set num_clones to at most {max(1, num_gpus)}, or "
            "clone_on_cpu."
        )
    return DeploymentConfig(num_clones, clone_on_cpu, **kwargs)


def build_session_config(deployment):
    """How sessions use the machine.

    On CPUs alone one operation runs at a time, with all cores to itself: 10 to
    20 % faster than several that compete for them. Input pipelines have threads
    of their own.
    """
    session_config = tf.ConfigProto(allow_soft_placement=True)
    session_config.gpu_options.allow_growth = True
    if deployment.clone_on_cpu and deployment.num_clones == 1:
        session_config.inter_op_parallelism_threads = 1
    return session_config


def create_clones(config, model_fn, args=None, kwargs=None):
    """Builds the model once for every clone; the variables are shared.

    Args:
      config: a `DeploymentConfig`.
      model_fn: builds the model, as `outputs = model_fn(*args, **kwargs)`. What
        it adds to the losses collection becomes its clone's loss.
      args: positional arguments for `model_fn`, or None.
      kwargs: keyword arguments for `model_fn`, or None.

    Returns:
      A list of `Clone`, one for each of `config.num_clones`.
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


def optimize_clones(clones, optimizer, regularization_losses=None, **kwargs):
    """The mean loss over the clones, and the gradients that lower it.

    Args:
      clones: what `create_clones` returned.
      optimizer: a `tf.train.Optimizer`.
      regularization_losses: scalars to add once; None takes the collection
        `REGULARIZATION_LOSSES`.
      **kwargs: passed to `optimizer.compute_gradients`, for instance
        `var_list`.

    Returns:
      `(total_loss, grads_and_vars)`: a float32 scalar, and the gradients summed
      over the clones with their variables, for `optimizer.apply_gradients`.

    Raises:
      ValueError: if no clone has a loss.
    """
    if regularization_losses is None:
        regularization_losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    losses, gradients = [], []
    for clone in clones:
        loss = _build_clone_loss(clone, len(clones), regularization_losses)
        if loss is None:
            continue
        with tf.device(clone.device):
            gradients.append(optimizer.compute_gradients(loss, **kwargs))
        losses.append(loss)
        # Once is enough: the weights are shared.
        regularization_losses = []
    if not losses:
        raise ValueError(
            "No clone has a loss: the model function must add one, for example "
            "with tf.losses.softmax_cross_entropy."
        )
    total_loss = tf.add_n(losses, name="total_loss")
    return total_loss, _sum_gradients(gradients)


def deploy(
    config, model_fn, args=None, kwargs=None, optimizer=None, summarize_gradients=False
):
    """Builds the clones and, given an optimizer, one update from all of them.

    Args:
      config: a `DeploymentConfig`.
      model_fn: see `create_clones`.
      args: positional arguments for `model_fn`, or None.
      kwargs: keyword arguments for `model_fn`, or None.
      optimizer: a `tf.train.Optimizer`, or None for a model that is not trained.
      summarize_gradients: whether to add a histogram and the norm of each
        gradient to the summaries.

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
            summaries.add(tf.summary.scalar("total_loss", total_loss))
        summary_op = tf.summary.merge(list(summaries)) if summaries else None
    return DeployedModel(train_op, summary_op, total_loss, clones)


def _build_clone_loss(clone, num_clones, regularization_losses):
    """This clone's share of the total loss on its device, or None."""
    with tf.device(clone.device):
        parts = []
        clone_losses = tf.get_collection(tf.GraphKeys.LOSSES, clone.scope)
        if clone_losses:
            loss = tf.add_n(clone_losses, name="clone_loss")
            if num_clones > 1:
                loss = tf.math.divide(loss, num_clones, name="scaled_clone_loss")
            parts.append(loss)
            tf.summary.scalar(f"{clone.scope}clone_loss".replace("/", "_"), loss)
        if regularization_losses:
            loss = tf.add_n(regularization_losses, name="regularization_loss")
            parts.append(loss)
            tf.summary.scalar("regularization_loss", loss)
        return tf.add_n(parts) if parts else None


def _sum_gradients(clone_gradients):
    """Adds the clones' gradients, variable by variable, without the missing."""
    summed = []
    for grads_and_vars in zip(*clone_gradients, strict=True):
        variable = grads_and_vars[0][1]
        gradients = [gradient for gradient, _ in grads_and_vars if gradient is not None]
        if len(gradients) > 1:
            name = f"{variable.op.name}/sum_grads"
            summed.append((tf.add_n(gradients, name=name), variable))
        elif gradients:
            summed.append((gradients[0], variable))
    return summed
