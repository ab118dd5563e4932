"""TensorBoard event files that never end a run."""

import os
import socket
import time
from typing import Any

from absl import logging

from deployment import files
from tf_slim_compat import tf


class EventWriter:
    """Writes an event file, with the methods of `tf.summary.FileWriter`.

    Events are written by the calling thread, and at once. If the file cannot be
    written, as on a full disk, a warning says so and the rest is dropped.

    Args:
      folder: where the file is created with the first event.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._file = None
        self._is_closed = False
        self._has_failed = False

    def add_summary(
        self, summary: bytes | tf.Summary, global_step: int | None = None
    ) -> None:
        """Writes a summary, serialized or not."""
        if isinstance(summary, bytes):
            summary = tf.Summary.FromString(summary)
        self._write(global_step, summary=summary)

    def add_session_log(
        self, session_log: tf.SessionLog, global_step: int | None = None
    ) -> None:
        """Writes that a session started or stopped."""
        self._write(global_step, session_log=session_log)

    def add_graph(self, graph: tf.Graph, global_step: int | None = None) -> None:
        """Writes a graph."""
        graph_def = graph.as_graph_def(add_shapes=True)
        self._write(global_step, graph_def=graph_def.SerializeToString())

    def add_meta_graph(
        self, meta_graph_def: tf.MetaGraphDef, global_step: int | None = None
    ) -> None:
        """Writes a graph with its collections."""
        self._write(global_step, meta_graph_def=meta_graph_def.SerializeToString())

    def get_logdir(self) -> str:
        """Returns the folder."""
        return self._folder

    def flush(self) -> None:
        """Does nothing: events are written at once."""

    def reopen(self) -> None:
        """Accepts events again, for another file."""
        self._is_closed = False

    def close(self) -> None:
        """Closes the file; later events are dropped."""
        self._is_closed = True
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except (tf.errors.OpError, OSError) as error:
            self._fail(error)

    def _write(self, step: int | None, **content: Any) -> None:
        if self._is_closed or self._has_failed:
            return
        try:
            if self._file is None:
                files.make_folder(self._folder)
                self._file = tf.io.TFRecordWriter(self._choose_path())
                self._write_event(file_version="brain.Event:2")
            self._write_event(step=int(step or 0), **content)
        except (tf.errors.OpError, OSError) as error:
            self._fail(error)
            self.close()

    def _write_event(self, **content: Any) -> None:
        event = tf.Event(wall_time=time.time(), **content)
        self._file.write(event.SerializeToString())
        self._file.flush()

    def _choose_path(self) -> str:
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        taken = files.list_names(self._folder)
        number = sum(other.startswith(f"{name}.{os.getpid()}") for other in taken)
        return os.path.join(self._folder, f"{name}.{os.getpid()}.{number}")

    def _fail(self, error: Exception) -> None:
        if not self._has_failed:
            reason = getattr(error, "message", None) or str(error)
            logging.warning(
                "No more summaries for TensorBoard: the event file in %r cannot be "
                "written (%s).",
                self._folder,
                reason.splitlines()[0].split(";")[-1].strip(),
            )
        self._has_failed = True
