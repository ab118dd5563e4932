"""Checkpoints: recognized here, opened with their network by `CheckpointPredictor`."""

import re

from deployment.formats.base import FileType
from tf_slim_compat import tf

_V1_FOOTER = 0xDB4775248B80FB57.to_bytes(8, "little")


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes a prefix, a file of a checkpoint, or a folder of checkpoints."""
    del head
    if tf.gfile.IsDirectory(path):
        return path
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if tf.gfile.Exists(f"{prefix}.index"):
        return prefix
    if not tf.gfile.Exists(path):
        return None
    with tf.gfile.Open(path, "rb") as file:
        file.seek(max(0, file.size() - len(_V1_FOOTER)))
        return path if file.read(len(_V1_FOOTER)) == _V1_FOOTER else None


FILE_TYPE = FileType("checkpoint", recognize, None, endings=(".index",))
