"""The configuration of a training run, checked before any work is done."""

import dataclasses

from deployment import precision, ranges
from deployment.cluster import Workers
from deployment.config_flags import AUTO, IntegerOrAuto, SettingError, setting
from deployment.durations import Duration, parse_duration
from deployment.model_deploy import DeploymentConfig
from deployment.models.spec import ModelSpec
from deployment.optimize import learning_rates, optimizers
from deployment.tasks.base import LossOptions
from deployment.train import contradictions
from deployment.train.phase import Phase, parse_sizes
from deployment.train.time_budget import Clock, check_budget
from deployment.train.validation_config import ValidationConfig

__all__ = ["TrainingConfig", "ValidationConfig"]


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a training run.

    What the fields mean is said where their flags are defined, below; in addition:

    Attributes:
      train_dir: folder of checkpoints and summaries; training resumes from the newest
        checkpoint in it.
      spec: the model to train.
      num_samples: images per epoch.
      batch_size: if None, `batch_size.settle` has to choose it.
      is_auto_batch_size: whether it did, and scaled the learning rate.
      workers: the workers that train together by all-reduce; None if there are none.
      deployment: where clones and variables are placed.
      schedule: the learning rate over time.
      optimizer: the update rule.
      class_weights: weight of each output in the loss; None weighs all alike.
      validation: how the run is validated; None for no validation.
      clock: follows the time of a run with a time budget; None for other runs.
      phase: the part of the run to train.
      is_rehearsal: whether these few steps only try what a longer run would do.
    """

    train_dir: str
    spec: ModelSpec
    num_samples: int
    batch_size: int | None = setting(
        32,
        "Images per batch of each clone. auto: the largest of 8, 16, 32, 64, ... that "
        "fits into the free memory; the learning rate is that for 32 images, and "
        "scaled in proportion.",
        kind=IntegerOrAuto,
        flag_default=32,
        parse=lambda value: None if value == AUTO else value,
    )
    number_of_steps: int | None = setting(
        None,
        "Global step to stop at. If unset, training continues until it is stopped.",
        flag="max_number_of_steps",
    )
    time_budget: Duration | None = setting(
        None,
        "Time that the run may take in all, such as 10mins or 2hours, instead of a "
        "number of steps: from the start of the command to its end, validation and "
        "export included; cosine decay and --warmup_fraction end with it.",
        kind=str,
        parse=lambda text: parse_duration(text, "--time_budget"),
    )
    workers: Workers | None = None
    deployment: DeploymentConfig = dataclasses.field(default_factory=DeploymentConfig)
    schedule: learning_rates.Schedule = learning_rates.Schedule()
    optimizer: optimizers.OptimizerConfig = optimizers.OptimizerConfig()
    label_smoothing: float = setting(
        0.0,
        "Fraction of the target that is spread evenly over all classes (Szegedy et al. "
        "2015, arXiv:1512.00567, section 7).",
    )
    regression_loss: str = setting(
        "mse",
        "Loss of --task=regression, on standardized targets: mean squared error, mean "
        "absolute error or Huber loss.",
        choices=("mse", "mae", "huber"),
    )
    huber_delta: float = setting(
        1.0,
        "Error from which --regression_loss=huber is linear, in standard deviations of "
        "the target.",
    )
    sync_replicas: bool = setting(
        False, "Whether workers update synchronously, with parameter servers."
    )
    replicas_to_aggregate: int = setting(
        1, "Number of workers whose gradients make one step with --sync_replicas."
    )
    quantize_delay: int = setting(
        -1,
        "Steps in float before fake quantization to 8 bits begins; -1 for never, 0 for "
        "a network that starts from a trained one (--checkpoint_path).",
    )
    quantize_per_channel: bool = setting(
        False,
        "Whether each output channel of a convolution has its own range of weights, "
        "with --quantize_delay.",
    )
    quantize_freeze_bn_delay: int | None = setting(
        None,
        "Steps after which batch normalization keeps its moving averages and uses "
        "them in training too, with --quantize_delay; None for never.",
        kind=int,
    )
    sync_batch_norm: bool = setting(
        False,
        "Whether batch normalization uses the statistics of the batches of all workers "
        "(all_reduce) instead of each worker's own.",
    )
    master: str = setting(
        "", "Address of the TensorFlow server; empty for this process."
    )
    checkpoint_path: str | None = setting(
        None,
        "Checkpoint, or folder of checkpoints, to initialize the weights from (warm "
        "start).",
    )
    checkpoint_exclude_scopes: str | None = setting(
        None,
        "Comma-separated scopes of variables that --checkpoint_path does not "
        "initialize.",
    )
    ignore_missing_vars: bool = setting(
        False,
        "Whether variables that --checkpoint_path lacks are initialized randomly "
        "instead of being an error.",
    )
    xla: bool = setting(
        False, "Whether TensorFlow compiles the network with XLA, on GPUs."
    )
    trainable_scopes: str | None = setting(
        None, "Comma-separated scopes of variables to train. If unset, all are trained."
    )
    head_first: Duration | None = setting(
        None,
        "Train only the layers in --checkpoint_exclude_scopes for this long, in steps "
        "(500) or epochs (2epochs), then all layers, in one run.",
        kind=str,
        parse=lambda text: parse_duration(text, "--head_first"),
    )
    progressive_sizes: tuple[int, ...] = setting(
        (),
        "Comma-separated image sizes, such as 96,160: equal parts of the run train on "
        "images of these sizes, and a last one on those of --train_image_size. Small "
        "images are faster and regularize (Tan & Le 2021, arXiv:2104.00298, section "
        "4).",
        kind=list,
        parse=parse_sizes,
    )
    freeze_batch_norm: bool = setting(
        True,
        "Whether batch normalization outside --trainable_scopes uses and keeps its "
        "moving statistics. TF-Slim kept updating them: --nofreeze_batch_norm.",
    )
    feature_copies: int = setting(
        0,
        "Compute what the layers below --trainable_scopes give once, for this many "
        "copies of each image, keep it below $XDG_CACHE_HOME (by default ~/.cache) and "
        "train the others on that, many times faster. 1: each image once, preprocessed "
        "as in evaluation; more: differently distorted, one copy per epoch in turn. 0: "
        "off.",
    )
    mixup_alpha: float = setting(
        0.0, "Strength of mixup (arXiv:1710.09412), such as 0.2; 0 for none."
    )
    cutmix_alpha: float = setting(
        0.0, "Strength of CutMix (arXiv:1905.04899), such as 1.0; 0 for none."
    )
    drop_path: float = setting(
        0.0,
        "Probability of leaving out the last residual unit of a network for an image "
        "(stochastic depth, arXiv:1603.09382), such as 0.2; that of the others grows "
        "linearly with depth. For resnet_v1 and _v2, inception_resnet_v2, mobilenet_v2 "
        "and _v3.",
    )
    class_weights: tuple[float, ...] | None = None
    gradient_accumulation_steps: int = setting(
        1, "Number of batches whose gradients are averaged for one step."
    )
    clip_gradient_norm: float | None = setting(
        None, "Largest global norm of the gradients. If unset, they are not clipped."
    )
    clip_gradient_value: float | None = setting(
        None,
        "Largest absolute value in a gradient. If unset, values are not clipped.",
    )
    on_bad_numbers: str = setting(
        "stop",
        "What to do when a loss or gradient is NaN or infinite: stop training, or skip "
        "the update.",
        choices=("stop", "skip"),
    )
    max_skipped_steps: int = setting(
        10, "Number of updates that --on_bad_numbers=skip may skip."
    )
    seed: int | None = setting(
        None, "Random seed. If unset, one is generated and recorded in run.json."
    )
    deterministic: bool = setting(
        False,
        "Whether two runs with the same --seed give bit-identical weights; slower.",
    )
    precision: str = setting(
        "auto",
        "Precision of the computations: float32, bfloat16 (about twice as fast on "
        "processors with instructions for it; variables and losses stay float32) or "
        "float16 (on GPUs, with loss scaling). auto times some steps of float32 and "
        "bfloat16 on this machine and takes the faster; a resumed run keeps its own.",
        choices=precision.PRECISIONS,
    )
    validation: ValidationConfig | None = None
    is_auto_batch_size: bool = False
    max_checkpoints_to_keep: int = setting(
        5, "Number of newest checkpoints to keep; 0 keeps all."
    )
    log_every_n_steps: int = setting(10, "Steps between progress lines; 0 for none.")
    save_summaries_secs: float = setting(
        600,
        "Seconds between TensorBoard histograms of weights and activations; 0 disables "
        "them. They are written less often if they would take more than 5 % of the "
        "time. Scalars are written with every progress line.",
        kind=int,
    )
    save_interval_secs: float = setting(600, "Seconds between checkpoints.", kind=int)
    clock: Clock | None = None
    phase: Phase = Phase()
    is_rehearsal: bool = False

    def __post_init__(self):
        check_budget(
            self.time_budget,
            self.number_of_steps,
            deterministic=self.deterministic,
            warmup_steps=bool(self.schedule.warmup_steps),
            warmup_epochs=bool(self.schedule.warmup_epochs),
        )
        precision.check(self.precision, self.deployment.clone_on_cpu)
        ranges.check(
            self,
            batch_size=ranges.AT_LEAST_ONE,
            gradient_accumulation_steps=ranges.AT_LEAST_ONE,
            replicas_to_aggregate=ranges.AT_LEAST_ONE,
            log_every_n_steps=ranges.AT_LEAST_ZERO,
            max_checkpoints_to_keep=ranges.AT_LEAST_ZERO,
            max_skipped_steps=ranges.AT_LEAST_ZERO,
            save_interval_secs=ranges.AT_LEAST_ZERO,
            save_summaries_secs=ranges.AT_LEAST_ZERO,
            label_smoothing=ranges.BELOW_ONE,
            huber_delta=ranges.POSITIVE,
            feature_copies=ranges.AT_LEAST_ZERO,
            mixup_alpha=ranges.AT_LEAST_ZERO,
            cutmix_alpha=ranges.AT_LEAST_ZERO,
            quantize_freeze_bn_delay=ranges.AT_LEAST_ZERO,
            drop_path=ranges.BELOW_ONE,
        )
        if self.number_of_steps is not None and self.number_of_steps < 1:
            raise SettingError(
                "{{number_of_steps}} must be 1 or more, but is "
                f"{self.number_of_steps}; leave it out to train until stopped."
            )
        if self.on_bad_numbers not in ("stop", "skip"):
            raise SettingError(
                "{{on_bad_numbers}} must be stop or skip, but is "
                f"{self.on_bad_numbers!r}."
            )
        contradictions.check(self)

    def is_last_step(self, step: int | None) -> bool:
        """Returns whether this part of the run ends at a step, or ended before."""
        return None not in (step, self.last_step) and step >= self.last_step

    @property
    def last_step(self) -> int | None:
        """The last step of this part of the run; None if it has no end."""
        return self.number_of_steps if self.phase.end is None else self.phase.end

    @property
    def is_chief(self) -> bool:
        """Whether this worker saves checkpoints and reports progress."""
        is_first = self.workers is None or self.workers.is_chief
        return is_first and self.deployment.replica_id == 0

    @property
    def is_alone(self) -> bool:
        """Whether one process trains, without others."""
        return not (self.workers or self.master or self.sync_replicas)

    @property
    def validates(self) -> bool:
        """Whether validation takes place between steps."""
        return self.validation is not None and self.validation.validate_on == "workers"

    @property
    def part(self) -> tuple[int, int]:
        """Index and number of the processes that share the images of a step."""
        return (
            (0, 1) if self.workers is None else (self.workers.index, len(self.workers))
        )

    @property
    def num_synchronous(self) -> int:
        """Number of workers whose gradients make one step."""
        if self.workers is not None:
            return len(self.workers)
        return self.replicas_to_aggregate if self.sync_replicas else 1

    @property
    def loss_options(self) -> LossOptions:
        """The options of the loss."""
        names = (field.name for field in dataclasses.fields(LossOptions))
        return LossOptions(**{name: getattr(self, name) for name in names})

    @property
    def images_per_step(self) -> int:
        """Images per global step, over all clones and replicas."""
        return (
            self.batch_size
            * self.deployment.num_clones
            * self.gradient_accumulation_steps
            * self.num_synchronous
        )

    @property
    def steps_per_epoch(self) -> float:
        """Global steps per epoch; fractions count."""
        return self.num_samples / self.images_per_step

    @property
    def auto_batch(self) -> dict[str, float] | None:
        """What the run card says of an automatic batch size; None if it was given."""
        if not self.is_auto_batch_size:
            return None
        return {"images": self.batch_size, "learning_rate": self.schedule.initial}

    @property
    def schedule_scale(self) -> dict[str, int]:
        """What converts the epochs of the schedule into global steps."""
        return {
            "num_samples": self.num_samples,
            "batch_size": self.batch_size * self.gradient_accumulation_steps,
            "replicas_to_aggregate": self.num_synchronous,
        }

    def steps_to_epochs(self, steps: int) -> float:
        """Converts global steps into epochs."""
        return steps / self.steps_per_epoch
