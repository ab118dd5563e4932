"""Finds out whether the processes of a cluster are alive.

Each has a TensorFlow server, which answers gRPC's health check at once as long as the
process runs, whatever it computes: it has none, and says so. (TensorFlow's own calls,
such as `GetStatus`, wait for the step that runs.) A process that was killed refuses the
connection; one that is frozen, or whose machine is gone, leaves the call without an
answer.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import grpc

# A process that gives no answer for so long counts as lost.
SILENCE_SECS = 30.0
_CALL_SECS = 5.0
PAUSE_SECS = 0.5
_METHOD = "/grpc.health.v1.Health/Check"
_ANSWERS = (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)


class LostWorkerError(OSError):
    """Another process of the cluster died, froze or cannot be reached any more."""


class Peers:
    """Other processes of a cluster.

    Args:
      addresses: HOST:PORT by a name for messages, such as "worker 1".
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._channels = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def join(self, addresses: Mapping[str, str]) -> "Peers":
        """Returns these and other processes."""
        return Peers({**self._addresses, **addresses})

    def find_silent(self, timeout_secs: float = _CALL_SECS) -> list[str]:
        """Calls all at once; returns the names of those that do not answer in time."""
        calls = {name: self._call(name, timeout_secs) for name in self._addresses}
        return [name for name, call in calls.items() if call.code() not in _ANSWERS]

    def describe(self, names: Sequence[str]) -> str:
        """Returns the names with their addresses, for a message."""
        return ", ".join(f"{name} ({self._addresses[name]})" for name in names)

    def describe_loss(self, names: Sequence[str]) -> str:
        """Returns what a message says of those that are lost."""
        verb = "does" if len(names) == 1 else "do"
        return f"{self.describe(names)} {verb} not answer any more"

    def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels.values():
            channel.close()
        self._channels = {}

    def _call(self, name: str, timeout_secs: float) -> grpc.Future:
        if name not in self._channels:
            # Tries again at once when a server that was down comes up.
            options = [
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.enable_http_proxy", 0),
            ]
            self._channels[name] = grpc.insecure_channel(self._addresses[name], options)
        ask = self._channels[name].unary_unary(_METHOD, None, None)
        return ask.future(b"", timeout=timeout_secs)


def wait_until_up(
    peers: Peers, timeout_secs: float, report: Callable[[str], None]
) -> list[str]:
    """Waits until all answer.

    Args:
      peers: the processes.
      timeout_secs: how long to wait.
      report: called with a sentence whenever those change that are waited for.

    Returns:
      The names of those that did not answer in time.
    """
    end, last = time.monotonic() + timeout_secs, None
    while silent := peers.find_silent():
        if time.monotonic() > end:
            break
        if silent != last:
            report(f"Waiting for {peers.describe(silent)}.")
        last = silent
        time.sleep(PAUSE_SECS)
    return silent


def find_loss(peers: Peers, patience_secs: float) -> str | None:
    """Returns what was lost, as a clause; None if all answer.

    Args:
      peers: the processes.
      patience_secs: how long to go on asking; a process may be about to end.
    """
    end = time.monotonic() + patience_secs
    while not (silent := peers.find_silent()):
        if time.monotonic() > end:
            return None
        time.sleep(PAUSE_SECS / 5)
    return peers.describe_loss(silent)


class Monitor:
    """Watches other processes in a thread until it is closed.

    Args:
      peers: the processes.
      stall_secs: longest time between two calls of `tick`; None for no limit.
      on_loss: called once in the thread when a process is lost, or this one has not
        ticked for too long.
      silence_secs: how long a process may give no answer.

    Attributes:
      loss: what was lost, as a clause; None if nothing.
    """

    def __init__(
        self,
        peers: Peers,
        stall_secs: float | None,
        on_loss: Callable[[], None],
        silence_secs: float = SILENCE_SECS,
    ) -> None:
        self._peers, self._on_loss = peers, on_loss
        self._stall_secs, self._silence_secs = stall_secs, silence_secs
        self._ticked = time.monotonic()
        self.loss = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Says that this process makes progress."""
        self._ticked = time.monotonic()

    def close(self) -> None:
        """Ends the thread."""
        self._is_closed.set()
        self._thread.join()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._is_closed.wait(self._silence_secs / 6):
            silent = self._peers.find_silent()
            now = time.monotonic()
            if not silent:
                answered = now
            if now - answered > self._silence_secs:
                self.loss = self._peers.describe_loss(silent)
            elif self._stall_secs is not None and now - self._ticked > self._stall_secs:
                self.loss = (
                    f"No step ended for {self._stall_secs:.0f} s, so a worker hangs"
                )
            if self.loss is not None:
                self._on_loss()
                return
