"""Weights of ONNX files as integers, for kernels that compute in integers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deployment.formats import base
from deployment.formats.fake_quantized import Weights

# Types of nodes -> axis of the output channels of their weights.
_CHANNEL_AXES = {"Conv": 0, "MatMul": 1, "Gemm": 1}
_WEIGHTS = 1  # Position among the inputs.


def quantize(model: Any, weights: Sequence[Weights]) -> None:
    """Stores quantized weights as int8, each with a `DequantizeLinear`, in place.

    Runtimes then compute what the fake quantization simulated; weights in float32 they
    would round once more.

    Args:
      model: an ONNX model.
      weights: the weights that it has in float32, in other layouts.
    """
    onnx = base.import_package("onnx", ("onnx",), "The format onnx")
    graph = model.graph
    # Layouts differ in the order of the values alone.
    known = {_make_key(w.values): w for w in weights}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    added = []
    for node in graph.node:
        axis = _CHANNEL_AXES.get(node.op_type)
        if axis is None or node.input[_WEIGHTS] not in stored:
            continue
        tensor = stored[node.input[_WEIGHTS]]
        values = onnx.numpy_helper.to_array(tensor)
        found = known.get(_make_key(values))
        if found is None:
            continue
        name = f"{node.name}/weights_quant"
        node.input[_WEIGHTS] = f"{name}/dequantized"
        parts = {
            f"{name}/integers": _to_integers(values, found, axis),
            f"{name}/scales": found.scales.astype(np.float32),
            f"{name}/zero_points": found.zero_points.astype(np.int8),
        }
        for part, array in parts.items():
            graph.initializer.append(onnx.numpy_helper.from_array(array, part))
        added.append(
            onnx.helper.make_node(
                "DequantizeLinear", list(parts), [f"{name}/dequantized"], axis=axis
            )
        )
    for node in reversed(added):
        graph.node.insert(0, node)
    used = {name for node in graph.node for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.name not in used:
            graph.initializer.remove(tensor)


def _make_key(values: np.ndarray) -> tuple[int, bytes]:
    return values.size, np.sort(values, axis=None).tobytes()


def _to_integers(values: np.ndarray, weights: Weights, axis: int) -> np.ndarray:
    shape = [1] * values.ndim
    if weights.scales.ndim:
        shape[axis] = -1
    scales = weights.scales.reshape(shape)
    zero_points = weights.zero_points.reshape(shape)
    return np.round(values / scales + zero_points).astype(np.int8)
