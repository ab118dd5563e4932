"""A dry run: tries a training run briefly, and measures what it needs."""

import contextlib
import dataclasses
import datetime
import logging as python_logging
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from deployment.models.checkpoint import Checkpoint
from deployment.train import training
from deployment.train.config import TrainingConfig
from deployment.train.loop import TrainingResult
from tf_slim_compat import tf

_STEPS_BEFORE_RESTORING = 3
_STEPS_AFTER = 2


def dry_run(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
    **kwargs: Any,
) -> None:
    """Takes three steps, saves, restores and takes two more; logs what it needed.

    A warm start is tried too; validation is not. Nothing is left in `config.train_dir`.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: see `training.train`.
      **kwargs: further arguments of `training.train`, not used here.
    """
    del kwargs
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder, _hiding(folder):
        rehearsal = dataclasses.replace(
            config,
            train_dir=folder,
            time_budget=None,
            validation=None,
            log_every_n_steps=1,
            is_rehearsal=True,
        )
        first = dataclasses.replace(rehearsal, number_of_steps=_STEPS_BEFORE_RESTORING)
        training.train(first, network_fn, build_batches)
        # The first step with histograms and the first without are slow.
        second = dataclasses.replace(
            rehearsal,
            number_of_steps=_STEPS_BEFORE_RESTORING + _STEPS_AFTER,
            save_summaries_secs=0,
        )
        result = training.train(second, network_fn, build_batches)
        newest = Checkpoint(folder)
        checkpoint_bytes = sum(
            tf.gfile.Stat(path).length for path in tf.gfile.Glob(f"{newest.path}.*")
        )
        num_values = sum(variable.size for variable in newest.variables.values())
    for line in describe(config, result, checkpoint_bytes, num_values):
        logging.info("%s", line)


@contextlib.contextmanager
def _hiding(folder: str) -> Iterator[None]:
    """Within, messages that name a folder are not logged."""

    def is_shown(record: python_logging.LogRecord) -> bool:
        return folder not in record.getMessage()

    logger = logging.get_absl_logger()
    logger.addFilter(is_shown)
    try:
        yield
    finally:
        logger.removeFilter(is_shown)


def describe(
    config: TrainingConfig,
    result: TrainingResult,
    checkpoint_bytes: int,
    num_values: int,
) -> Iterator[str]:
    """Yields lines of text on what a run needs.

    Args:
      config: the configuration of the run.
      result: the result of a short run.
      checkpoint_bytes: size of one checkpoint.
      num_values: number of values in a checkpoint.
    """
    yield "Dry run: five steps, a save and a restore succeeded."
    yield f"  memory      {_peak_memory_bytes() / 1e9:.2f} GB at the peak so far"
    secs = result.step_secs
    rate = config.images_per_step / secs
    yield f"  speed       {secs:.3f} s per step, {rate:.1f} images/s"
    if config.number_of_steps is not None:
        duration = datetime.timedelta(seconds=round(secs * config.number_of_steps))
        epochs = config.steps_to_epochs(config.number_of_steps)
        yield (
            f"  duration    {duration} for {config.number_of_steps} steps "
            f"({epochs:.1f} epochs), without validation"
        )
    kept = config.max_checkpoints_to_keep
    best = config.validation.num_best_checkpoints if config.validation else 0
    yield (
        f"  disk        {checkpoint_bytes / 1e6:.1f} MB per checkpoint of "
        f"{num_values:,} values; "
        + (
            f"{checkpoint_bytes * (kept + best + 1) / 1e6:.0f} MB for the {kept} "
            f"newest, the {best} best and one being written"
            if kept
            else "all are kept"
        )
    )


def _peak_memory_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
