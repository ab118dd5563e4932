"""Loads graphs from files of any kind: GraphDef, MetaGraphDef, SavedModel."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from tf_slim_compat import tf

# The message that a text file holds, by its first field.
_TEXT_STARTS = {
    "node": "GraphDef",
    "versions": "GraphDef",
    "library": "GraphDef",
    "meta_info_def": "MetaGraphDef",
    "graph_def": "MetaGraphDef",
    "saved_model_schema_version": "SavedModel",
    "meta_graphs": "SavedModel",
}
# By their first bytes, or the four after these.
_OTHER_FORMATS = {
    b"TFL3": "a TFLite model",
    b"\x89HDF": "an HDF5 file, such as Keras writes",
    b"PK\x03\x04": "a zip archive, such as Keras writes",
}
_CHECKPOINT_END = (0xDB4775248B80FB57).to_bytes(8, "little")


@dataclasses.dataclass(frozen=True)
class GraphFile:
    """A graph that was loaded from a file.

    Attributes:
      path: the file, or the folder of a SavedModel.
      kind: "GraphDef", "MetaGraphDef" or "SavedModel".
      graph_def: the graph as a `tf.GraphDef`.
      signatures: `SignatureDef` messages by name.
      tags: the tags of a SavedModel's graph; of its first one if it has several.
    """

    path: str
    kind: str
    graph_def: Any
    signatures: Mapping[str, Any]
    tags: tuple[str, ...] = ()


def load_graph(path: str) -> GraphFile:
    """Loads a graph, binary or text, and finds out of which kind it is.

    Args:
      path: a file, or the folder of a SavedModel.

    Raises:
      ValueError: if the file is missing, damaged or of another kind.
    """
    data = _read(path)
    if data.endswith(_CHECKPOINT_END):
        raise ValueError(
            f"{path!r} is a checkpoint, not a graph: inspect it with --checkpoint_path."
        )
    for start in (data[:4], data[4:8]):
        if start in _OTHER_FORMATS:
            raise ValueError(
                f"{path!r} is {_OTHER_FORMATS[start]}, not a TensorFlow graph."
            )
    message = _parse_text(path, data)
    graph = _unpack(path, _parse_binary(path, data) if message is None else message)
    _check_inputs(graph)
    return graph


def list_inputs(node: Any) -> list[str]:
    """Returns the names of the nodes that a NodeDef reads or waits for."""
    return [name.lstrip("^").split(":")[0] for name in node.input]


def _read(path: str) -> bytes:
    file_path = path
    if tf.gfile.IsDirectory(path):
        names = ("saved_model.pb", "saved_model.pbtxt")
        found = [n for n in names if tf.gfile.Exists(os.path.join(path, n))]
        if not found:
            raise ValueError(
                f"The folder {path!r} has no saved_model.pb: give the folder of a "
                "SavedModel, or a .pb or .meta file."
            )
        file_path = os.path.join(path, found[0])
    elif not tf.gfile.Exists(path):
        raise ValueError(f"There is no graph file {path!r}.")
    with tf.gfile.Open(file_path, "rb") as file:
        return file.read()


def _new_message(kind: str) -> Message:
    # Not at the top: tf_slim_compat loads TensorFlow, without its warnings.
    from tensorflow.core.protobuf import saved_model_pb2

    return {
        "GraphDef": tf.GraphDef,
        "MetaGraphDef": tf.MetaGraphDef,
        "SavedModel": saved_model_pb2.SavedModel,
    }[kind]()


def _parse_text(path: str, data: bytes) -> Message | None:
    """Returns the message in a text file; None if the file is binary."""
    first = re.match(rb"(?:\s|#[^\n]*\n)*(\w+)\s*[:{]", data[:4096])
    kind = _TEXT_STARTS.get(first.group(1).decode()) if first else None
    if kind is None:
        return None
    try:
        return text_format.Merge(data, _new_message(kind))
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path!r} is a {kind} as text that was cut short or damaged: "
            f"{str(error).splitlines()[0]}."
        ) from error


def _parse_binary(path: str, data: bytes) -> Message:
    """Returns the message in a binary file, of the first kind that fits."""
    for kind in ("GraphDef", "MetaGraphDef", "SavedModel"):
        message = _new_message(kind)
        try:
            message.ParseFromString(data)
        except DecodeError:
            continue
        if _is_plausible(message):
            return message
    reason = (
        "it is text"
        if _is_text(data)
        else "it was cut short, or is another kind of file"
    )
    raise ValueError(
        f"{path!r} is not a graph (GraphDef, MetaGraphDef or SavedModel): {reason}."
    )


def _is_text(data: bytes) -> bool:
    try:
        return data[:1000].decode().isprintable() or b"\n" in data[:1000]
    except UnicodeDecodeError:
        return False


def _is_plausible(message: Message) -> bool:
    """Whether parsing gave a graph: bytes of another kind may parse as nonsense."""
    if isinstance(message, tf.GraphDef):
        nodes = message.node
        return bool(nodes) and all(
            re.fullmatch(r"[\w.>-]+", node.op) and node.name for node in nodes
        )
    if isinstance(message, tf.MetaGraphDef):
        return _is_plausible(message.graph_def)
    return bool(message.meta_graphs) and all(map(_is_plausible, message.meta_graphs))


def _unpack(path: str, message: Message) -> GraphFile:
    if isinstance(message, tf.GraphDef):
        return GraphFile(path, "GraphDef", message, {})
    kind, tags = "MetaGraphDef", ()
    if not isinstance(message, tf.MetaGraphDef):
        kind, message = "SavedModel", message.meta_graphs[0]
        tags = tuple(message.meta_info_def.tags)
    return GraphFile(path, kind, message.graph_def, dict(message.signature_def), tags)


def _check_inputs(graph: GraphFile) -> None:
    """Raises ValueError if a node reads one that is missing."""
    names = {node.name for node in graph.graph_def.node}
    for node in graph.graph_def.node:
        for source in list_inputs(node):
            if source not in names:
                raise ValueError(
                    f"{graph.path!r} was cut short or damaged: node {node.name!r} "
                    f"reads {source!r}, which is missing."
                )
