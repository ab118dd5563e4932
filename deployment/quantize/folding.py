"""Folds batch normalization into the weights of a layer.

Paper: https://arxiv.org/abs/1806.08342, section 3.2.2 and figure 8.

Integer kernels have no batch normalization: their weights contain it, so that is what
training quantizes. The weights are folded with the moving variance, which changes
little from step to step, and corrected to the variance of the batch afterwards. The
statistics of the batch are those of the unquantized layer, so the layer is computed
twice. The gradients are the unquantized layer's, and computed once.
"""

from deployment.quantize import graph_edits
from deployment.quantize.batch_norm import BatchNorm
from deployment.quantize.fake_quantization import Quantizer
from deployment.quantize.matching import Layer
from tf_slim_compat import tf


def fold(layer: Layer, quantizer: Quantizer) -> tf.Tensor:
    """Returns the normalized outputs of a layer, from folded and quantized weights.

    Args:
      layer: a layer with batch normalization.
      quantizer: what quantizes the weights.
    """
    norm = layer.batch_norm
    mean, variance = _read_moving(norm)
    with _open_scope(layer, "BatchNorm_Fold"):
        inverse = tf.rsqrt(variance + norm.epsilon)
        scale = _multiply(norm.gamma, inverse)
        bias = _offset(layer, mean, scale)
    with _open_scope(layer):
        weights = tf.multiply(
            layer.op.inputs[1], layer.spread_channels(scale), name="mul_fold"
        )
    weights = quantizer.quantize_weights(weights, layer)
    if norm.moving is None:
        return _compute(layer, weights, bias)
    is_frozen = quantizer.is_frozen
    with _open_scope(layer, "BatchNorm_Fold"):
        batch_inverse = tf.rsqrt(norm.variance + norm.epsilon)
        correction = batch_inverse / inverse
        batch_scale = _multiply(norm.gamma, batch_inverse)
        batch_bias = _offset(layer, norm.mean, batch_scale)
        if is_frozen is not None:
            _freeze(norm, is_frozen)
            correction = tf.where(is_frozen, tf.ones_like(correction), correction)
            batch_bias = tf.where(is_frozen, bias, batch_bias)

    def compute() -> tf.Tensor:
        corrected = weights * layer.spread_channels(correction)
        return _compute(layer, corrected, batch_bias)

    def compute_in_training() -> tf.Tensor:
        return _with_gradients_of(norm.outputs, compute())

    def choose() -> tf.Tensor:
        if is_frozen is None:
            return compute_in_training()
        return tf.cond(is_frozen, compute, compute_in_training)

    if quantizer.is_active is None:
        return choose()
    is_folded = quantizer.is_active
    if is_frozen is not None:
        is_folded |= is_frozen
    return tf.cond(is_folded, choose, lambda: norm.outputs)


def _open_scope(layer: Layer, *inner: str) -> tf.name_scope:
    scope = graph_edits.join_scopes(layer.scope, *inner)
    return tf.name_scope(f"{scope}/" if scope else None)


def _read_moving(norm: BatchNorm) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the moving mean and variance before the step's update."""
    if norm.moving is None:
        return norm.mean, norm.variance
    mean, variance = (graph_edits.read_variable(v) for v in norm.moving)
    for update in norm.list_updates():
        update._add_control_inputs([mean.op, variance.op])
    return mean, variance


def _freeze(norm: BatchNorm, is_frozen: tf.Tensor) -> None:
    """Stops the updates of the moving averages where `is_frozen` is true."""
    for update in norm.list_updates():
        change = update.inputs[1]
        kept = tf.where(is_frozen, tf.zeros_like(change), change)
        update._update_input(1, kept)


def _multiply(gamma: tf.Tensor | None, factor: tf.Tensor) -> tf.Tensor:
    return factor if gamma is None else gamma * factor


def _offset(layer: Layer, mean: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns what is added to the outputs of the folded layer, [channels]."""
    center = mean if layer.bias is None else mean - layer.bias.inputs[1]
    beta = layer.batch_norm.beta
    return -center * scale if beta is None else beta - center * scale


def _compute(layer: Layer, weights: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns the layer's outputs with other weights and a bias."""
    op, scope = layer.op, layer.scope
    x, _, *others = op.inputs
    name = graph_edits.join_scopes(scope, f"{op.type}_Fold")
    outputs = graph_edits.copy_operation(op, [x, weights, *others], name)
    if (last := layer.batch_to_space) is not None:
        inputs = [outputs, *last.inputs[1:]]
        outputs = graph_edits.copy_operation(last, inputs, f"{name}/{last.type}")
    data_format = None if op.type == "MatMul" else op.get_attr("data_format").decode()
    with _open_scope(layer):
        outputs = tf.nn.bias_add(outputs, bias, data_format, name="add_fold")
    outputs.set_shape(layer.batch_norm.outputs.shape)
    return outputs


@tf.custom_gradient
def _with_gradients_of(source: tf.Tensor, value: tf.Tensor) -> tuple:
    """Returns `value`, with gradients as if it were `source`."""
    return tf.identity(value), lambda upstream: (upstream, None)
