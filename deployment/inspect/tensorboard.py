"""Writes graphs as event files for TensorBoard."""

import time

from tf_slim_compat import tf

_MAX_CONSTANT_BYTES = 1024


def write_graph(graph_def: tf.GraphDef, folder: str) -> None:
    """Writes a graph as an event file, without the values of large constants."""
    light = tf.GraphDef()
    light.CopyFrom(graph_def)
    for node in light.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.ByteSize() > _MAX_CONSTANT_BYTES:
            shape = tensor.tensor_shape
            node.attr["value"].tensor.CopyFrom(
                type(tensor)(dtype=tensor.dtype, tensor_shape=shape)
            )
    writer = tf.summary.FileWriter(folder)
    event = tf.Event(wall_time=time.time(), graph_def=light.SerializeToString())
    writer.add_event(event)
    writer.close()
