"""The graph of a training run: clones, losses, learning rate, update, summaries."""

import collections
import contextlib
import itertools
import re

import tf_slim_compat
from deployment import model_deploy
from deployment.models import checkpoints
from deployment.optimize import learning_rates
from deployment.train import mixing, training_summaries, training_update
from tf_slim_compat import tf

# The share of the auxiliary classifier's loss (Szegedy et al. 2014,
# arXiv:1409.4842, section 5, gives 0.3; Inception-v3 and later use 0.4).
_AUXILIARY_LOSS_WEIGHT = 0.4

TrainingGraph = collections.namedtuple(
    "TrainingGraph",
    [
        "train_op",
        "step_after",
        "learning_rate",
        "accuracy",
        "waited_secs",
        "global_step",
        "health",
        "health_names",
        "accumulate_op",
        "trained",
        "averages",
        "summary_op",
        "sync_optimizer",
    ],
)
TrainingGraph.__doc__ = """What a training loop runs.

`train_op` takes a step and returns the total loss, a float32 scalar;
`step_after` is the global step once it is taken; `accuracy` is the share of the
batch whose best class is the label, `waited_secs` how long the step waited for its
batch, both float scalars. `health` is a float32 vector of which every element is
finite in a sound step, `health_names` says what each element is. `accumulate_op`
is None, or adds a batch's gradients to those of the next step and returns its
loss. `trained` lists the trained variables, `averages` is the
`tf.train.ExponentialMovingAverage` of the weights or None. `sync_optimizer` is
None unless replicas are synchronous.
"""

_CloneOutputs = collections.namedtuple(
    "_CloneOutputs", ["end_points", "accuracy", "waited_secs"]
)


def build_training_graph(config, network_fn, build_batches):
    """Adds all of a training run to the default graph.

    Args:
      config: a `training.TrainingConfig`.
      network_fn: see `training.train`.
      build_batches: adds the input and returns a `tf.data.Dataset` of
        `(images, labels)`.

    Returns:
      A `TrainingGraph`.

    Raises:
      ValueError: if a scope of the configuration matches nothing.
    """
    deployment = config.deployment
    with tf.device(deployment.variables_device()):
        global_step = tf.train.get_or_create_global_step()
    with tf.device(deployment.inputs_device()):
        iterator = tf.data.make_initializable_iterator(build_batches())
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    draw_number = _build_draw_number(config, global_step)
    with _layers_in_training(config, global_step, draw_number):
        clones = model_deploy.create_clones(
            deployment,
            _clone_fn,
            [config, network_fn, iterator, draw_number, itertools.count()],
        )
    outputs = [clone.outputs for clone in clones]
    with tf.device(deployment.optimizer_device()):
        learning_rate = learning_rates.build_learning_rate(
            config.schedule,
            global_step,
            config.num_samples,
            config.batch_size * config.gradient_accumulation_steps,
            config.replicas_to_aggregate if config.sync_replicas else 1,
            number_of_steps=config.number_of_steps,
        )
        accuracy = tf.add_n([o.accuracy for o in outputs]) / len(outputs)
        waited_secs = tf.reduce_max(tf.stack([o.waited_secs for o in outputs]))
    trained = get_variables_to_train(config.trainable_scopes)
    update = training_update.build_update(
        config, clones, trained, learning_rate, global_step
    )
    with tf.device(deployment.optimizer_device()):
        with tf.control_dependencies([update["train_op"]]):
            step_after = tf.identity(global_step.read_value(), name="step_after")
        summary_op = training_summaries.build_summaries(
            clones[0],
            outputs[0].end_points,
            learning_rate,
            update["train_op"],
            accuracy,
        )
    return TrainingGraph(
        step_after=step_after,
        learning_rate=learning_rate,
        accuracy=accuracy,
        waited_secs=waited_secs,
        global_step=global_step,
        summary_op=summary_op,
        trained=trained,
        **update,
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


def _build_draw_number(config, global_step):
    """The number of the batch, from which dropout and mixing draw.

    It is the global step, but where gradients accumulate there are several batches
    to a step.
    """
    if config.gradient_accumulation_steps == 1:
        return tf.cast(global_step, tf.int64)
    batch_in_step = training_update.get_batch_in_step()
    return global_step * config.gradient_accumulation_steps + batch_in_step


@contextlib.contextmanager
def _layers_in_training(config, global_step, draw_number):
    """Within, layers draw, average and freeze as the configuration says."""
    scopes = checkpoints.split_scopes(config.trainable_scopes)

    def is_frozen(name):
        return not any(re.match(scope, name) for scope in scopes)

    with contextlib.ExitStack() as stack:
        stack.enter_context(tf_slim_compat.batch_norm_decay_warmup(global_step))
        stack.enter_context(
            tf_slim_compat.stateless_dropout(config.seed or 0, draw_number)
        )
        if scopes and config.freeze_batch_norm:
            stack.enter_context(tf_slim_compat.frozen_batch_norm(is_frozen))
        yield


def _clone_fn(config, network_fn, iterator, draw_number, clone_numbers):
    """One clone: a batch through the network, and its losses."""
    with tf.device(config.deployment.inputs_device()):
        images, labels, waited_secs = _build_next_batch(config, iterator)
    targets = tf.one_hot(labels, config.num_classes)
    clone_number = next(clone_numbers)
    if config.mixup_alpha or config.cutmix_alpha:
        number = draw_number * config.deployment.num_clones + clone_number
        images, targets = mixing.mix(
            images,
            targets,
            mixup_alpha=config.mixup_alpha,
            cutmix_alpha=config.cutmix_alpha,
            seed=tf.stack([tf.constant(config.seed or 0, tf.int64), number]),
        )
    logits, end_points = network_fn(images)
    weights = 1.0
    if config.class_weights is not None:
        weights = tf.linalg.matvec(targets, tf.constant(config.class_weights))
    if "AuxLogits" in end_points:
        tf.losses.softmax_cross_entropy(
            targets,
            end_points["AuxLogits"],
            weights=_AUXILIARY_LOSS_WEIGHT * weights,
            label_smoothing=config.label_smoothing,
            scope="aux_loss",
        )
    tf.losses.softmax_cross_entropy(
        targets, logits, weights=weights, label_smoothing=config.label_smoothing
    )
    is_right = tf.equal(tf.argmax(logits, 1), tf.argmax(targets, 1))
    accuracy = tf.reduce_mean(tf.cast(is_right, tf.float32))
    return _CloneOutputs(end_points, accuracy, waited_secs)


def _build_next_batch(config, iterator):
    """The next images and labels, and how many seconds they were waited for."""
    if config.deterministic:  # Which rules out clocks.
        return *iterator.get_next(), tf.constant(0.0, tf.float64)
    before = tf.timestamp()
    with tf.control_dependencies([before]):
        images, labels = iterator.get_next()
    with tf.control_dependencies([images, labels]):
        after = tf.timestamp()
    with tf.control_dependencies([after]):  # Else it may be read after the network.
        return tf.identity(images), tf.identity(labels), after - before
