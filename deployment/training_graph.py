"""The graph of a training run: clones, losses, learning rate, update, summaries."""

import collections

from absl import logging

import tf_slim_compat
from deployment import checkpoints, learning_rates, model_deploy, optimizers
from tf_slim_compat import slim, tf

# The share of the auxiliary classifier's loss (Szegedy et al. 2014,
# arXiv:1409.4842, section 5, gives 0.3; Inception-v3 and later use 0.4).
_AUXILIARY_LOSS_WEIGHT = 0.4

TrainingGraph = collections.namedtuple(
    "TrainingGraph",
    [
        "train_op",
        "step_after",
        "learning_rate",
        "global_step",
        "summary_op",
        "sync_optimizer",
    ],
)
TrainingGraph.__doc__ = """What a training loop runs.

`train_op` takes a step and returns the total loss, a float32 scalar;
`step_after` is the global step once it is taken; `sync_optimizer` is None
unless replicas are synchronous.
"""


def build_training_graph(config, network_fn, build_batches):
    """Adds all of a training run to the default graph.

    Args:
      config: a `training.TrainingConfig`.
      network_fn: see `training.train`.
      build_batches: see `training.train`.

    Returns:
      A `TrainingGraph`.
    """
    deployment = config.deployment
    with tf.device(deployment.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    with tf.device(deployment.inputs_device()):
        iterator = tf.data.make_initializable_iterator(build_batches())
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)

    with tf_slim_compat.batch_norm_decay_warmup(global_step):
        clones = model_deploy.create_clones(
            deployment, _clone_fn, [config, network_fn, iterator]
        )
    update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS, clones[0].scope)

    with tf.device(deployment.optimizer_device()):
        replicas = config.replicas_to_aggregate if config.sync_replicas else 1
        learning_rate = learning_rates.build_learning_rate(
            config.schedule,
            global_step,
            config.num_samples,
            config.batch_size,
            replicas,
        )
        averages = _build_moving_averages(config, global_step)
        optimizer = optimizers.build_optimizer(config.optimizer, learning_rate)
        sync_optimizer = None
        if config.sync_replicas:
            optimizer = sync_optimizer = tf.train.SyncReplicasOptimizer(
                optimizer,
                replicas_to_aggregate=config.replicas_to_aggregate,
                total_num_replicas=deployment.num_replicas,
                variable_averages=averages,
                variables_to_average=slim.get_model_variables() if averages else None,
            )
        elif averages is not None:
            update_ops.append(averages.apply(slim.get_model_variables()))

    trained = get_variables_to_train(config.trainable_scopes)
    logging.info(
        "Training %d of %d trainable variables (%s parameters).",
        len(trained),
        len(tf.trainable_variables()),
        f"{sum(variable.shape.num_elements() for variable in trained):,}",
    )
    total_loss, gradients = model_deploy.optimize_clones(
        clones, optimizer, var_list=trained
    )
    with tf.device(deployment.optimizer_device()):
        update_ops.append(optimizer.apply_gradients(gradients, global_step))
        with tf.control_dependencies(update_ops):
            train_op = tf.identity(total_loss, name="train_op")
        with tf.control_dependencies([train_op]):
            step_after = tf.identity(global_step.read_value(), name="step_after")
        summary_op = _build_summaries(clones[0], learning_rate, total_loss)
    return TrainingGraph(
        train_op, step_after, learning_rate, global_step, summary_op, sync_optimizer
    )


def get_variables_to_train(trainable_scopes):
    """The trainable variables within comma-separated scopes (None: all), once each.

    Raises:
      ValueError: if a scope matches nothing.
    """
    variables = tf.trainable_variables()
    scopes = checkpoints.split_scopes(trainable_scopes)
    if not scopes:
        return variables
    return checkpoints.get_variables_in_scopes(
        variables, scopes, flag_name="--trainable_scopes"
    )


def _clone_fn(config, network_fn, iterator):
    """One clone: a batch through the network, and its losses."""
    with tf.device(config.deployment.inputs_device()):
        images, labels = iterator.get_next()
    logits, end_points = network_fn(images)
    targets = tf.one_hot(labels, config.num_classes)
    if "AuxLogits" in end_points:
        tf.losses.softmax_cross_entropy(
            targets,
            end_points["AuxLogits"],
            weights=_AUXILIARY_LOSS_WEIGHT,
            label_smoothing=config.label_smoothing,
            scope="aux_loss",
        )
    tf.losses.softmax_cross_entropy(
        targets, logits, label_smoothing=config.label_smoothing
    )
    return end_points


def _build_moving_averages(config, global_step):
    if not config.moving_average_decay:
        return None
    return tf.train.ExponentialMovingAverage(config.moving_average_decay, global_step)


def _build_summaries(clone, learning_rate, total_loss):
    """Histograms and sparsity of activations, histograms of variables, scalars.

    Activations are those of the first clone, of the first image in its batch:
    the histogram of a whole batch costs as much as the network itself.
    """
    histograms = {v.op.name: v for v in slim.get_model_variables()}
    scalars = {"learning_rate": learning_rate, "total_loss": total_loss}
    for name, tensor in clone.outputs.items():
        sample = tensor[:1]
        histograms[f"activations/{name}"] = sample
        scalars[f"sparsity/{name}"] = tf.nn.zero_fraction(sample)
    for loss in tf.get_collection(tf.GraphKeys.LOSSES, clone.scope):
        scalars[f"losses/{loss.op.name}"] = loss
    # The raw operations take tags as they are; tf.summary numbers those that are
    # the name of a variable or a loss as well.
    summaries = [
        *tf.get_collection(tf.GraphKeys.SUMMARIES, clone.scope),
        *(tf.raw_ops.HistogramSummary(tag=t, values=v) for t, v in histograms.items()),
        *(tf.raw_ops.ScalarSummary(tags=t, values=v) for t, v in scalars.items()),
    ]
    return tf.summary.merge(summaries)
