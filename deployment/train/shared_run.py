"""What the workers of an all-reduce run agree on, and how they share the work.

The chief alone reads and writes the training folder; the others follow it.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from absl import logging

from deployment.cluster import Workers
from deployment.config_flags import SettingError
from deployment.tasks.base import Predictions
from deployment.train.config import TrainingConfig

# What may differ between the commands of workers, or is settled by the chief.
_OWN = {"train_dir", "workers", "deployment", "seed", "precision", "checkpoint_path"}


@contextlib.contextmanager
def following(config: TrainingConfig) -> Iterator[TrainingConfig]:
    """Within, a worker that is not the chief trains in a temporary folder.

    It starts from the variables of the chief, which reports for all: only warnings
    are logged.

    Args:
      config: the configuration of the worker.

    Yields:
      The configuration to train with.
    """
    with tempfile.TemporaryDirectory(prefix="worker_") as folder, _quiet():
        yield dataclasses.replace(
            config,
            train_dir=folder,
            checkpoint_path=None,
            max_checkpoints_to_keep=1,
            log_every_n_steps=0,
            save_summaries_secs=0,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    if logging.get_verbosity() != logging.INFO:
        yield
        return
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(logging.INFO)


def agree(config: TrainingConfig, first_image: int) -> tuple[TrainingConfig, int]:
    """Settles on all workers what the chief found in its folder or chose.

    Args:
      config: the configuration of this worker.
      first_image: the position in the stream of images where the run starts, if this
        is the chief.

    Returns:
      The configuration and the position.

    Raises:
      ValueError: if this worker's settings are not the chief's.
    """
    if config.workers is None:
        return config, first_image
    settings = _describe(config)
    chosen = config.workers.share(
        {
            "settings": settings,
            "seed": config.seed,
            "precision": config.precision,
            "task_state": dict(config.spec.task_state),
            "first_image": first_image,
        }
    )
    for name, value in chosen["settings"].items():
        if settings[name] != value:
            raise SettingError(
                f"This worker has {{{{{name}}}}}={settings[name]}, but the chief has "
                f"{value}: start all workers with the same command."
            )
    return dataclasses.replace(
        config,
        seed=chosen["seed"],
        precision=chosen["precision"],
        spec=config.spec.replace(task_state=chosen["task_state"]),
    ), chosen["first_image"]


def _describe(config: TrainingConfig) -> dict[str, str]:
    """Returns the settings that all workers must have in common."""
    quiet = {"log_every_n_steps", "save_summaries_secs", "max_checkpoints_to_keep"}
    names = {field.name for field in dataclasses.fields(config)} - _OWN - quiet
    values = {name: getattr(config, name) for name in sorted(names)}
    values["spec"] = dataclasses.replace(config.spec, task_state={})
    return {name: str(value) for name, value in values.items()}


class SharedEvaluator:
    """Evaluates checkpoints with all workers, each on its part of the images.

    Args:
      workers: the workers; all of them predict at the same time.
      evaluator: evaluates image i if this is worker i % count.
    """

    def __init__(self, workers: Workers, evaluator: Any) -> None:
        self._workers, self._evaluator = workers, evaluator

    def predict(self, prefix: str) -> Predictions:
        """Returns the predictions for all images, in their order."""
        own = self._evaluator.predict(prefix)
        return dataclasses.replace(
            own,
            labels=self._workers.gather_rows(own.labels),
            logits=self._workers.gather_rows(own.logits),
        )

    def close(self) -> None:
        """Closes the evaluator."""
        self._evaluator.close()


def share_evaluations(
    config: TrainingConfig, build_evaluator: Callable[[], Any] | None
) -> Callable[[], Any] | None:
    """Returns `build_evaluator`, with workers one that builds a `SharedEvaluator`."""
    if config.workers is None or build_evaluator is None:
        return build_evaluator
    return lambda: SharedEvaluator(config.workers, build_evaluator())


class Follower:
    """Takes part in the evaluations of the chief's `Validator`; has its methods.

    Args:
      build_evaluator: returns a `SharedEvaluator`.
    """

    def __init__(self, build_evaluator: Callable[[], Any]) -> None:
        self._build_evaluator = build_evaluator
        self._evaluator = None

    def start(self, step: int) -> None:
        """Does nothing."""

    def is_due(self, step: int, is_last: bool = False) -> bool:
        """Leaves that to the chief."""
        return False

    def evaluate(
        self, step: int, prefix: str, facts: Mapping[str, float]
    ) -> dict[str, float]:
        """Evaluates this worker's part of the images; returns no metrics."""
        if self._evaluator is None:
            self._evaluator = self._build_evaluator()
        self._evaluator.predict(prefix)
        return {}

    def is_export_due(self) -> bool:
        """Leaves that to the chief."""
        return False

    def get_reason_to_stop(self) -> None:
        """Leaves that to the chief."""

    def get_best(self) -> None:
        """Leaves that to the chief."""

    def close(self) -> None:
        """Frees the graph of the evaluations."""
        if self._evaluator is not None:
            self._evaluator.close()
