"""The training step: clones and their losses, gradients, update, in that order.

`build_training_graph` adds all of it to the default graph; `loop.py` runs it.
"""

import collections
import functools
import itertools
from collections.abc import Callable

from deployment import model_deploy, quantize, tasks
from deployment.models import restoring
from deployment.optimize import (
    gradients,
    learning_rates,
    loss_scale,
    optimizers,
)
from deployment.train import (
    gpu,
    layer_modes,
    mixing,
    replicas,
    summaries,
    time_budget,
)
from deployment.train.config import TrainingConfig
from tf_slim_compat import slim, tf

# Weight of an auxiliary classifier's loss, as of Inception v3 (Szegedy et al. 2014,
# arXiv:1409.4842, section 5, used 0.3).
_AUXILIARY_LOSS_WEIGHT = 0.4

TrainingGraph = collections.namedtuple(
    "TrainingGraph",
    [
        "train_op",
        "loss",
        "step_after",
        "learning_rate",
        "batch_metric",
        "waited_secs",
        "global_step",
        "health",
        "health_names",
        "overflowed",
        "loss_names",
        "accumulate_op",
        "trained",
        "averages",
        "summary_op",
        "sync_optimizer",
        "broadcast_op",
    ],
)
TrainingGraph.__doc__ = """What a training loop runs.

`train_op` takes a step and returns the total loss, a float32 scalar; `loss` is the part
of it that validation measures as well, without regularization and auxiliary
classifiers; `step_after` is the global step after it; `batch_metric` is the task's
metric of the batch and `waited_secs` the time that the step waited for its batch, float
scalars. `health` is a float32 vector that is finite in a sound step, and `health_names`
names its elements; `overflowed`, a bool scalar or None, is whether a loss scale made
gradients overflow, which `health` does not show. `loss_names` names the operations of
those that are losses of the first clone, which come first. `accumulate_op`, or None,
adds a batch's gradients to those of the next step and returns its total loss. `trained`
lists the trained variables, `averages` is the `tf.train.ExponentialMovingAverage` of
the weights or None. `summary_op` computes histograms, or is None; `sync_optimizer` is
None unless replicas with parameter servers are synchronous; `broadcast_op` sets the
variables of all workers to the chief's, or is None.
"""

_CloneOutputs = collections.namedtuple(
    "_CloneOutputs", ["end_points", "loss", "batch_metric", "waited_secs"]
)


def build_training_graph(
    config: TrainingConfig,
    network_fn: Callable[[tf.Tensor], tuple[tf.Tensor, dict[str, tf.Tensor]]],
    build_batches: Callable[[], "tf.data.Dataset"],
) -> TrainingGraph:
    """Adds a training run to the default graph.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: adds the input and returns a `tf.data.Dataset` of
        `(images, labels)`.

    Raises:
      ValueError: if a scope of the configuration matches no variable, or the task has
        no use for an option of the loss.
    """
    deployment = config.deployment
    tasks.get_task(config.spec.task).check_options(config.loss_options)
    with tf.device(deployment.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    with tf.device(deployment.inputs_device()):
        next_batch_fn = gpu.build_batch_source(deployment, build_batches())

    # Clones: each takes a batch through the network and computes its losses.
    batch_number = _build_batch_number(config, global_step)
    with layer_modes.in_training(config, global_step, batch_number):
        clones = model_deploy.create_clones(
            deployment,
            _build_clone,
            [config, network_fn, next_batch_fn, batch_number, itertools.count()],
        )

    if config.quantize_delay >= 0:
        _quantize(config)

    # Gradients and update.
    with tf.device(deployment.optimizer_device()):
        learning_rate = learning_rates.build_learning_rate(
            config.schedule,
            global_step,
            **config.schedule_scale,
            number_of_steps=config.number_of_steps,
            progress=time_budget.build_progress(config.clock),
        )
    trained = get_variables_to_train(config.trainable_scopes)
    update = _build_update(config, clones, trained, learning_rate, global_step)

    # What is reported.
    with tf.device(deployment.optimizer_device()):
        outputs = [clone.outputs for clone in clones]
        loss = tf.add_n([o.loss for o in outputs]) / len(outputs)
        batch_metric = tf.add_n([o.batch_metric for o in outputs]) / len(outputs)
        if config.workers is not None:
            loss, batch_metric = config.workers.collectives.average_all(
                [loss, batch_metric]
            )
        waited_secs = tf.reduce_max(tf.stack([o.waited_secs for o in outputs]))
        with tf.control_dependencies([update["train_op"]]):
            step_after = tf.identity(global_step.read_value(), name="step_after")
        summary_op = None
        if config.save_summaries_secs > 0:  # Takes a third of the time to build.
            summary_op = summaries.build_summaries(clones[0], outputs[0].end_points)
    return TrainingGraph(
        broadcast_op=replicas.build_broadcast(config.workers),
        loss=loss,
        step_after=step_after,
        learning_rate=learning_rate,
        batch_metric=batch_metric,
        waited_secs=waited_secs,
        global_step=global_step,
        summary_op=summary_op,
        trained=trained,
        **update,
    )


def get_variables_to_train(trainable_scopes: str | None) -> list[tf.Variable]:
    """Returns the trainable variables within comma-separated scopes (None: all).

    Raises:
      ValueError: if a scope matches no variable.
    """
    variables = tf.trainable_variables()
    scopes = restoring.split_scopes(trainable_scopes)
    if not scopes:
        return variables
    return restoring.get_variables_in_scopes(
        variables, scopes, flag_name="--trainable_scopes"
    )


def _build_batch_number(config, global_step):
    """Returns the number of the batch, which seeds dropout and mixing.

    It is the global step, except where gradients accumulate over several batches, or
    several workers have one each.
    """
    number = tf.cast(global_step, tf.int64)
    if config.gradient_accumulation_steps > 1:
        number = number * config.gradient_accumulation_steps + _get_batch_in_step()
    if config.workers is None:
        return number
    return number * len(config.workers) + config.workers.index


def _build_clone(config, network_fn, next_batch_fn, batch_number, clone_numbers):
    """Builds one clone: a batch through the network, and its losses."""
    task, options = tasks.get_task(config.spec.task), config.loss_options
    clone_number = next(clone_numbers)
    with tf.device(config.deployment.inputs_device()):
        next_batch_fn = functools.partial(
            next_batch_fn, config.deployment.clone_device(clone_number)
        )
        images, labels, waited_secs = _build_next_batch(config, next_batch_fn)
    targets = task.build_targets(labels, config.spec)
    if config.mixup_alpha or config.cutmix_alpha:
        number = batch_number * config.deployment.num_clones + clone_number
        images, targets = mixing.mix(
            images,
            targets,
            mixup_alpha=config.mixup_alpha,
            cutmix_alpha=config.cutmix_alpha,
            seed=tf.stack([tf.constant(config.seed or 0, tf.int64), number]),
        )
    logits, end_points = network_fn(images)
    if "AuxLogits" in end_points:
        task.build_loss(
            targets,
            end_points["AuxLogits"],
            options,
            weight=_AUXILIARY_LOSS_WEIGHT,
            scope="aux_loss",
        )
    num_others = len(tf.get_collection(tf.GraphKeys.LOSSES))
    task.build_loss(targets, logits, options)
    loss = tf.add_n(tf.get_collection(tf.GraphKeys.LOSSES)[num_others:])
    batch_metric = task.build_batch_metric(targets, logits, config.spec)
    return _CloneOutputs(end_points, loss, batch_metric, waited_secs)


def _quantize(config):
    """Adds fake quantization to all clones, which share its ranges."""
    # Its counter counts batches.
    batches_per_step = config.gradient_accumulation_steps
    freeze_delay = config.quantize_freeze_bn_delay
    quantize.experimental_create_training_graph(
        quant_delay=config.quantize_delay * batches_per_step,
        freeze_bn_delay=freeze_delay and freeze_delay * batches_per_step,
        symmetric_weights=True,  # Integer kernels have no others.
        per_channel=config.quantize_per_channel,
    )


def _build_next_batch(config, next_batch_fn):
    """Returns the next images and labels, and the seconds spent waiting for them."""
    if config.deterministic:  # Rules out clocks.
        return *next_batch_fn(), tf.constant(0.0, tf.float64)
    before = tf.timestamp()
    with tf.control_dependencies([before]):
        images, labels = next_batch_fn()
    with tf.control_dependencies([images, labels]):
        after = tf.timestamp()
    # Without this, the clock may be read much later.
    with tf.control_dependencies([after]), tf.device(images.device):
        return tf.identity(images), tf.identity(labels), after - before


def _build_update(config, clones, trained, learning_rate, global_step):
    """Adds the update from all clones' gradients to the graph.

    In this order: gradients are averaged over accumulated batches, clipped by value,
    then by norm; the optimizer applies them; the moving averages of the weights follow.

    Returns:
      A dict of the fields of `TrainingGraph` that are made here.
    """
    optimizers.check_factors(config.optimizer, trained)
    with tf.device(config.deployment.optimizer_device()):
        averages = _build_moving_averages(config, global_step)
        optimizer = _build_optimizer(config, learning_rate, averages)
    total_loss, pairs = model_deploy.optimize_clones(
        clones, optimizer, var_list=trained
    )
    if config.workers is not None:
        total_loss = config.workers.collectives.average(total_loss)
    updated = replicas.find_updated_variables()
    # The moving statistics of batch normalization are those of the first clone.
    statistics = tf.get_collection(tf.GraphKeys.UPDATE_OPS, clones[0].scope)
    with tf.device(config.deployment.optimizer_device()):
        accumulate_op, accumulator = None, None
        if config.gradient_accumulation_steps > 1:
            accumulator = gradients.Accumulator(
                pairs, config.gradient_accumulation_steps
            )
            accumulate_op = _build_accumulate_op(accumulator, statistics, total_loss)
            pairs = accumulator.mean_gradients
        if config.workers is not None:
            pairs = config.workers.collectives.average_gradients(pairs)
            statistics = [
                replicas.average_statistics(
                    config.workers.collectives, statistics, updated
                )
            ]
        health, health_names = _build_health(clones, total_loss, pairs)
        losses = tf.get_collection(tf.GraphKeys.LOSSES, clones[0].scope)
        pairs = gradients.clip(
            pairs, config.clip_gradient_norm, config.clip_gradient_value
        )
        applied = _build_guarded_update(config, optimizer, pairs, global_step, health)
        overflowed = None
        if isinstance(optimizer, loss_scale.LossScaleOptimizer):
            overflowed, scale_op = optimizer.build_scale_update(health, len(pairs))
            applied = tf.group(applied, scale_op)
            is_hidden = overflowed & ~tf.is_finite(health)
            health = tf.where(is_hidden, tf.zeros_like(health), health)
        # In sequence, so that a step has one possible outcome.
        with tf.control_dependencies([applied, *statistics]):
            done = [tf.no_op()]
            if averages is not None and not config.sync_replicas:
                done.append(averages.apply(slim.get_model_variables()))
            if accumulator is not None:
                done += [accumulator.build_reset_op(), _get_batch_in_step().assign(0)]
        with tf.control_dependencies(done):
            train_op = tf.identity(total_loss, name="train_op")
    return {
        "train_op": train_op,
        "health": health,
        "health_names": health_names,
        "overflowed": overflowed,
        "loss_names": [loss.op.name for loss in losses],
        "accumulate_op": accumulate_op,
        "averages": averages,
        "sync_optimizer": optimizer if config.sync_replicas else None,
    }


def _build_optimizer(config, learning_rate, averages):
    optimizer = optimizers.build_optimizer(config.optimizer, learning_rate)
    if config.precision == "float16":
        return loss_scale.LossScaleOptimizer(optimizer)
    if not config.sync_replicas:
        return optimizer
    return replicas.SyncReplicasOptimizer(
        optimizer,
        replicas_to_aggregate=config.replicas_to_aggregate,
        total_num_replicas=config.deployment.num_replicas,
        variable_averages=averages,
        variables_to_average=slim.get_model_variables() if averages else None,
    )


def _build_moving_averages(config, global_step):
    decay = config.spec.moving_average_decay
    if not decay:
        return None
    # Given the step, the decay starts at 0.1, which suits short runs too.
    return tf.train.ExponentialMovingAverage(decay, global_step)


def _get_batch_in_step():
    """Returns the local variable that counts the batches of an unfinished step."""
    with tf.variable_scope("accumulation", reuse=tf.AUTO_REUSE):
        return tf.get_variable(
            "batch_in_step",
            [],
            tf.int64,
            tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES],
        )


def _build_accumulate_op(accumulator, statistics, total_loss):
    """Adds a batch's gradients to the step's; returns the batch's loss."""
    with tf.control_dependencies([accumulator.accumulate_op, *statistics]):
        counted = _get_batch_in_step().assign_add(1)
    with tf.control_dependencies([counted]):
        return tf.identity(total_loss, name="accumulate_op")


def _build_health(clones, total_loss, pairs):
    """Returns a float32 vector that is finite in a sound step, and its names.

    Losses come first, then gradients in the order of computation, from the last layer
    to the first: the first element that is not finite is the origin.
    """
    named = {}
    for clone in clones:
        for loss in tf.get_collection(tf.GraphKeys.LOSSES, clone.scope):
            named[f"the loss {loss.op.name}"] = loss
    regularization = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    if regularization:
        named["the sum of the regularization losses"] = tf.add_n(regularization)
    named["the total loss"] = total_loss
    losses = [tf.cast(loss, tf.float32) for loss in named.values()]
    squares = tf.reverse(gradients.measure(pairs), [0])
    names = [f"the gradient of {variable.op.name}" for _, variable in reversed(pairs)]
    return tf.concat([losses, squares], 0, name="health"), (*named, *names)


def _build_guarded_update(config, optimizer, pairs, global_step, health):
    """Applies the gradients, or skips them if not finite and so configured."""
    is_scaled = isinstance(optimizer, loss_scale.LossScaleOptimizer)
    if config.on_bad_numbers == "stop" and not is_scaled:
        return optimizer.apply_gradients(pairs, global_step)

    def apply():
        # Names the optimizer's variables as without the condition.
        with tf.name_scope(None):
            return tf.group(optimizer.apply_gradients(pairs, global_step))

    def skip():
        return tf.group(tf.assign_add(global_step, 1))

    return tf.cond(tf.reduce_all(tf.is_finite(health)), apply, skip)
