"""A network as an ONNX file, converted by tf2onnx, a package of its own.

The file reads preprocessed images, float32 [n, height, width, channels], and gives
probabilities, float32 [n, num_classes]. Its metadata name the classes, and the
network's scope.
"""

import json
import logging

from deployment.formats import onnx_classifier

_OPSET = 17
_PACKAGES = ("tf2onnx", "onnxruntime")


def check_packages():
    """Raises ValueError if a package is missing."""
    for name in _PACKAGES:
        onnx_classifier.import_package(name)


def convert(model):
    """Converts a network.

    Args:
      model: a `model_export.FrozenModel`.

    Returns:
      The file's content, bytes.

    Raises:
      ValueError: if a package is missing, or an operation cannot be converted.
    """
    tf2onnx = onnx_classifier.import_package("tf2onnx")
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
    scopes = sorted({op.name.split("/")[0] for op in graph.get_operations()})
    for key, value in (
        (onnx_classifier.CLASS_NAMES_KEY, model.class_names),
        (onnx_classifier.SCOPES_KEY, scopes),
    ):
        converted.metadata_props.add(key=key, value=json.dumps(value))
    return converted.SerializeToString()
