"""Saving checkpoints between steps: each step once, each whole or not at all."""

import os

from absl import logging

from deployment.models import checkpoints
from tf_slim_compat import tf


class CheckpointSaver(tf.train.Saver):
    """A `tf.train.Saver` for the checkpoints of a training run.

    A step that is saved already is not saved again. Where saving fails, as on a
    full disk, what was begun is removed and the earlier checkpoints stay.

    Args:
      train_dir: the folder of the checkpoints.
      keep: how many of the newest to keep; 0 keeps all.
    """

    def __init__(self, train_dir, keep=5):
        super().__init__(max_to_keep=keep)
        self._train_dir = train_dir
        self._saved_step = None

    def restore(self, sess, save_path):
        super().restore(sess, save_path)
        self._saved_step = checkpoints.get_step(save_path)

    def save(self, sess, save_path, global_step=None, **kwargs):
        """Saves unless this step is saved; returns the checkpoint's prefix.

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
            return  # It is whole; what failed came later.
        for path in tf.gfile.Glob(f"{prefix}.*"):
            tf.gfile.Remove(path)

    def _explain(self, step, error):
        reason = getattr(error, "message", None) or str(error)
        newest = checkpoints.find_newest_complete(self._train_dir)
        if isinstance(error, tf.errors.ResourceExhaustedError):
            reason = "no space is left on the device"
        return (
            f"The checkpoint of step {step} could not be saved to "
            f"{self._train_dir!r} ({reason.splitlines()[0].strip().rstrip('.')}): "
            "make room and give the same command again; the last good checkpoint is "
            f"{newest or 'none yet'}."
        )


def point_to(train_dir, prefix):
    """Makes `prefix` what TensorFlow takes for the newest checkpoint."""
    if tf.train.latest_checkpoint(train_dir) == prefix:
        return
    logging.warning("The newest checkpoint that is whole is %s.", prefix)
    tf.train.update_checkpoint_state(
        train_dir, os.path.abspath(prefix), all_model_checkpoint_paths=None
    )
