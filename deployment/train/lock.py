"""The lock of a training folder: only one process may train there.

An operating system lock on `train_dir/.lock` ends with its process, however that ends.
The file says who holds it, and stays. Reading a run needs no lock.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

from absl import logging

from deployment import files

FILE_NAME = ".lock"


@contextlib.contextmanager
def hold(train_dir: str) -> Iterator[None]:
    """Within, no other process may train in a folder.

    Remote folders are not locked, nor are those on file systems without locks.

    Raises:
      ValueError: if another process trains there.
      OSError: if the lock file cannot be written.
    """
    if not files.is_local(train_dir):
        yield
        return
    path = os.path.join(train_dir, FILE_NAME)
    try:
        # Not inherited by child processes that run another program.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OSError(f"{path!r} cannot be written: {error.strerror}.") from error
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
        raise ValueError(
            f"Another process trains in {os.path.dirname(path)!r}: "
            f"{holder or 'it has just begun'}. Wait until it ends, end it, or give "
            "another --train_dir."
        ) from error
    except OSError as error:
        logging.warning(
            "%s cannot be locked (%s): make sure that no other process trains there.",
            os.path.dirname(path),
            error.strerror,
        )
    # A full disk is no reason not to begin.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        os.pwrite(descriptor, f"{holder} since {files.utc_now()}\n".encode(), 0)
