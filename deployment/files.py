"""Reads and writes files, local or remote, such that nothing is lost.

What is written replaces the old atomically and durably: the temporary file is synced to
the disk, renamed, and then its folder is synced. After a kill or a power cut there is
either the old content or the new one. Remote paths, with `://`, are left to their file
system.

Every path may be anything that `tf.gfile` supports. Errors of the file system, such as
a full disk, raise `OSError` with a message of one sentence that names the final file.
"""

import contextlib
import datetime
import errno
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

import checked_json
from tf_slim_compat import tf

# Some file systems cannot sync folders.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF}


def is_local(path: str) -> bool:
    """Returns whether a path is one of the operating system."""
    return "://" not in path


def read_text(path: str) -> str | None:
    """Returns the text of a file (UTF-8), or None if there is no such file.

    Raises:
      ValueError: if it is not UTF-8 text.
      OSError: if it cannot be read.
    """
    if not tf.gfile.Exists(path):
        return None
    try:
        with _named_errors(path, "read"), tf.gfile.Open(path, "r") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path!r} is damaged ({error}): restore it.") from error


def read_json(path: str) -> Any:
    """Returns the value in a JSON file, or None if there is no such file.

    Raises:
      ValueError: if it is not JSON; the message is a clause, see `checked_json.parse`.
    """
    if not tf.gfile.Exists(path):
        return None
    with _named_errors(path, "read"), tf.gfile.Open(path, "rb") as file:
        content = file.read(checked_json.MAX_BYTES + 1)
    value = checked_json.parse(content)
    if value is None:
        raise ValueError("it is null")
    return value


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


def append_text(path: str, text: str, is_durable: bool = True) -> None:
    """Appends to a file; if the process is killed, part of the text may be written.

    Args:
      path: the file; it is created if there is none.
      text: what to append.
      is_durable: whether to sync the file; otherwise `sync` does later.
    """
    with _named_errors(path, "written"):
        is_new = not tf.gfile.Exists(path)
        with tf.gfile.Open(path, "a") as file:
            file.write(text)
        if is_durable and is_new:
            sync(path)
        elif is_durable:
            _sync_one(path)


def link_or_copy(source: str, target: str) -> None:
    """Links `target` to `source`, or copies the file where links are not possible.

    A copy is synced; the folder is not, as a rename follows.
    """
    with _named_errors(target, "written"):
        if tf.gfile.Exists(target):
            tf.gfile.Remove(target)
        if is_local(source):
            with contextlib.suppress(OSError):
                os.link(source, target)
                return
        tf.gfile.Copy(source, target, overwrite=True)
        _sync_one(target)


def rename(source: str, target: str, is_durable: bool = True) -> None:
    """Renames a file, replacing `target` if it exists.

    Args:
      source: the file; `sync` it first if it was not written by this module.
      target: the new path.
      is_durable: whether to sync the folder; otherwise another durable operation in the
        same folder has to follow.
    """
    with _named_errors(target, "written"):
        tf.gfile.Rename(source, target, overwrite=True)
        if is_durable:
            _sync_one(os.path.dirname(target) or ".")


def remove(path: str) -> None:
    """Removes a file, if it exists."""
    with _named_errors(path, "removed"), contextlib.suppress(tf.errors.NotFoundError):
        tf.gfile.Remove(path)


def sync(*paths: str) -> None:
    """Makes files and folders durable that others wrote, such as TensorFlow.

    Args:
      *paths: files, and folders with everything in them. Their own folders are synced
        last, each once.
    """
    for path in paths:
        with _named_errors(path, "written"):
            _sync_all(path)
    for folder in sorted({os.path.dirname(path) or "." for path in paths}):
        with _named_errors(folder, "written"):
            _sync_one(folder)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a path for a file or folder that replaces `path` once it is complete.

    If an error ends the block, nothing is replaced and nothing temporary stays. What a
    kill leaves is removed by the next replacement, or by `recover`.

    Raises:
      OSError: if it cannot be written.
    """
    partial, old = partial_path(path), partial_path(f"{path}.old")
    make_folder(os.path.dirname(path) or ".")
    recover(path)
    try:
        with _named_errors(path, "written"):
            yield partial
            _sync_all(partial)
            if tf.gfile.IsDirectory(path):
                tf.gfile.Rename(path, old)
            tf.gfile.Rename(partial, path, overwrite=True)
            _sync_one(os.path.dirname(path) or ".")
    except BaseException:
        with contextlib.suppress(OSError):  # The first error counts.
            recover(path)
        raise
    _remove_any(old)


def recover(path: str) -> None:
    """Undoes a replacement that was killed: what was there before is there again.

    A folder cannot be replaced in one step, so a kill may leave none under its name.
    """
    partial, old = partial_path(path), partial_path(f"{path}.old")
    if tf.gfile.IsDirectory(old):
        if not tf.gfile.Exists(path):
            rename(old, path)
        _remove_any(old)
    _remove_any(partial)


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


def get_cache_folder() -> str:
    """Returns the folder for what can be computed or fetched again, of this user."""
    parent = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(parent, "slim-image-classifier")


def utc_now() -> str:
    """Returns the current time, such as 2026-11-21T03:00:00+00:00."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@contextlib.contextmanager
def _named_errors(path: str, what: str) -> Iterator[None]:
    """Turns errors of the file system into an `OSError` that names the file."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0].split(";")[-1].strip()
        raise OSError(f"{final_path(path)!r} cannot be {what}: {reason}.") from error
    except OSError as error:
        if error.strerror is None:  # The message says it all.
            raise
        final = final_path(path)
        is_named = isinstance(error.filename, str)
        if is_named and not final_path(error.filename).startswith(final):
            raise  # Of another file.
        raise OSError(f"{final!r} cannot be {what}: {error.strerror}.") from error


def _replace(path: str, mode: str, content: str | bytes) -> None:
    partial = partial_path(path)
    try:
        with _named_errors(path, "written"):
            with tf.gfile.Open(partial, mode) as file:
                file.write(content)
            _sync_one(partial)
            tf.gfile.Rename(partial, path, overwrite=True)
            _sync_one(os.path.dirname(path) or ".")
    except BaseException:
        with contextlib.suppress(OSError):  # The first error counts.
            remove(partial)
        raise


def _sync_all(path: str) -> None:
    """Syncs a file, or a folder with everything in it."""
    if not os.path.isdir(path):
        _sync_one(path)
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            _sync_one(os.path.join(folder, name))
        _sync_one(folder)


def _sync_one(path: str) -> None:
    """Syncs the content of a file, or the names in a folder."""
    if not is_local(path):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (error.errno in _NO_SYNC and os.path.isdir(path)):
            raise


def _remove_any(path: str) -> None:
    """Removes a file or a folder with everything in it, if there is one."""
    with _named_errors(path, "removed"), contextlib.suppress(tf.errors.NotFoundError):
        if tf.gfile.IsDirectory(path):
            tf.gfile.DeleteRecursively(path)
        else:
            tf.gfile.Remove(path)
