"""Signals that end training."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_on_signals(request_stop: Callable[[str], None]) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM end training after the step, with a checkpoint.

    A second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may handle signals.
        return

    def handle(signum, frame):
        del frame
        restore()
        request_stop(f"{signal.Signals(signum).name} was received")

    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore():
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    for signum in previous:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        restore()
