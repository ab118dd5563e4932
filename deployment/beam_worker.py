"""Worker processes of Beam's direct runner: `python -m deployment.beam_worker FILE`.

They run Beam's own program, but say nothing, as errors reach the process that started
them anyway, and end when that process unlocks the file, or dies.
"""

import fcntl
import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
import types

# Of the direct runner, one for each process.
_THREAD = "run_worker"


class WorkerProcesses:
    """Ends the worker processes, all of them if one dies.

    The runner would wait for a dead one without end; its thread for the process does
    notice. What its other threads say then is of no use.
    """

    def __enter__(self) -> "WorkerProcesses":
        self._lock = tempfile.NamedTemporaryFile()
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._hook = threading.excepthook
        self._has_died = self._is_closed = False
        self._closing = threading.Lock()
        self._handler = signal.signal(signal.SIGUSR1, self._interrupt)
        threading.excepthook = self._note
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._is_closed = True
        threading.excepthook = self._hook
        with self._closing:  # From here on nothing sends the signal, which could kill.
            pass
        signal.signal(signal.SIGUSR1, self._handler)
        self._lock.close()
        if kind is KeyboardInterrupt and self._has_died:
            raise OSError(
                "A worker process died, probably because memory ran out: try fewer "
                "workers."
            ) from None

    def get_command(self) -> str:
        """Returns the command that starts one."""
        command = (sys.executable, "-m", "deployment.beam_worker", self._lock.name)
        return f"exec {shlex.join(command)}"

    def _note(self, failure: threading.ExceptHookArgs) -> None:
        is_first = failure.thread.name == _THREAD and not self._has_died
        # Ctrl-C ends them, too.
        if is_first and not str(failure.exc_value).endswith(f" -{signal.SIGINT:d}"):
            with self._closing:
                if self._is_closed:
                    return
                self._has_died = True
                # Wakes the main thread up, which `_thread.interrupt_main` would not do.
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _interrupt(self, *_: object) -> None:
        if not self._is_closed:
            raise KeyboardInterrupt


def main() -> None:
    """Works until there is no more to do."""
    # Ends it at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda failure: None
    threading.Thread(
        target=_exit_when_unlocked, args=[sys.argv[1]], daemon=True
    ).start()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _exit_when_unlocked(path: str) -> None:
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    os._exit(1)


if __name__ == "__main__":
    main()
