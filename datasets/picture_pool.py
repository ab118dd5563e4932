"""Loads many pictures in worker processes, in order and in bounded memory.

This module does not import TensorFlow, so worker processes start fast.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator

from datasets import pictures

# Enough that no worker waits for the writer, few enough for large pictures.
_PENDING_PER_WORKER = 16


def load_all(
    paths: Iterable[str], workers: int
) -> Iterator[tuple[pictures.Picture | None, str]]:
    """Loads pictures in the order of `paths`.

    Args:
      paths: files to load.
      workers: number of processes; 1 loads in this process.

    Yields:
      (picture, ""), or (None, what is wrong with the file).

    Raises:
      OSError: a worker process died.
    """
    if workers == 1:
        yield from map(_try_load, paths)
        return
    # Spawned, as TensorFlow's threads do not survive a fork.
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        paths = iter(paths)
        pending = collections.deque()
        while True:
            room = workers * _PENDING_PER_WORKER - len(pending)
            for path in itertools.islice(paths, room):
                with _sigint_blocked():
                    pending.append(pool.submit(_try_load, path))
            if not pending:
                return
            yield pending.popleft().result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError(
            "A worker process died, most likely for want of memory: try again with "
            f"fewer than --workers={workers}."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _try_load(path):
    try:
        return pictures.load_picture(path), ""
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def _sigint_blocked():
    """Workers started in this context inherit the block from their first line on.

    Ctrl-C reaches the whole process group; the parent alone answers it, as soon as
    the context ends.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start_worker():
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent():
    """Ends this worker when its parent was killed and could not end it."""
    multiprocessing.parent_process().join()
    os._exit(1)
