"""Quantizes ONNX models to 8 bits with calibrated ranges, by ONNX Runtime."""

import os
import tempfile
from typing import Any

import numpy as np

from deployment.formats import base, calibrating

# Methods and the names that ONNX Runtime has for them.
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BATCH_SIZE = 8


def quantize(model: Any, images: np.ndarray, method: str) -> Any:
    """Returns a model that computes in 8-bit integers up to its last layer.

    Each output channel of the weights has its own range. What follows the last layer,
    such as a softmax, remains in floating point: probabilities in steps of 1/255 would
    not add up to 1.

    Args:
      model: an ONNX model, folded, with a single input.
      images: float32 [n, height, width, channels], preprocessed.
      method: how the ranges of activations are found, one of `METHODS`.

    Raises:
      ValueError: if ONNX Runtime cannot quantize the model.
    """
    onnx = base.import_package("onnx", ("onnx",), "The format onnx_int8")
    quantization = base.import_package(
        "onnxruntime.quantization", ("onnxruntime",), "The format onnx_int8"
    )
    quantization.quant_utils.add_pre_process_metadata(model)  # It is folded.
    with (
        tempfile.TemporaryDirectory() as folder,
        calibrating.naming_errors("ONNX Runtime"),
    ):
        path = os.path.join(folder, "model.onnx")
        quantization.quantize_static(
            model,
            path,
            _Batches(images, model.graph.input[0].name),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[METHODS[method]],
            nodes_to_exclude=_list_after_last_layer(model.graph),
            extra_options={"CalibStridedMinMax": 1},  # Of the batches in memory.
        )
        return onnx.load(path)


class _Batches:
    """Batches of images, as ONNX Runtime's `CalibrationDataReader`."""

    def __init__(self, images: np.ndarray, name: str):
        starts = range(0, len(images), _BATCH_SIZE)
        self._batches = [{name: images[i : i + _BATCH_SIZE]} for i in starts]
        self._waiting = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Chooses the batches that follow."""
        self._waiting = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next batch, or None after the last one."""
        return next(self._waiting, None)


def _list_after_last_layer(graph: Any) -> list[str]:
    """Returns the names of the nodes between the last layers and the outputs."""
    sources = {name: node for node in graph.node for name in node.output}
    waiting = [output.name for output in graph.output]
    found = {}
    while waiting:
        node = sources.get(waiting.pop())
        if node is not None and node.op_type not in _LAYERS and node.name not in found:
            found[node.name] = None
            waiting.extend(node.input)
    return list(found)
