"""A network as an ONNX file: converted by tf2onnx, run by ONNX Runtime.

Both are packages of their own, which nothing else here needs. The file reads
preprocessed images, float32 [n, height, width, channels], and gives probabilities,
float32 [n, num_classes].
"""

import importlib
import logging
import os

from deployment import classifying

_OPSET = 17
_PACKAGES = ("tf2onnx", "onnxruntime")


def check_packages():
    """Raises ValueError if a package is missing."""
    for name in _PACKAGES:
        _import(name)


def convert(model):
    """Converts a network.

    Args:
      model: a `model_export.FrozenModel`.

    Returns:
      The file's content, bytes.

    Raises:
      ValueError: if a package is missing, or an operation cannot be converted.
    """
    tf2onnx = _import("tf2onnx")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    graph, images, probabilities = model.build_graph()
    try:
        converted, _ = tf2onnx.convert.from_graph_def(
            graph.as_graph_def(),
            input_names=[images.name],
            output_names=[probabilities.name],
            opset=_OPSET,
        )
    except (KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The network cannot be converted to onnx: {str(error).splitlines()[0]}."
        ) from error
    return converted.SerializeToString()


class OnnxClassifier(classifying.Classifier):
    """An ONNX file as a `Classifier`.

    Args:
      path: the file.

    Raises:
      ValueError: if it cannot be read, or ONNX Runtime is missing.
    """

    def __init__(self, path):
        runtime = _import("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        try:
            self._session = runtime.InferenceSession(path, options)
        except Exception as error:  # Of types of its own, without a common base.
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"{path!r} cannot be loaded as ONNX: {reason}.") from error
        (self._input,) = self._session.get_inputs()

    def _score(self, inputs):
        return self._session.run(None, {self._input.name: inputs})[0]


def _import(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"The format onnx needs the package {name!r}, which cannot be imported "
            f"({error}): pip install {' '.join(_PACKAGES)}."
        ) from error
