"""Writes graphs as event files for TensorBoard."""

import os
import socket
import time

from deployment import files
from tf_slim_compat import tf

_MAX_CONSTANT_BYTES = 1024


def write_graph(graph_def: tf.GraphDef, folder: str) -> None:
    """Writes a graph as an event file, without the values of large constants.

    Raises:
      OSError: if it cannot be written.
    """
    light = tf.GraphDef()
    light.CopyFrom(graph_def)
    for node in light.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.ByteSize() > _MAX_CONSTANT_BYTES:
            shape = tensor.tensor_shape
            node.attr["value"].tensor.CopyFrom(
                type(tensor)(dtype=tensor.dtype, tensor_shape=shape)
            )
    now = time.time()
    name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}"
    path = os.path.join(folder, name)
    files.make_folder(folder)
    partial = files.partial_path(path)
    try:
        # Not a `FileWriter`, which ignores that a disk is full.
        with tf.io.TFRecordWriter(partial) as writer:
            for event in (
                tf.Event(wall_time=now, file_version="brain.Event:2"),
                tf.Event(wall_time=now, graph_def=light.SerializeToString()),
            ):
                writer.write(event.SerializeToString())
        files.rename(partial, path)
    except tf.errors.OpError as error:
        reason = error.message.split(";")[-1].strip()
        raise OSError(f"{path!r} cannot be written: {reason}.") from error
    finally:
        files.remove(partial)
