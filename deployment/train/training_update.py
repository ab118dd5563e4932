"""The update of a training step: gradients watched, clipped, accumulated, applied."""

from deployment import model_deploy
from deployment.optimize import gradients, optimizers
from tf_slim_compat import slim, tf


class _SyncReplicasOptimizer(tf.train.SyncReplicasOptimizer):
    """Ends quietly: its thread waits for gradients until the session is closed."""

    def get_chief_queue_runner(self):
        runner = super().get_chief_queue_runner()
        return tf.train.QueueRunner(
            runner.queue,
            runner.enqueue_ops,
            queue_closed_exception_types=(
                tf.errors.OutOfRangeError,
                tf.errors.CancelledError,
            ),
        )


def build_update(config, clones, trained, learning_rate, global_step):
    """Adds one step from all clones to the graph.

    In this order: the gradients of several batches are averaged where they
    accumulate, values are clipped, then the norm; the optimizer applies them; then
    the moving averages of the weights follow.

    Args:
      config: a `training.TrainingConfig`.
      clones: a list of `model_deploy.Clone` with their losses in the collections.
      trained: the variables to train.
      learning_rate: float32 scalar.
      global_step: the variable that counts the steps.

    Returns:
      A dict of those fields of `training_graph.TrainingGraph` that are made here.

    Raises:
      ValueError: if a scope of the learning-rate factors matches nothing.
    """
    optimizers.check_factors(config.optimizer, trained)
    with tf.device(config.deployment.optimizer_device()):
        averages = _build_moving_averages(config, global_step)
        optimizer = optimizers.build_optimizer(config.optimizer, learning_rate)
        if config.sync_replicas:
            optimizer = _SyncReplicasOptimizer(
                optimizer,
                replicas_to_aggregate=config.replicas_to_aggregate,
                total_num_replicas=config.deployment.num_replicas,
                variable_averages=averages,
                variables_to_average=slim.get_model_variables() if averages else None,
            )
    total_loss, pairs = model_deploy.optimize_clones(
        clones, optimizer, var_list=trained
    )
    # The moving statistics are those of the first clone.
    statistics = tf.get_collection(tf.GraphKeys.UPDATE_OPS, clones[0].scope)
    with tf.device(config.deployment.optimizer_device()):
        accumulate_op, accumulator = None, None
        if config.gradient_accumulation_steps > 1:
            accumulator = gradients.Accumulator(
                pairs, config.gradient_accumulation_steps
            )
            accumulate_op = _build_accumulate_op(accumulator, statistics, total_loss)
            pairs = accumulator.mean_gradients
        health, health_names = _build_health(clones, total_loss, pairs)
        pairs = gradients.clip(
            pairs, config.clip_gradient_norm, config.clip_gradient_value
        )
        applied = _build_guarded_update(config, optimizer, pairs, global_step, health)
        # Each in its turn, so that a step has one outcome, not one of several.
        with tf.control_dependencies([applied, *statistics]):
            done = [tf.no_op()]
            if averages is not None and not config.sync_replicas:
                done.append(averages.apply(slim.get_model_variables()))
            if accumulator is not None:
                done += [accumulator.build_reset_op(), get_batch_in_step().assign(0)]
        with tf.control_dependencies(done):
            train_op = tf.identity(total_loss, name="train_op")
    return {
        "train_op": train_op,
        "health": health,
        "health_names": health_names,
        "accumulate_op": accumulate_op,
        "averages": averages,
        "sync_optimizer": optimizer if config.sync_replicas else None,
    }


def get_batch_in_step():
    """The local variable that counts the batches of an unfinished step, int64."""
    with tf.variable_scope("accumulation", reuse=tf.AUTO_REUSE):
        return tf.get_variable(
            "batch_in_step",
            [],
            tf.int64,
            tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES],
        )


def _build_moving_averages(config, global_step):
    if not config.moving_average_decay:
        return None
    # With the step it begins at a decay of 0.1, so short runs have an average too.
    return tf.train.ExponentialMovingAverage(config.moving_average_decay, global_step)


def _build_accumulate_op(accumulator, statistics, total_loss):
    """Adds a batch's gradients to the step's; gives the batch's loss."""
    with tf.control_dependencies([accumulator.accumulate_op, *statistics]):
        counted = get_batch_in_step().assign_add(1)
    with tf.control_dependencies([counted]):
        return tf.identity(total_loss, name="accumulate_op")


def _build_health(clones, total_loss, pairs):
    """A float32 vector that is finite in a sound step, and its elements' names.

    Losses come first, then gradients in the order in which they are computed, from
    the last layer to the first: so the first that is not finite is the culprit.
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
    """Applies the gradients; skips them where numbers are wrong, if so configured."""
    if config.on_bad_numbers == "stop":
        return optimizer.apply_gradients(pairs, global_step)

    def apply():
        # The optimizer's variables are named as they are without the condition.
        with tf.name_scope(None):
            return tf.group(optimizer.apply_gradients(pairs, global_step))

    def skip():
        return tf.group(tf.assign_add(global_step, 1))

    return tf.cond(tf.reduce_all(tf.is_finite(health)), apply, skip)
