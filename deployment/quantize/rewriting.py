"""Rewrites a graph: folds batch normalization and adds fake quantization.

What is quantized, and the scope that it is named by (S is the layer's, P is the parent
of a scope):

| tensor | scope |
|---|---|
| weights of a layer, with batch normalization folded in | S/weights_quant |
| outputs of a layer, after its activation | S/act_quant |
| outputs of a layer before an addition and an activation | S/conv_quant |
| the sum, if more than its activation reads it | P(S)/add_quant |
| the activated sum | P(S)/act_quant |
| sum that follows an activation | P(sum)/post_activation_bypass_quant |
| other sum or product of what is quantized | NAME/activation_TYPE_quant |

A sum that only a ReLU reads is not quantized, since integer kernels compute both in
one; the ReLU is. Pools, concatenations and reshapes keep the ranges of their inputs.
"""

from deployment.quantize import folding, graph_edits, matching
from deployment.quantize.fake_quantization import FakeQuantized, Options, Quantizer
from deployment.quantize.matching import Layer
from tf_slim_compat import tf

_ELEMENTWISE = (*matching.ADDITIONS, "Mul")
_PASSED = ("Identity", "Reshape", "Squeeze")
_GRADIENTS = ("BiasAddGrad", "Conv2DBackpropFilter", "FusedBatchNormGradV3")
# Collections of names, for a later call on another scope: layers, tensors that are
# quantized or need not be, and the results.
_LAYERS = "fake_quantized_layers"
_QUANTIZED = "fake_quantized_tensors"
_RESULTS = "fake_quantization_results"


def rewrite(
    graph: tf.Graph | None, options: Options, scope: str | None
) -> tuple[list[FakeQuantized], tf.Tensor | None]:
    """Quantizes a graph in place.

    Args:
      graph: the graph; the default graph if None.
      options: how to quantize it.
      scope: name scope to restrict it to, with or without the scope of a clone.

    Returns:
      What was quantized, and whether the delay is over, a bool scalar; None without a
      delay.

    Raises:
      ValueError: if there is no graph, nothing to quantize, or gradients in a graph
        for training.
    """
    graph = tf.get_default_graph() if graph is None else graph
    if not isinstance(graph, tf.Graph):
        raise ValueError(
            f"input_graph must be a tf.Graph, but is a {type(graph).__name__}; build "
            "the network in `with graph.as_default():` and pass that graph."
        )
    types = {op.type for op in graph.get_operations()}
    if options.is_training and types.intersection(_GRADIENTS):
        raise ValueError(
            "The graph has gradients, which would be those of the network before its "
            "quantization; quantize before the optimizer adds them."
        )
    with graph.as_default(), tf.control_dependencies(None), tf.name_scope(None):
        quantizer = _Rewriter(graph, options, scope).run()
    return quantizer.found, quantizer.is_active


class _Rewriter:
    def __init__(self, graph: tf.Graph, options: Options, scope: str | None):
        self._scope = (scope or "").strip("/")
        self._earlier = set(tf.get_collection(_LAYERS))
        self._quantized = set(tf.get_collection(_QUANTIZED))
        self._results = set(tf.get_collection(_RESULTS))
        self._layers = matching.find_layers(graph, self._is_chosen)
        if not self._layers:
            place = f"the scope {scope!r}" if scope else "the graph"
            raise ValueError(
                f"There is nothing to quantize in {place}: no convolution or fully "
                "connected layer has a float32 variable as weights; quantize after the "
                "network is built, and once."
            )
        # Sums and products that no layer follows are part of a loss.
        self._used = graph_edits.find_ancestors(
            op.inputs[0] for op in matching.list_operations(graph)
        )
        self._elementwise = [
            op
            for op in graph.get_operations()
            if op.type in _ELEMENTWISE and self._is_free(op)
        ]
        self._clones = {layer.clone for layer in self._layers}
        self._quantizer = Quantizer(options)

    def run(self) -> Quantizer:
        for layer in self._layers:
            with tf.device(layer.op.device):
                self._quantize_layer(layer)
            tf.add_to_collection(_LAYERS, layer.op.name)
        for op in self._elementwise:
            with tf.device(op.device):
                self._quantize_elementwise(op)
        return self._quantizer

    def _is_chosen(self, op: tf.Operation) -> bool:
        inside = f"/{self._scope}/" if self._scope else ""
        is_float = op.outputs[0].dtype.base_dtype == tf.float32
        return inside in f"/{op.name}" and is_float and op.name not in self._earlier

    def _quantize_layer(self, layer: Layer) -> None:
        outputs = self._quantize_weights(layer)
        after = matching.find_activation(outputs, self._is_free)
        scope, clone = layer.scope, layer.clone
        sums = []
        if after.last is not outputs:
            sums = graph_edits.list_consumers(after.last)
        if after.bypass is not None:
            self._quantize(outputs, scope, "conv_quant", clone)
            scope = graph_edits.parent_scope(scope)
            total = after.bypass.outputs[0]
            self._mark(_QUANTIZED, self._quantized, total)
            if after.is_relu and not matching.is_fused(after.bypass):
                self._quantize(total, scope, "add_quant", clone)
        self._quantize(after.outputs, scope, "act_quant", clone, after.is_relu)
        self._quantize_sums(sums, clone)

    def _quantize_weights(self, layer: Layer) -> tf.Tensor:
        """Returns the layer's outputs before its activation."""
        if layer.batch_norm is None:
            weights = layer.op.inputs[1]
            layer.op._update_input(1, self._quantizer.quantize_weights(weights, layer))
            return layer.outputs
        consumers = graph_edits.list_consumers(layer.outputs)
        outputs = folding.fold(layer, self._quantizer)
        graph_edits.reroute(layer.outputs, outputs, consumers)
        return outputs

    def _quantize_sums(self, consumers: list[tf.Operation], clone: str) -> None:
        """Quantizes the sums among the consumers of an activation."""
        for op in consumers:
            is_sum = op.type in matching.ADDITIONS and self._is_free(op)
            if is_sum and not matching.is_fused(op):
                scope = graph_edits.parent_scope(op.name)
                name = "post_activation_bypass_quant"
                self._quantize(op.outputs[0], scope, name, clone)

    def _quantize_elementwise(self, op: tf.Operation) -> None:
        """Quantizes a sum or product, or the ReLU that is computed with it."""
        inputs = [self._skip_passed(value).name for value in op.inputs]
        if not self._is_free(op) or not self._results.intersection(inputs):
            return
        relu = matching.find_relu(op.outputs[0]) if matching.is_fused(op) else None
        op = relu or op
        name = f"activation_{op.type}_quant"
        clone = matching.choose_clone(op.name, self._clones)
        self._quantize(op.outputs[0], op.name, name, clone, relu is not None)

    def _is_free(self, op: tf.Operation) -> bool:
        """Whether a sum or product is part of the network and not quantized yet."""
        is_done = op.outputs[0].name in self._quantized
        return op.name in self._used and self._is_chosen(op) and not is_done

    def _skip_passed(self, value: tf.Tensor) -> tf.Tensor:
        while value.op.type in _PASSED:
            value = value.op.inputs[0]
        return value

    def _quantize(
        self,
        values: tf.Tensor,
        scope: str,
        name: str,
        clone: str,
        is_relu: bool = False,
    ) -> None:
        """Makes the consumers of a tensor read it quantized."""
        consumers = graph_edits.list_consumers(values)
        scope = graph_edits.join_scopes(scope, name)
        quantized = self._quantizer.quantize_activations(values, scope, clone, is_relu)
        graph_edits.reroute(values, quantized, consumers)
        self._mark(_QUANTIZED, self._quantized, values)
        self._mark(_RESULTS, self._results, quantized)

    def _mark(self, collection: str, names: set[str], tensor: tf.Tensor) -> None:
        names.add(tensor.name)
        tf.add_to_collection(collection, tensor.name)
