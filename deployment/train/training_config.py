"""All that a training run is told, checked before any work is done."""

import dataclasses

from deployment.model_deploy import DeploymentConfig
from deployment.optimize import learning_rates, optimizers
from deployment.train.validation import ValidationConfig

_BAD_NUMBERS = ("stop", "skip")


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
      freeze_batch_norm: whether batch normalization outside `trainable_scopes` uses
        and keeps its moving statistics, rather than the batch's.
      mixup_alpha: of mixup (Zhang et al. 2018, arXiv:1710.09412); 0 for none.
      cutmix_alpha: of cutmix (Yun et al. 2019, arXiv:1905.04899); 0 for none.
      class_weights: the weight of each class in the loss; None weighs all alike.
      gradient_accumulation_steps: how many batches make one step.
      clip_gradient_norm: the largest norm of all gradients together; None for any.
      clip_gradient_value: the largest absolute value in a gradient; None for any.
      on_bad_numbers: 'stop' where a loss or gradient is not finite, or 'skip' the
        update.
      max_skipped_steps: how many updates may be skipped.
      seed: what initial values, the order of images, distortions and dropout are
        drawn from; None draws it, and a resumed run keeps its own.
      deterministic: whether equal runs give equal bits, at some cost in speed.
      validation: how the run is validated; None does not.
      max_checkpoints_to_keep: how many of the newest checkpoints; 0 keeps all.
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
    freeze_batch_norm: bool = True
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    class_weights: tuple | None = None
    gradient_accumulation_steps: int = 1
    clip_gradient_norm: float | None = None
    clip_gradient_value: float | None = None
    on_bad_numbers: str = "stop"
    max_skipped_steps: int = 10
    seed: int | None = None
    deterministic: bool = False
    validation: ValidationConfig | None = None
    max_checkpoints_to_keep: int = 5
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
        if self.gradient_accumulation_steps < 1:
            raise ValueError(
                "--gradient_accumulation_steps must be 1 or more, but is "
                f"{self.gradient_accumulation_steps}."
            )
        if self.on_bad_numbers not in _BAD_NUMBERS:
            raise ValueError(
                f"--on_bad_numbers must be one of {', '.join(_BAD_NUMBERS)}, but is "
                f"{self.on_bad_numbers!r}."
            )
        if self.sync_replicas and (
            self.gradient_accumulation_steps > 1 or self.on_bad_numbers == "skip"
        ):
            raise ValueError(
                "Synchronous replicas gather gradients on their own: leave "
                "--gradient_accumulation_steps at 1 and --on_bad_numbers at stop with "
                "--sync_replicas, and raise --replicas_to_aggregate instead."
            )

    @property
    def is_chief(self):
        return self.deployment.replica_id == 0

    @property
    def images_per_step(self):
        """How many images one global step works on."""
        replicas = self.replicas_to_aggregate if self.sync_replicas else 1
        return (
            self.batch_size
            * self.deployment.num_clones
            * self.gradient_accumulation_steps
            * replicas
        )

    @property
    def steps_per_epoch(self):
        """Global steps in one pass over the images, all clones counted; a float."""
        return self.num_samples / self.images_per_step

    def steps_to_epochs(self, steps):
        """How many passes over the images so many global steps are."""
        return steps / self.steps_per_epoch
