"""Tells what kind of model a path leads to."""

import difflib
import os
import re

from tf_slim_compat import tf

FROZEN_GRAPH, SAVED_MODEL = "frozen graph", "SavedModel"
TFLITE, ONNX, CHECKPOINT = "TFLite file", "ONNX file", "checkpoint"

_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_TFLITE_MARK = b"TFL3"  # From byte 4 on.
_V1_CHECKPOINT_MARK = 0xDB4775248B80FB57.to_bytes(8, "little")  # At the end.


def find_kind(path):
    """What kind of model a path leads to, by what is there rather than by its name.

    Args:
      path: a file or folder, or the prefix of a checkpoint.

    Returns:
      `(kind, path)`: FROZEN_GRAPH (which any other file is taken for), SAVED_MODEL,
      TFLITE, ONNX or CHECKPOINT (for a training folder as well), and the path as that
      kind wants it: a SavedModel's is its folder.

    Raises:
      ValueError: if nothing is there.
    """
    folder, name = os.path.split(path.rstrip("/"))
    if name in _SAVED_MODEL_FILES and tf.gfile.Exists(path):
        return SAVED_MODEL, folder or "."
    if tf.gfile.IsDirectory(path):
        files = [os.path.join(path, name) for name in _SAVED_MODEL_FILES]
        is_saved_model = any(map(tf.gfile.Exists, files))
        return (SAVED_MODEL if is_saved_model else CHECKPOINT), path
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if tf.gfile.Exists(f"{prefix}.index"):
        return CHECKPOINT, prefix
    if not tf.gfile.Exists(path):
        raise ValueError(_explain_absence(path, folder or "."))
    with tf.gfile.Open(path, "rb") as file:
        start, size = file.read(8), file.size()
        file.seek(max(0, size - 8))
        end = file.read(8)
    if start[4:] == _TFLITE_MARK or path.endswith(".tflite"):
        return TFLITE, path
    if path.endswith(".onnx"):
        return ONNX, path
    return (CHECKPOINT if end == _V1_CHECKPOINT_MARK else FROZEN_GRAPH), path


def _explain_absence(path, folder):
    if not tf.gfile.IsDirectory(folder):
        return f"There is no model {path!r}: its folder does not exist either."
    endings = (".pb", ".tflite", ".onnx", ".index")
    names = [n for n in sorted(tf.gfile.ListDirectory(folder)) if n.endswith(endings)]
    names = [name.removesuffix(".index") for name in names]
    near = difflib.get_close_matches(os.path.basename(path), names, n=3)
    there = ", ".join(near or names[-5:]) or "no model at all"
    return f"There is no model {path!r}; its folder holds {there}."
