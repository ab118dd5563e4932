"""Saves checkpoints between steps: each step once, and atomically."""

import os
from typing import Any

from absl import logging

from deployment.models import checkpoint
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf


class CheckpointSaver(tf.train.Saver):
    """A `tf.train.Saver` for the checkpoints of a training run.

    A step that has been saved is not saved again. If saving fails, as on a full disk,
    the partial checkpoint is removed and earlier ones stay.

    Args:
      train_dir: the folder of the checkpoints.
      keep: number of newest checkpoints to keep; 0 keeps all.
    """

    def __init__(self, train_dir: str, keep: int = 5):
        super().__init__(max_to_keep=keep)
        self._train_dir = train_dir
        self._saved_step = None

    def restore(self, sess: tf.Session, save_path: str) -> None:
        """Restores a checkpoint."""
        super().restore(sess, save_path)
        self._saved_step = Checkpoint(save_path).step

    def save(
        self, sess: tf.Session, save_path: str, global_step: Any = None, **kwargs: Any
    ) -> str:
        """Saves a checkpoint unless the step has one; returns its prefix.

        Raises:
          OSError: if it cannot be written.
        """
        if not isinstance(global_step, int):
            global_step = tf.train.global_step(sess, global_step)
        prefix = f"{save_path}-{global_step}"
        if global_step == self._saved_step and tf.train.checkpoint_exists(prefix):
            return prefix
        try:
            super().save(sess, save_path, global_step=global_step, **kwargs)
        except (tf.errors.OpError, OSError, ValueError) as error:
            self._remove_leftovers(prefix)
            raise OSError(self._explain(global_step, error)) from error
        self._saved_step = global_step
        return prefix

    def _remove_leftovers(self, prefix):
        state = tf.train.get_checkpoint_state(self._train_dir)
        if state is not None and prefix in state.all_model_checkpoint_paths:
            return  # It is complete; something later failed.
        for path in tf.gfile.Glob(f"{prefix}.*"):
            tf.gfile.Remove(path)

    def _explain(self, step, error):
        reason = getattr(error, "message", None) or str(error)
        newest = checkpoint.find_newest(self._train_dir)
        if isinstance(error, tf.errors.ResourceExhaustedError):
            reason = "no space is left on the device"
        # The part before a semicolon names a temporary file.
        reason = reason.splitlines()[0].split(";")[-1]
        return (
            f"The checkpoint of step {step} could not be saved to "
            f"{self._train_dir!r} ({reason.strip().rstrip('.')}): "
            "free some space and run the same command again; the last good checkpoint "
            f"is {newest.path if newest else 'none yet'}."
        )


def point_to(train_dir: str, prefix: str) -> None:
    """Makes `prefix` the newest checkpoint of a folder for TensorFlow."""
    if tf.train.latest_checkpoint(train_dir) == prefix:
        return
    logging.warning("The newest complete checkpoint is %s.", prefix)
    tf.train.update_checkpoint_state(
        train_dir, os.path.abspath(prefix), all_model_checkpoint_paths=None
    )
