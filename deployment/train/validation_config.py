"""The settings of validation during training."""

import dataclasses

from deployment import ranges
from deployment.config_flags import SettingError, setting
from deployment.durations import Duration, parse_duration


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """How a run is validated while it trains.

    Attributes:
      split_name: the split to evaluate.
      every: how often to evaluate; the last step is always evaluated.
      best_metric: the metric that selects the best checkpoints and stops early; None
        for the task's own.
      num_best_checkpoints: how many of the best to keep in `train_dir/best`.
      patience: evaluations in a row without improvement after which training stops; 0
        never stops.
      min_change: smallest improvement that counts.
      eval_batch_size: images per batch.
      eval_num_batches: batches per validation; None for the whole split.
      export_best: whether each new best checkpoint is exported.
    """

    split_name: str = "validation"
    every: Duration = setting(
        Duration(1, "epochs"),
        "How often to validate: steps (500), epochs (2epochs) or time (10mins).",
        flag="eval_every",
        flag_default="1epoch",
        kind=str,
        parse=lambda text: parse_duration(text, "--eval_every"),
    )
    validate_on: str = setting(
        "workers",
        "Who validates: the workers, between steps, or a process of its own, the job "
        "evaluator of TF_CONFIG, which evaluates each checkpoint that is saved.",
        choices=("workers", "evaluator"),
    )
    best_metric: str | None = setting(
        None,
        "Metric that selects the best checkpoints and stops training early, such as "
        "accuracy, loss or top_5. If unset: accuracy for classification, "
        "mean_average_precision for multilabel, r2 for regression.",
    )
    num_best_checkpoints: int = setting(
        1, "Number of best checkpoints to keep in --train_dir/best."
    )
    patience: int = setting(
        0,
        "Stop after this many validations in a row without improvement; 0: never.",
        flag="early_stopping_patience",
    )
    min_change: float = setting(
        0.0,
        "Smallest improvement of the metric that counts for early stopping.",
        flag="early_stopping_min_change",
    )

    eval_batch_size: int = setting(100, "Images per batch of the validation.")
    eval_num_batches: int | None = setting(
        None, "Batches per validation. If unset, the whole split."
    )
    export_best: bool = setting(
        False,
        "Whether to export each new best checkpoint, as frozen graph and SavedModel, "
        "to --train_dir/export/best.",
    )

    def __post_init__(self):
        ranges.check(
            self,
            num_best_checkpoints=ranges.AT_LEAST_ZERO,
            patience=ranges.AT_LEAST_ZERO,
            min_change=ranges.AT_LEAST_ZERO,
            eval_batch_size=ranges.AT_LEAST_ONE,
            eval_num_batches=ranges.AT_LEAST_ONE,
        )
        if not self.every.value:
            raise SettingError(
                "{{every}} must be above 0, but is 0: give steps (500), epochs "
                "(2epochs) or time (10mins)."
            )

    @property
    def num_images(self) -> int | None:
        """Most images per validation; None for the whole split."""
        if self.eval_num_batches is None:
            return None
        return self.eval_num_batches * self.eval_batch_size
