"""Small files that are written whole or not at all, local or remote.

All of it goes through `tf.gfile`, so a training folder may lie wherever
checkpoints may. What the file system refuses, such as a write to a full disk, is
an `OSError` of one sentence.
"""

import contextlib
import datetime
import json
import math
import os

import numpy as np

from tf_slim_compat import tf


def read_text(path):
    """The text of a file (UTF-8), or None if there is no such file."""
    if not tf.gfile.Exists(path):
        return None
    with _naming(path, "read"), tf.gfile.Open(path, "r") as file:
        return file.read()


def write_text(path, text):
    """Replaces a file: whoever reads it finds the old text or the new one."""
    partial = partial_path(path)
    try:
        with _naming(path, "written"):
            with tf.gfile.Open(partial, "w") as file:
                file.write(text)
            tf.gfile.Rename(partial, path, overwrite=True)
    except OSError:
        remove(partial)
        raise


def make_folder(path):
    """Makes a folder, and those above it, if there is none."""
    with _naming(path, "made"):
        tf.gfile.MakeDirs(path)


def append_text(path, text):
    """Adds to the end of a file; cut short by a kill, a part of it may be there."""
    with _naming(path, "written"), tf.gfile.Open(path, "a") as file:
        file.write(text)


def link_or_copy(source, target):
    """Makes `target` the same file as `source`, or a copy where links are not made."""
    with _naming(target, "written"):
        if tf.gfile.Exists(target):
            tf.gfile.Remove(target)
        if "://" not in source:
            with contextlib.suppress(OSError):
                os.link(source, target)
                return
        tf.gfile.Copy(source, target, overwrite=True)


def rename(source, target):
    """Moves a file, in the place of another if there is one."""
    with _naming(target, "written"):
        tf.gfile.Rename(source, target, overwrite=True)


def remove(path):
    """Removes a file that may be there."""
    with _naming(path, "removed"), contextlib.suppress(tf.errors.NotFoundError):
        tf.gfile.Remove(path)


def list_names(folder):
    """The names in a folder, sorted; none if there is no such folder."""
    if not tf.gfile.IsDirectory(folder):
        return []
    with _naming(folder, "read"):
        return sorted(tf.gfile.ListDirectory(folder))


def partial_path(path):
    """Where a file is written before it takes the place of `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.partial")


def to_json(value, indent=None):
    """A value as JSON, strictly: what is not finite becomes null."""
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False)


def to_plain(value):
    """A value as JSON gives it back: NumPy's numbers as Python's, tuples as lists."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def utc_now():
    """The time as text, such as 2026-11-21T03:00:00+00:00."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@contextlib.contextmanager
def _naming(path, what):
    """Turns TensorFlow's errors into an `OSError` that names the file."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0].split(";")[-1].strip()
        raise OSError(f"{path!r} cannot be {what}: {reason}.") from error
