"""Networks that were trained with quantization, as evaluation and export need them."""

import functools
from collections.abc import Callable
from typing import Any

from deployment import quantize
from tf_slim_compat import tf

_NetworkFn = Callable[..., tuple[tf.Tensor, dict[str, Any]]]


def in_evaluation(network_fn: _NetworkFn, spec: Any) -> _NetworkFn:
    """Returns a network that computes as the specification says.

    Args:
      network_fn: adds the network to the default graph, for evaluation, and returns
        `(logits, end_points)`.
      spec: the `ModelSpec`.

    Returns:
      `network_fn`, or for a quantized model a function that adds the same network with
      fake quantization; its logits are quantized, too.
    """
    if not spec.quantize:
        return network_fn

    @functools.wraps(network_fn)
    def build(images: tf.Tensor, **options: Any) -> tuple[tf.Tensor, dict[str, Any]]:
        logits, end_points = network_fn(images, **options)
        # Will read what the rewriter puts behind the last layer.
        reader = tf.identity(logits).op
        quantize.experimental_create_eval_graph(per_channel=spec.quantize_per_channel)
        return reader.inputs[0], end_points

    return build
