"""Quantization-aware training: rewrites a graph as TensorFlow 1's rewriter did.

    from deployment import quantize

    logits, _ = network_fn(images)          # is_training=True
    loss = tf.losses.softmax_cross_entropy(labels, logits)
    quantize.create_training_graph(quant_delay=2000)
    train_op = slim.learning.create_train_op(tf.losses.get_total_loss(), optimizer)

An evaluation graph is built with `is_training=False` and rewritten by
`create_eval_graph`; it restores the checkpoints of the training. Layers are found by
their nodes, so any network of convolutions and fully connected layers will do. Names of
variables are those that TensorFlow 1's rewriter (`tf.contrib.quantize`) made.

Papers: https://arxiv.org/abs/1712.05877, https://arxiv.org/abs/1806.08342.
"""

from deployment.quantize.fake_quantization import Options
from deployment.quantize.rewriting import rewrite
from deployment.quantize.value_ranges import RANGES
from tf_slim_compat import tf


def list_ranges() -> list[tf.Variable]:
    """Returns the variables of the default graph that hold ranges of values."""
    return tf.get_collection(RANGES)


def create_training_graph(
    input_graph: tf.Graph | None = None, quant_delay: int = 0
) -> None:
    """Rewrites a training graph in place, with 8 bits.

    Call it after the loss is built and before the optimizer adds gradients.

    Args:
      input_graph: the graph; the default graph if None.
      quant_delay: steps in float before quantization begins. The ranges follow the
        values from the first step on. Train a new network in float until it has nearly
        converged; 0 is for a network that starts from a float checkpoint.

    Raises:
      ValueError: if it is no graph, has nothing to quantize, or the delay is negative.
    """
    experimental_create_training_graph(input_graph, quant_delay=quant_delay)


def create_eval_graph(input_graph: tf.Graph | None = None) -> None:
    """Rewrites an evaluation graph in place, with 8 bits.

    Args:
      input_graph: the graph; the default graph if None.

    Raises:
      ValueError: if it is no graph, or has nothing to quantize.
    """
    experimental_create_eval_graph(input_graph)


def experimental_create_training_graph(
    input_graph: tf.Graph | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    symmetric: bool = False,
    quant_delay: int = 0,
    freeze_bn_delay: int | None = None,
    scope: str | None = None,
    *,
    per_channel: bool = False,
    symmetric_weights: bool = False,
) -> None:
    """Same as `create_training_graph`, with more options.

    Args:
      input_graph: the graph; the default graph if None.
      weight_bits: bits of the weights, 2 to 16.
      activation_bits: bits of the activations, 2 to 16.
      symmetric: whether ranges are symmetric about zero.
      quant_delay: steps in float before quantization begins.
      freeze_bn_delay: steps after which batch normalization uses its moving averages
        and no longer updates them; None never freezes them.
      scope: name scope to restrict the rewriting to, or None.
      per_channel: whether the weights of convolutions have a range for each output
        channel; ranges of all weights are symmetric then.
      symmetric_weights: whether the ranges of the weights are symmetric about zero, as
        8-bit kernels of TFLite need.

    Raises:
      ValueError: if it is no graph, has nothing to quantize, or a number is out of
        range.
    """
    options = Options(
        is_training=True,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        symmetric=symmetric,
        per_channel=per_channel,
        symmetric_weights=symmetric_weights,
        quant_delay=quant_delay,
        freeze_bn_delay=freeze_bn_delay,
    )
    rewrite(input_graph, options, scope)


def experimental_create_eval_graph(
    input_graph: tf.Graph | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    symmetric: bool = False,
    quant_delay: int | None = None,
    scope: str | None = None,
    *,
    per_channel: bool = False,
) -> None:
    """Same as `create_eval_graph`, with more options, which are those of the training.

    Args:
      input_graph: the graph; the default graph if None.
      weight_bits: bits of the weights, 2 to 16.
      activation_bits: bits of the activations, 2 to 16.
      symmetric: changes nothing, since evaluation reads the ranges of the training.
      quant_delay: steps in float of the training, to evaluate checkpoints from before
        in float; None quantizes always.
      scope: name scope to restrict the rewriting to, or None.
      per_channel: whether the weights of convolutions have a range for each output
        channel.

    Raises:
      ValueError: if it is no graph, has nothing to quantize, or a number is out of
        range.
    """
    options = Options(
        is_training=False,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        symmetric=symmetric,
        per_channel=per_channel,
        quant_delay=quant_delay or 0,
    )
    rewrite(input_graph, options, scope)
