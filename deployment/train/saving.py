"""Saves checkpoints between steps: each step once, atomically and durably."""

import os
import re
from collections.abc import Sequence
from typing import Any

from absl import logging

from deployment import files, remote, text
from deployment.models import checkpoint, checkpoint_state
from deployment.models.checkpoint import Checkpoint
from tf_slim_compat import tf

_SUFFIX = r"(\.index|\.meta|\.data-\d+-of-\d+|)"
# Left by a kill while TensorFlow writes a checkpoint or graph, or training begins.
_LEFTOVER = re.compile(r".*\.tempstate\d+|.*\.tmp[0-9a-f]{32}|\.probe-\d+")


class CheckpointSaver(tf.train.Saver):
    """A `tf.train.Saver` for the checkpoints of a training run.

    A step that has been saved is not saved again. A checkpoint counts, and earlier ones
    are removed, only when all its files are on the disk. If saving fails, as on a full
    disk, the partial checkpoint is removed and earlier ones stay. Only files in the
    folder are removed, and only those of checkpoints that its `checkpoint` file lists.

    Args:
      train_dir: the folder of the checkpoints.
      keep: number of newest checkpoints to keep; 0 keeps all.
    """

    def __init__(self, train_dir: str, keep: int = 5):
        super().__init__(max_to_keep=keep)
        self._train_dir = train_dir
        self._keep = keep
        self._saved_step = None
        self._part = None

    def restore_without(self, variables: Sequence[tf.Variable]) -> None:
        """Has variables initialized that the checkpoint to restore lacks."""
        names = {variable.op.name for variable in variables}
        others = [v for v in tf.global_variables() if v.op.name not in names]
        self._part = tf.train.Saver(others), tf.variables_initializer(variables)

    def restore(self, sess: tf.Session, save_path: str) -> None:
        """Restores a checkpoint."""
        if self._part is None:
            super().restore(sess, save_path)
        else:
            saver, initializer = self._part
            saver.restore(sess, save_path)
            sess.run(initializer)
        self._saved_step = Checkpoint(save_path).step

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Does nothing: the `checkpoint` file is read at every save."""

    def save(
        self, sess: tf.Session, save_path: str, global_step: Any = None, **kwargs: Any
    ) -> str:
        """Saves a checkpoint unless the step has one; returns its prefix.

        Raises:
          OSError: if it cannot be written.
          AbortedError: if a TensorFlow server rejects the request.
        """
        if not isinstance(global_step, int):
            global_step = tf.train.global_step(sess, global_step)
        prefix = f"{save_path}-{global_step}"
        if global_step == self._saved_step and checkpoint.exists(prefix):
            return prefix
        kwargs["write_state"] = False
        try:
            super().save(sess, save_path, global_step=global_step, **kwargs)
            self._list(os.path.basename(prefix))
        except tf.errors.AbortedError:
            # Not the disk's fault: `training` decides whether to retry.
            self._remove_leftovers(os.path.basename(prefix))
            raise
        except (tf.errors.OpError, OSError, ValueError) as error:
            self._remove_leftovers(os.path.basename(prefix))
            raise OSError(self._explain(global_step, error)) from error
        self._saved_step = global_step
        return prefix

    def _list(self, name):
        """Makes a checkpoint durable, lists it as the newest, removes the oldest."""
        files.sync(*_list_paths(self._train_dir, name))
        others = [n for n in checkpoint_state.read(self._train_dir) if n != name]
        rotate(self._train_dir, [*others, name] if self._keep else [name], self._keep)

    def _remove_leftovers(self, name):
        if name in checkpoint_state.read(self._train_dir):
            return  # It is complete; something later failed.
        for path in _list_paths(self._train_dir, name):
            files.remove(path)
        remove_leftovers(self._train_dir)

    def _explain(self, step, error):
        reason = text.find_cause(getattr(error, "message", None) or str(error))
        if isinstance(error, tf.errors.ResourceExhaustedError):
            reason = "no space is left on the device"
        # The part before a semicolon names a temporary file.
        reason = reason.split(";")[-1]
        try:
            newest = checkpoint.find_newest(self._train_dir)
        except ValueError:
            newest = None
        return (
            f"The checkpoint of step {step} could not be saved to "
            f"{self._train_dir!r} ({reason.strip().rstrip('.')}): "
            "free some space and run the same command again; the last good checkpoint "
            f"is {newest.path if newest else 'none yet'}."
        )


def point_to(train_dir: str, prefix: str, keep: int) -> None:
    """Makes a checkpoint the one that TensorFlow restores from a folder.

    Args:
      train_dir: the folder.
      prefix: the checkpoint; it is in the folder.
      keep: number of checkpoints that are kept there; 0 for all. If the `checkpoint`
        file is damaged, only so many may be removed later on.

    Raises:
      OSError: if the `checkpoint` file cannot be written.
    """
    name = os.path.basename(prefix)
    listed = checkpoint_state.read(train_dir)
    if listed[-1:] == [name]:
        rotate(train_dir, listed, keep)  # A kill may have cut that off.
        return
    if not listed:
        steps = sorted(checkpoint.list_steps(train_dir).items())
        listed = [os.path.basename(path) for _, path in steps][-keep:] if keep else []
    others = [other for other in listed if other != name]
    checkpoint_state.write(train_dir, [*others, name])


def rotate(train_dir: str, listed: Sequence[str], keep: int) -> None:
    """Lists checkpoints, the newest last, and removes all but the newest.

    Args:
      train_dir: the folder.
      listed: their names.
      keep: how many to keep; 0 keeps all.

    Raises:
      OSError: if the `checkpoint` file cannot be written.
    """
    first = max(0, len(listed) - keep) if keep else 0
    # While they are listed, a kill cannot make old ones stay for ever.
    checkpoint_state.write(train_dir, listed)
    for name in listed[:first]:
        remote.drop_checkpoint(train_dir, name)
    try:
        for path in (
            p for name in listed[:first] for p in _list_paths(train_dir, name)
        ):
            files.remove(path)
    except OSError as error:
        logging.warning("An old checkpoint stays: %s", error)
    if first:
        checkpoint_state.write(train_dir, listed[first:])


def remove_leftovers(train_dir: str) -> None:
    """Removes the temporary files that a kill left in a training folder.

    Raises:
      OSError: if one cannot be removed.
    """
    for name in filter(_LEFTOVER.fullmatch, files.list_names(train_dir)):
        files.remove(os.path.join(train_dir, name))


def _list_paths(train_dir: str, name: str) -> list[str]:
    """Returns the paths of a checkpoint's files, its index first."""
    pattern = re.compile(re.escape(name) + _SUFFIX)
    names = filter(pattern.fullmatch, files.list_names(train_dir))
    # Without the index, the rest is not a checkpoint.
    names = sorted(names, key=lambda name: not name.endswith(".index"))
    return [os.path.join(train_dir, name) for name in names]
