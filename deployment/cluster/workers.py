"""Workers that train together by all-reduce, without parameter servers.

Every worker has the whole network, and takes part of each batch. The gradients are
averaged over all of them, so their variables stay bit-identical. Worker 0 is the chief:
it alone reads and writes the training folder.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from deployment.cluster import liveness, servers
from deployment.cluster.collectives import BUCKET_BYTES, Collectives
from deployment.config_flags import SettingError
from tf_slim_compat import tf

# What collectives raise if the process at an address is no longer the same one.
_BROKEN = (tf.errors.UnavailableError, tf.errors.AbortedError)
# TensorFlow 2.21 remembers 100,000 requests by random numbers that behave like ones of
# 32 bits, and takes one in 43,000 for a repeated one.
_REPEATED = "request was received twice"
# After a collective failed, how long to look for a process that ended.
_PATIENCE_SECS = 5.0
# So that the others find this process alive, and blame the right one.
_LINGER_SECS = 1.0


class Workers:
    """The workers of a run, one of which is this process.

    Args:
      addresses: HOST:PORT of each, the chief first.
      index: index of this process.
      timeout_secs: how long to wait for the others: at the start, and for a step, an
        evaluation or an export.
      bucket_bytes: see `Collectives`.

    Attributes:
      index: see above.
      collectives: the operations for graphs.
      target: address of this process's server, for sessions.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        index: int,
        timeout_secs: float,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        self.index = index
        self.collectives = Collectives(index, len(addresses), bucket_bytes)
        self._addresses = tuple(addresses)
        self._timeout_secs = timeout_secs
        names = {_name(i): address for i, address in enumerate(addresses) if i != index}
        # The chief watches all, the others the chief, who ends if one of them is lost.
        self._peers = liveness.Peers(names)
        self._watched = liveness.Peers(names if not index else {_name(0): addresses[0]})
        self.target = ""
        self._monitor = self._control = None
        self._sessions = []

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is worker 0."""
        return self.index == 0

    def start(self) -> None:
        """Starts this process's server, and waits for those of the others.

        Raises:
          ValueError: if the port is taken, or the others are not there in time.
        """
        jobs = {"worker": self._addresses}
        self.target = servers.start(jobs, "worker", self.index, self.configure())
        silent = liveness.wait_until_up(self._peers, self._timeout_secs, logging.info)
        if silent:
            raise SettingError(
                f"{self._peers.describe(silent)} did not answer within "
                f"{self._timeout_secs:.0f} s ({{{{worker_timeout}}}}): start the same "
                "command there, or correct the address in TF_CONFIG."
            )
        logging.info(
            "%d workers train together; this is %s.%s",
            *(len(self), _name(self.index)),
            "" if self.is_chief else " The chief reports for all.",
        )
        self._control = _Control(self)
        self._sessions.append(self._control.session)
        stall_secs = self._timeout_secs if self.is_chief else None
        self._monitor = liveness.Monitor(self._watched, stall_secs, self.close)

    def configure(self, config: tf.ConfigProto | None = None) -> tf.ConfigProto:
        """Sets what sessions with collectives need in their configuration."""
        if config is None:
            # One operation at a time, on all cores, as in training alone.
            config = tf.ConfigProto(inter_op_parallelism_threads=1)
        config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
        config.device_filters.append(f"/job:worker/task:{self.index}")
        return config

    @contextlib.contextmanager
    def communicating(self, session: tf.Session | None = None) -> Iterator[None]:
        """Within, a failure that is due to a lost worker raises an error that says so.

        Args:
          session: closed if a worker is lost, so that its run ends.

        Raises:
          LostWorkerError: if another worker does not answer any more, or TensorFlow
            rejects a request of this one.
        """
        if session is not None and session not in self._sessions:
            self._sessions.append(session)
        self._monitor.tick()
        try:
            yield
        except (tf.errors.OpError, RuntimeError) as error:
            cause = self._find_cause(error)
            if cause is None:
                raise
            time.sleep(_LINGER_SECS)
            raise liveness.LostWorkerError(
                f"{cause[0].upper()}{cause[1:]}. Run the same command on every machine "
                "again to resume from the last checkpoint."
            ) from error
        self._monitor.tick()

    def _find_cause(self, error: Exception) -> str | None:
        """Returns why communication failed, as a clause; None if no worker is lost."""
        if _REPEATED in str(error):
            return (
                f"TensorFlow rejected a request of worker {self.index}, whose random "
                "number was that of an earlier one, as happens once in some 40,000 "
                "requests"
            )
        loss = self._monitor.loss or liveness.find_loss(self._peers, _PATIENCE_SECS)
        if loss is None and isinstance(error, _BROKEN):
            loss = "a worker ended, and was started again"
        return loss and f"{loss}; training cannot go on without it"

    def gather(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the values of all workers, float64 [workers, ...].

        Args:
          values: numbers, of one shape on all workers.
        """
        values = np.asarray(values, np.float64)
        with self.communicating():
            return self._control.gather(values.ravel()).reshape(
                len(self), *values.shape
            )

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows of all workers, in turn: row i is of worker i % count.

        Args:
          rows: [n, ...]; worker 0 has at most one row more than others.
        """
        counts = self.gather([len(rows)])[:, 0].astype(int)
        padded = np.zeros([counts.max(), *rows.shape[1:]], rows.dtype)
        padded[: len(rows)] = rows
        turns = self.gather(padded).astype(rows.dtype)
        return np.moveaxis(turns, 0, 1).reshape(-1, *rows.shape[1:])[: counts.sum()]

    def share(self, value: Any = None) -> Any:
        """Returns the chief's value, which is made of JSON's types, on all workers."""
        text = json.dumps(value).encode() if self.is_chief else b""
        length = int(self.gather([len(text)])[0, 0])
        content = np.zeros(length) if not self.is_chief else np.frombuffer(text, "u1")
        return json.loads(self.gather(content)[0].astype("u1").tobytes())

    def leave(self) -> None:
        """Waits until all workers are done, and stops watching them."""
        self.gather([])
        self._monitor.close()

    def close(self) -> None:
        """Closes the sessions, which ends what runs in them."""
        for session in self._sessions:
            session.close()


def _name(index: int) -> str:
    return f"worker {index}" if index else "worker 0, the chief"


class _Control:
    """A graph and a session for what the workers tell each other between steps."""

    def __init__(self, workers: Workers) -> None:
        with tf.Graph().as_default() as graph:
            self._vector = tf.placeholder(tf.float64, [None])
            self._length = tf.placeholder(tf.int32, [])
            self._gathered = workers.collectives.gather(self._vector, self._length)
        self.session = tf.Session(workers.target, graph, workers.configure())

    def gather(self, vector: np.ndarray) -> np.ndarray:
        # No collective may be empty.
        padded = np.append(vector, 0.0)
        feeds = {self._vector: padded, self._length: len(padded)}
        gathered = self.session.run(self._gathered, feeds)
        return gathered.reshape(-1, len(padded))[:, :-1]
