"""Models that were trained with fake quantization, made ready for integer kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deployment.models import graph_folding
from tf_slim_compat import tf

_OF_CHANNELS = "FakeQuantWithMinMaxVarsPerChannel"
_OF_TENSORS = "FakeQuantWithMinMaxVars"
_LEVELS = 127  # Of the integers of weights, on either side of the middle.


class Weights(NamedTuple):
    """Quantized weights, `scales * (integers - zero_points)`.

    Attributes:
      values: float32.
      scales: float64, [] or [channels].
      zero_points: whole numbers in float64, [] or [channels].
    """

    values: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray


def make_convertible(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Returns a frozen graph that TFLite's converter turns into integers.

    The ranges of weights become symmetric about zero, which they are after a training
    by this project; others are widened on their shorter side. Weights with a range for
    each channel become constants, for which the converter finds such ranges again.

    Args:
      graph_def: a frozen graph with fake quantization; it is not changed.
    """
    result = tf.GraphDef()
    result.CopyFrom(graph_def)
    nodes = {node.name: node for node in result.node}
    for node in _list_weights(result, (_OF_TENSORS, _OF_CHANNELS)):
        low, high = (nodes[name] for name in node.input[1:])
        limits = np.maximum(-_read(low), _read(high))
        graph_folding.set_constant(low, -limits)
        graph_folding.set_constant(high, limits)
    return fold_weights(result, (_OF_CHANNELS,))


def fold_weights(
    graph_def: tf.GraphDef, types: Sequence[str] = (_OF_TENSORS, _OF_CHANNELS)
) -> tf.GraphDef:
    """Returns a frozen graph with quantized weights as constants.

    Args:
      graph_def: a frozen graph with fake quantization; it is not changed.
      types: types of fake quantization whose results become constants.
    """
    result = tf.GraphDef()
    result.CopyFrom(graph_def)
    weights = _list_weights(result, types)
    for node, value in zip(weights, _compute(result, weights), strict=True):
        graph_folding.set_constant(node, value)
    return result


def list_weights(graph_def: tf.GraphDef) -> list[Weights]:
    """Returns the quantized weights of a frozen graph with fake quantization."""
    nodes = {node.name: node for node in graph_def.node}
    found = []
    weights = _list_weights(graph_def, (_OF_TENSORS, _OF_CHANNELS))
    for node, values in zip(weights, _compute(graph_def, weights), strict=True):
        low, high = (_read(nodes[name]).astype(np.float64) for name in node.input[1:])
        scales = (high - low) / (2 * _LEVELS)
        zero_points = np.floor(0.5 - _LEVELS - low / scales)  # As TensorFlow rounds.
        found.append(Weights(values, scales, zero_points))
    return found


def choose_input_stats(images: np.ndarray) -> tuple[float, float]:
    """Returns the zero point and the units per 1.0 of an int8 input.

    Args:
      images: preprocessed images, float32 [n, height, width, channels].
    """
    low, high = min(0.0, float(images.min())), max(0.0, float(images.max()))
    if -low / 2 <= high <= -low * 2:  # Zero is zero in integers, too.
        return 0.0, 127 / max(high, -low)
    scale = 255 / max(high - low, 1e-6)
    return float(np.round(-128 - low * scale)), scale


def _list_weights(graph_def: tf.GraphDef, types: Sequence[str]) -> list[tf.NodeDef]:
    """Returns the fake quantization of weights, which alone has a narrow range."""
    return [
        node
        for node in graph_def.node
        if node.op in types and node.attr["narrow_range"].b
    ]


def _compute(graph_def: tf.GraphDef, nodes: Sequence[tf.NodeDef]) -> list[np.ndarray]:
    """Returns the values of nodes of a frozen graph."""
    names = [f"{node.name}:0" for node in nodes]
    with tf.Graph().as_default() as graph:
        tensors = tf.import_graph_def(graph_def, return_elements=names, name="")
        with tf.Session(graph=graph) as session:
            return session.run(tensors)


def _read(node: tf.NodeDef) -> np.ndarray:
    return tf.make_ndarray(node.attr["value"].tensor)
