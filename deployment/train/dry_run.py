"""A rehearsal of a training run: does it work, and what does it take?"""

import dataclasses
import datetime
import resource
import sys
import tempfile

from absl import logging

from deployment.models import checkpoints
from deployment.train import training
from tf_slim_compat import tf

_STEPS_BEFORE_RESTORING = 3
_STEPS_AFTER = 2


def dry_run(config, network_fn, build_batches, **kwargs):
    """Takes some steps, saves, restores and takes some more; logs what it took.

    Nothing is left in `config.train_dir`. A warm start is tried as well, a
    validation is not.

    Args:
      config: a `training.TrainingConfig`.
      network_fn: see `training.train`.
      build_batches: see `training.train`.
      **kwargs: further arguments of `training.train`, left out here.
    """
    del kwargs
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        rehearsal = dataclasses.replace(
            config, train_dir=folder, validation=None, log_every_n_steps=1
        )
        first = dataclasses.replace(rehearsal, number_of_steps=_STEPS_BEFORE_RESTORING)
        training.train(first, network_fn, build_batches)
        second = dataclasses.replace(
            rehearsal, number_of_steps=_STEPS_BEFORE_RESTORING + _STEPS_AFTER
        )
        result = training.train(second, network_fn, build_batches)
        newest = tf.train.latest_checkpoint(folder)
        checkpoint_bytes = sum(
            tf.gfile.Stat(path).length for path in tf.gfile.Glob(f"{newest}.*")
        )
        parameters = checkpoints.count_elements(newest)
    for line in describe(config, result, checkpoint_bytes, parameters):
        logging.info("%s", line)


def describe(config, result, checkpoint_bytes, num_values):
    """What a run takes, as lines of text.

    Args:
      config: a `training.TrainingConfig`.
      result: the `training_loop.TrainingResult` of a short run.
      checkpoint_bytes: the size of one checkpoint.
      num_values: how many numbers a checkpoint holds.
    """
    yield "Dry run: a save, a restore and all steps went well."
    yield f"  memory      {_peak_memory_bytes() / 1e9:.2f} GB at the peak so far"
    secs = result.step_secs
    rate = config.images_per_step / secs
    yield f"  speed       {secs:.3f} s a step, {rate:.1f} images/s"
    if config.number_of_steps is not None:
        duration = datetime.timedelta(seconds=round(secs * config.number_of_steps))
        epochs = config.steps_to_epochs(config.number_of_steps)
        yield (
            f"  duration    {duration} for {config.number_of_steps} steps, "
            f"{epochs:.1f} epochs, validation left out"
        )
    kept = config.max_checkpoints_to_keep
    best = config.validation.num_best_checkpoints if config.validation else 0
    yield (
        f"  disk        {checkpoint_bytes / 1e6:.1f} MB a checkpoint of "
        f"{num_values:,} values; "
        + (
            f"{checkpoint_bytes * (kept + best + 1) / 1e6:.0f} MB for the {kept} newest"
            f", {best} of the best and one in the making"
            if kept
            else "all are kept"
        )
    )


def _peak_memory_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
