"""Models that were trained with fake quantization, made ready for integer kernels."""

import numpy as np

from deployment.models import graph_folding
from tf_slim_compat import tf

_OF_CHANNELS = "FakeQuantWithMinMaxVarsPerChannel"
_OF_TENSORS = "FakeQuantWithMinMaxVars"


def prepare(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Returns a frozen graph that TFLite's converter turns into integers.

    The ranges of weights become symmetric about zero, which they are after a training
    by this project; others are widened on their shorter side. Weights with a range for
    each channel become constants, for which the converter finds the same ranges.

    Args:
      graph_def: a frozen graph with fake quantization; it is not changed.
    """
    result = tf.GraphDef()
    result.CopyFrom(graph_def)
    nodes = {node.name: node for node in result.node}
    for node in result.node:
        is_fake = node.op in (_OF_TENSORS, _OF_CHANNELS)
        if is_fake and node.attr["narrow_range"].b:
            low, high = (nodes[name] for name in node.input[1:])
            limits = np.maximum(-_read(low), _read(high))
            graph_folding.set_constant(low, -limits)
            graph_folding.set_constant(high, limits)
    names = [node.name for node in result.node if node.op == _OF_CHANNELS]
    with tf.Graph().as_default() as graph:
        tensors = tf.import_graph_def(result, return_elements=[f"{n}:0" for n in names])
        with tf.Session(graph=graph) as session:
            values = session.run(tensors)
    for name, value in zip(names, values, strict=True):
        graph_folding.set_constant(nodes[name], value)
    return result


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


def _read(node: tf.NodeDef) -> np.ndarray:
    return tf.make_ndarray(node.attr["value"].tensor)
