"""Loads many images in worker processes, in order and in bounded memory.

This module does not import TensorFlow, which keeps worker processes quick to start.
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

from datasets import image_files

# Enough to keep the workers busy, few enough for large images.
_PENDING_PER_WORKER = 16


def load_all(
    paths: Iterable[str], workers: int
) -> Iterator[tuple[image_files.EncodedImage | None, str]]:
    """Loads images in the order of `paths`.

    Args:
      paths: files to load.
      workers: number of processes; 1 loads in this process.

    Yields:
      (image, ""), or (None, the reason why the file cannot be read).

    Raises:
      OSError: if a worker process dies.
    """
    if workers == 1:
        yield from map(try_load, paths)
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
                    pending.append(pool.submit(try_load, path))
            if not pending:
                return
            yield pending.popleft().result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError(
            "A worker process died, probably because memory ran out: try fewer than "
            f"--workers={workers}."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def try_load(path: str) -> tuple[image_files.EncodedImage | None, str]:
    """Returns the image and "", or None and the reason why it cannot be read."""
    try:
        return image_files.load(path), ""
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Blocks SIGINT; workers started within it inherit the block.

    Ctrl-C reaches the whole process group, and only the parent should answer it, which
    it does when the context ends.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start_worker() -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this worker if its parent is killed before it could end it."""
    multiprocessing.parent_process().join()
    os._exit(1)
