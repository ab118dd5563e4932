"""Training: from a network and batches to checkpoints in a folder.

    config = TrainingConfig(train_dir="run", num_classes=6, num_samples=4000)
    train(config, network_fn, build_batches)

`slim.learning.train` drives the steps. What happens beside a step (saving,
summaries, progress) happens between two steps, in `training_loop.TrainingLoop`.
"""

import dataclasses
import os

import numpy as np
from absl import logging

from deployment import checkpoints, learning_rates, optimizers, training_graph
from deployment.model_deploy import DeploymentConfig
from deployment.training_loop import TrainingLoop, stop_on_signals
from tf_slim_compat import slim, tf


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """All that a training run is told.

    Attributes:
      train_dir: the folder of checkpoints and summaries; training resumes from
        the newest checkpoint in it.
      num_classes: outputs of the network.
      num_samples: images in one epoch.
      batch_size: images in one clone's batch.
      number_of_steps: the global step to stop at; None for no end.
      deployment: where clones and variables are placed.
      schedule: the learning rate over time.
      optimizer: the update rule.
      label_smoothing: how much of the target is spread evenly over the classes
        (Szegedy et al. 2015, arXiv:1512.00567, section 7).
      moving_average_decay: the decay of the weights' moving averages; None keeps
        no averages.
      sync_replicas: whether workers wait for each other in every step.
      replicas_to_aggregate: how many workers' gradients make a step then.
      quantize_delay: -1; quantised training is not built yet.
      master: the address of the TensorFlow server; '' for this process.
      checkpoint_path: a checkpoint, or a folder of them, to start from when
        `train_dir` has none.
      checkpoint_exclude_scopes: comma-separated scopes not to restore from it.
      ignore_missing_vars: whether to initialise afresh what it does not hold.
      trainable_scopes: comma-separated scopes to train; None trains all.
      log_every_n_steps: how often progress is printed.
      save_summaries_secs: how often summaries are written, in seconds.
      save_interval_secs: how often a checkpoint is saved, in seconds.
    """

    train_dir: str
    num_classes: int
    num_samples: int
    batch_size: int = 32
    number_of_steps: int | None = None
    deployment: DeploymentConfig = dataclasses.field(default_factory=DeploymentConfig)
    schedule: learning_rates.Schedule = learning_rates.Schedule()
    optimizer: optimizers.OptimizerConfig = optimizers.OptimizerConfig()
    label_smoothing: float = 0.0
    moving_average_decay: float | None = None
    sync_replicas: bool = False
    replicas_to_aggregate: int = 1
    quantize_delay: int = -1
    master: str = ""
    checkpoint_path: str | None = None
    checkpoint_exclude_scopes: str | None = None
    ignore_missing_vars: bool = False
    trainable_scopes: str | None = None
    log_every_n_steps: int = 10
    save_summaries_secs: float = 600
    save_interval_secs: float = 600

    def __post_init__(self):
        if self.quantize_delay >= 0:
            raise ValueError(
                "Quantised training is not built yet: leave --quantize_delay at -1 "
                f"(it is {self.quantize_delay})."
            )
        if self.batch_size < 1:
            raise ValueError(
                f"--batch_size must be 1 or more, but is {self.batch_size}."
            )
        if self.number_of_steps is not None and self.number_of_steps < 1:
            raise ValueError(
                "--max_number_of_steps must be 1 or more, but is "
                f"{self.number_of_steps}; leave it out to train until stopped."
            )

    @property
    def is_chief(self):
        return self.deployment.replica_id == 0


def train(config, network_fn, build_batches):
    """Trains a network, resuming from `config.train_dir` if it has a checkpoint.

    Args:
      config: a `TrainingConfig`.
      network_fn: adds the network to the graph: float32 images of shape
        [batch, height, width, channels] to `(logits, end_points)`, with logits
        of shape [batch, num_classes]; for training.
      build_batches: adds the input to the graph and returns a `tf.data.Dataset`
        of `(images, labels)`, labels int64 of shape [batch].

    Returns:
      The loss of the last step, a float (None if there was no step to take).

    Raises:
      ValueError: if the configuration contradicts itself, a checkpoint does not
        fit, or the loss stops being a finite number.
    """
    _prepare_train_dir(config)
    with tf.Graph().as_default():
        graph = training_graph.build_training_graph(config, network_fn, build_batches)
        init_fn = _choose_start(config)
        loop = TrainingLoop(config, graph)
        with stop_on_signals(loop):
            slim.learning.train(
                graph.train_op,
                config.train_dir,
                train_step_fn=loop,
                train_step_kwargs={},
                master=config.master,
                is_chief=config.is_chief,
                global_step=graph.global_step,
                init_fn=init_fn,
                saver=loop.saver,
                sync_optimizer=graph.sync_optimizer,
                # The thread that hands out tokens to replicas waits for gradients
                # that no longer come.
                ignore_live_threads=graph.sync_optimizer is not None,
                session_config=build_session_config(config.deployment),
                # The loop saves and summarises between steps, where a
                # checkpoint cannot mix two of them.
                summary_op=None,
                save_summaries_secs=0,
                save_interval_secs=0,
            )
        return loop.close()


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


def _prepare_train_dir(config):
    """Makes the folder and sees that it can be written, before work is done."""
    if not config.train_dir:
        raise ValueError("Training needs a folder for checkpoints: give --train_dir.")
    probe = os.path.join(config.train_dir, f".probe-{os.getpid()}")
    try:
        tf.gfile.MakeDirs(config.train_dir)
        with tf.gfile.Open(probe, "w") as file:
            file.write("")
        tf.gfile.Remove(probe)
    except tf.errors.OpError as error:
        raise ValueError(
            f"The folder {config.train_dir!r} cannot be written: "
            f"{error.message.split(';')[-1].strip()}."
        ) from error


def _choose_start(config):
    """Resume, warm start or fresh start; says which. Returns an init_fn or None."""
    latest = tf.train.latest_checkpoint(config.train_dir)
    if latest is not None:
        fitted = checkpoints.fit(latest, tf.global_variables())
        checkpoints.check_fit(
            fitted,
            "The folder --train_dir belongs to a run with other settings (network, "
            "classes or optimizer): continue it with those, or give another folder.",
        )
        logging.info("Resuming from %s.", latest)
        if config.checkpoint_path:
            logging.warning(
                "--checkpoint_path=%s is not used: --train_dir has a checkpoint, and "
                "that one goes first. Give another --train_dir to start afresh.",
                config.checkpoint_path,
            )
        return None
    if not config.checkpoint_path:
        logging.info("Starting with freshly initialised variables.")
        return None
    return _build_warm_start(config)


def _build_warm_start(config):
    flag = "--checkpoint_exclude_scopes"
    variables = slim.get_model_variables()
    scopes = checkpoints.split_scopes(config.checkpoint_exclude_scopes)
    excluded = checkpoints.get_variables_in_scopes(variables, scopes, flag)
    fitted = checkpoints.fit(config.checkpoint_path, variables, excluded)
    wanted = fitted
    if config.ignore_missing_vars and fitted.restored:
        wanted = dataclasses.replace(fitted, missing=())
    checkpoints.check_fit(
        wanted,
        f"To initialise such variables afresh, add {flag}={{scopes}}"
        + ("" if fitted.misshapen else " or --ignore_missing_vars")
        + ".",
    )
    _log_warm_start(fitted)
    restore_fn = checkpoints.build_restore_fn(fitted)
    return (lambda session: restore_fn(session)) if restore_fn else None


def _log_warm_start(fitted):
    logging.info(
        "Warm start from %s: %d variables (%s parameters) restored.",
        fitted.path,
        len(fitted.restored),
        f"{sum(np.prod(v.shape.as_list()) for v in fitted.restored.values()):,.0f}",
    )
    for what, names in (
        (
            "left out by --checkpoint_exclude_scopes, freshly initialised",
            fitted.excluded,
        ),
        ("not in the checkpoint, freshly initialised", fitted.missing),
        ("in the checkpoint, but not in this network", fitted.unused),
    ):
        if names:
            shown = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
            logging.info("  %d %s: %s", len(names), what, shown)
