"""What a training script does: it trains, or only tries what training would do."""

import dataclasses
from collections.abc import Callable
from typing import Any

from deployment.config_flags import SettingError, setting
from deployment.train import dry_run, following_evaluator, phases, rate_search


@dataclasses.dataclass(frozen=True)
class Mode:
    """Which of the functions with the arguments of `training.train` to call.

    Raises:
      ValueError: if there is more than one.
    """

    dry_run: bool = setting(
        False,
        "Take five steps with a save and a restore, and report the duration, memory "
        "and disk space that the run would need.",
    )
    find_learning_rate: bool = setting(
        False,
        "Try learning rates from 1e-6 to 10 in 100 steps, suggest one and draw the "
        "losses to --train_dir/learning_rates.png; nothing is trained.",
    )

    def __post_init__(self) -> None:
        if self.dry_run and self.find_learning_rate:
            raise SettingError(
                "{{dry_run}} and {{find_learning_rate}} both replace the training: "
                "give one of them."
            )

    def get_function(self, is_evaluator: bool = False) -> Callable[..., Any]:
        """Returns the function to call.

        Args:
          is_evaluator: whether this process evaluates what others train.
        """
        if is_evaluator:
            return following_evaluator.follow
        if self.dry_run:
            return dry_run.dry_run
        if self.find_learning_rate:
            return rate_search.find_learning_rate
        return phases.train
