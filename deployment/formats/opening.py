"""Opens models that hold their own weights, whatever kind of file they are."""

from deployment.formats import (
    model_files,
    onnx_classifier,
    saved_model_classifier,
    tflite_classifier,
)
from deployment.predict import classifying


def open_model(kind, path, output=None, signature=None):
    """A model's file or folder as a `Classifier`.

    Args:
      kind: as `model_files.find_kind` says, but CHECKPOINT, which needs its network:
        see `classifying.CheckpointClassifier`.
      path: the file or folder.
      output: the node, or the name, of the scores; None takes the only one.
      signature: of a SavedModel; None chooses.

    Raises:
      ValueError: if it cannot be loaded as that kind, or lacks the output.
    """
    if kind == model_files.SAVED_MODEL:
        return saved_model_classifier.SavedModelClassifier(path, output, signature)
    if kind == model_files.TFLITE:
        return tflite_classifier.TFLiteClassifier(path, output)
    if kind == model_files.ONNX:
        return onnx_classifier.OnnxClassifier(path, output)
    return classifying.FrozenClassifier(path, output)
