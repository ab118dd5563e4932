"""A network's graph without training: written as a GraphDef, or frozen."""

import os

from tensorflow.python.tools import freeze_graph as tf_freeze_graph

from tf_slim_compat import tf

INPUT_NAME = "input"


def build_inference_graph(network_fn, input_shape):
    """The GraphDef of a network that reads a placeholder named 'input'.

    Args:
      network_fn: adds the network: float32 images to `(logits, end_points)`.
      input_shape: the placeholder's shape, [batch, height, width, channels] or,
        for video networks, [batch, frames, height, width, channels]; None where
        unknown. Its values are preprocessed pixels, float32.

    Returns:
      A `tf.GraphDef`.
    """
    with tf.Graph().as_default() as graph:
        network_fn(tf.placeholder(tf.float32, input_shape, name=INPUT_NAME))
        return graph.as_graph_def()


def write_graph(graph_def, path, as_text=False):
    """Writes a GraphDef whole or not at all; makes the folder if there is none.

    Raises:
      ValueError: if the file cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = f".{name}.{os.getpid()}"
    try:
        tf.gfile.MakeDirs(folder)
        tf.train.write_graph(graph_def, folder, temporary, as_text=as_text)
        tf.gfile.Rename(os.path.join(folder, temporary), path, overwrite=True)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path!r} cannot be written: {error.message.split(';')[-1].strip()}."
        ) from error


def freeze(**options):
    """Freezes a graph with TensorFlow's own function; see `freeze_graph.py`.

    Args:
      **options: the arguments of `tensorflow.python.tools.freeze_graph`.

    Returns:
      The frozen `tf.GraphDef`.
    """
    with tf.Graph().as_default():
        return tf_freeze_graph.freeze_graph(**options)
