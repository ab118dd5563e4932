"""Reads and writes small files, local or remote; text files are replaced atomically.

Every path may be anything that `tf.gfile` supports. Errors of the file system, such as
a full disk, raise `OSError` with a message of one sentence.
"""

import contextlib
import datetime
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_slim_compat import tf


def read_text(path: str) -> str | None:
    """Returns the text of a file (UTF-8), or None if there is no such file."""
    if not tf.gfile.Exists(path):
        return None
    with _named_errors(path, "read"), tf.gfile.Open(path, "r") as file:
        return file.read()


def write_text(path: str, text: str) -> None:
    """Replaces a file atomically: readers find either the old text or the new one."""
    _replace(path, "w", text)


def write_bytes(path: str, content: bytes) -> None:
    """Replaces a file atomically, as `write_text` does."""
    _replace(path, "wb", content)


def make_folder(path: str) -> None:
    """Creates a folder and its parents, unless they exist."""
    with _named_errors(path, "created"):
        tf.gfile.MakeDirs(path)


def append_text(path: str, text: str) -> None:
    """Appends to a file; if the process is killed, part of the text may be written."""
    with _named_errors(path, "written"), tf.gfile.Open(path, "a") as file:
        file.write(text)


def link_or_copy(source: str, target: str) -> None:
    """Links `target` to `source`, or copies the file where links are not possible."""
    with _named_errors(target, "written"):
        if tf.gfile.Exists(target):
            tf.gfile.Remove(target)
        if "://" not in source:
            with contextlib.suppress(OSError):
                os.link(source, target)
                return
        tf.gfile.Copy(source, target, overwrite=True)


def rename(source: str, target: str) -> None:
    """Renames a file, replacing `target` if it exists."""
    with _named_errors(target, "written"):
        tf.gfile.Rename(source, target, overwrite=True)


def remove(path: str) -> None:
    """Removes a file, if it exists."""
    with _named_errors(path, "removed"), contextlib.suppress(tf.errors.NotFoundError):
        tf.gfile.Remove(path)


def list_names(folder: str) -> list[str]:
    """Returns the sorted names in a folder; none if there is no such folder."""
    if not tf.gfile.IsDirectory(folder):
        return []
    with _named_errors(folder, "read"):
        return sorted(tf.gfile.ListDirectory(folder))


def partial_path(path: str) -> str:
    """Returns the path of the temporary file that is renamed to `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.partial")


def final_path(path: str) -> str:
    """Returns a path with final names in place of those of `partial_path`."""
    return re.sub(r"(^|/)\.([^/]+)\.partial(?=/|$)", r"\1\2", path)


def to_json(value: Any, indent: int | None = None) -> str:
    """Returns a value as strict JSON: NaN and infinities become null."""
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False)


def to_plain(value: Any) -> Any:
    """Converts a value to what JSON can hold.

    NumPy values become Python values, tuples become lists, numbers that are not finite
    become None, and anything unknown becomes its string.
    """
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


def utc_now() -> str:
    """Returns the current time, such as 2026-11-21T03:00:00+00:00."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@contextlib.contextmanager
def _named_errors(path: str, what: str) -> Iterator[None]:
    """Turns errors of TensorFlow into an `OSError` that names the file."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0].split(";")[-1].strip()
        raise OSError(f"{final_path(path)!r} cannot be {what}: {reason}.") from error


def _replace(path: str, mode: str, content: str | bytes) -> None:
    partial = partial_path(path)
    try:
        with _named_errors(path, "written"):
            with tf.gfile.Open(partial, mode) as file:
                file.write(content)
            tf.gfile.Rename(partial, path, overwrite=True)
    except OSError:
        remove(partial)
        raise
