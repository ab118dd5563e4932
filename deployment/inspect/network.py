"""Reports on a network: its layers, their output shapes, parameters and cost."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from deployment.text import format_millions, format_shape, format_table
from tf_slim_compat import slim, tf

NetworkFn = Callable[[tf.Tensor], tuple[tf.Tensor, Mapping[str, tf.Tensor]]]

_LAYERS = {
    "Conv2D": "conv",
    "Conv3D": "conv 3d",
    "Conv2DBackpropInput": "transposed conv",
    "DepthwiseConv2dNative": "depthwise conv",
    "MatMul": "dense",
    "BatchMatMulV2": "matrix product",
    "MaxPool": "max pool",
    "MaxPool3D": "max pool 3d",
    "AvgPool": "average pool",
    "AvgPool3D": "average pool 3d",
    "LRN": "local normalization",
    "Mean": "mean",
    "Softmax": "softmax",
}
_OTHERS = {"ConcatV2": "concat", "AddV2": "add", "FusedBatchNormV3": "batch norm"}
# Operations that an end point may have between itself and its layer.
_PASSED = {
    "BiasAdd", "FusedBatchNormV3", "Identity", "Relu", "Relu6", "Reshape", "Squeeze",
}  # fmt: skip


@dataclasses.dataclass
class Layer:
    """A layer: one line of a network's summary.

    Attributes:
      name: the scope of its variables, or of its operation.
      kind: the type of layer, such as "conv".
      op: its operation.
      parameters: number of trainable values.
      statistics: number of other values, such as moving averages.
      multiply_adds: multiply-adds per image.
      end_point: the name of the end point that it computes, or "".
      in_prediction: whether it is part of a prediction; False for layers that only
        training uses, such as auxiliary heads.
      output_shape: its output shape without the batch dimension; None if unknown.
    """

    name: str
    kind: str
    op: tf.Operation
    parameters: int = 0
    statistics: int = 0
    multiply_adds: int = 0
    end_point: str = ""
    in_prediction: bool = True

    @property
    def output_shape(self) -> list[int | None] | None:
        shape = self.op.outputs[0].shape
        return None if shape.rank is None else shape.as_list()[1:]


@dataclasses.dataclass(frozen=True)
class Summary:
    """A network's layers and totals.

    Attributes:
      layers: the layers, in the order in which they are built.
      parameters: number of trainable values.
      statistics: number of other values.
      multiply_adds: multiply-adds of a prediction, per image.
      shapes: shapes of the model variables by name, as in a checkpoint.
    """

    layers: list[Layer]
    parameters: int
    statistics: int
    multiply_adds: int
    shapes: dict[str, tuple[int, ...]]


def summarize(network_fn: NetworkFn, input_shape: Sequence[int]) -> Summary:
    """Builds a network and lists its layers.

    Args:
      network_fn: adds the network to the graph and returns `(logits, end_points)`. If
        it was made for training, auxiliary heads are listed as well.
      input_shape: [height, width, channels] of the float32 images, or [frames, height,
        width, channels] of videos.
    """
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, *input_shape], name="input")
        logits, end_points = network_fn(images)
        trainable = {v.op.name for v in tf.trainable_variables()}
        sizes = {v.op.name: v.shape.num_elements() for v in tf.global_variables()}
        shapes = {
            v.op.name: tuple(v.shape.as_list()) for v in slim.get_model_variables()
        }
    order = {op: number for number, op in enumerate(graph.get_operations())}
    layers = _find_layers(order, images.op)
    _count_variables(graph, layers, sizes, trainable)
    _name_end_points(layers, end_points)
    needed = _ancestors(logits.op) | _descendants(order, logits.op)
    for op, layer in layers.items():
        layer.in_prediction = op in needed
    rows = sorted(layers.values(), key=lambda layer: order[layer.op])
    return Summary(
        rows,
        sum(layer.parameters for layer in rows),
        sum(layer.statistics for layer in rows),
        sum(layer.multiply_adds for layer in rows if layer.in_prediction),
        shapes,
    )


def _find_layers(
    ops: Iterable[tf.Operation], input_op: tf.Operation
) -> dict[tf.Operation, Layer]:
    """Returns the layers that are computed from the images, by operation."""
    from_images = _descendants(ops, input_op)
    layers, uses = {}, {}
    for op in ops:
        if op.type not in _LAYERS or op not in from_images or not _is_layer(op):
            continue
        weights = _find_weights(op)
        name = weights.rpartition("/")[0] if weights else _get_scope(op)
        layers[op] = Layer(
            name, _LAYERS[op.type], op, multiply_adds=_count_multiply_adds(op)
        )
        uses.setdefault(name, []).append((layers[op], weights))
    for name, those in uses.items():
        if len({weights for _, weights in those}) > 1:  # A separable convolution.
            for layer, weights in those:
                leaf = weights.rpartition("/")[2].removesuffix("_weights")
                layer.name = f"{name}/{leaf}" if leaf else name
    return layers


def describe_pretrained(found: Iterable[Any]) -> str:
    """Returns a table of published weights, the records of `nets.published`."""
    header = ("--pretrained", "classes", "preprocessing", "pixels", "top-1", "address")
    rows = [
        (
            weights.name,
            f"{weights.num_classes:,}",
            weights.preprocessing,
            str(weights.image_size),
            "" if weights.top1 is None else f"{weights.top1:.1f}",
            weights.address,
        )
        for weights in found
    ]
    return format_table(header, rows, right=(1, 3, 4))


def _get_other_kind(op: tf.Operation) -> str:
    """Returns the type to show for an operation that is not in `_LAYERS`."""
    return (
        "dropout"
        if "dropout" in op.name.lower()
        else _OTHERS.get(op.type, op.type.lower())
    )


def _is_layer(op: tf.Operation) -> bool:
    if op.type != "Mean":
        return True
    # Only means over the image, not those of batch statistics or losses.
    rank = op.inputs[0].shape.rank
    return rank in (4, 5) and "moments" not in op.name and op.outputs[0].shape.rank != 0


def _find_weights(op: tf.Operation) -> str:
    """Returns the name of the variable that is an operation's second input, or ""."""
    if len(op.inputs) < 2:
        return ""
    source = op.inputs[1].op
    while source.inputs and source.type in ("ReadVariableOp", "Identity", "Cast"):
        source = source.inputs[0].op
    return source.name if source.type in ("VarHandleOp", "VariableV2") else ""


def _get_scope(op: tf.Operation) -> str:
    """Returns an operation's scope, whose first part tf_slim's networks repeat."""
    parts = op.name.split("/")[:-1] or [op.name]
    return "/".join(parts[1:] if parts[0] in parts[1:2] else parts)


def _count_multiply_adds(op: tf.Operation) -> int:
    """Returns the multiply-adds per image; 0 if there are none or they are unknown."""
    result = op.outputs[0].shape.num_elements()
    if result is None or len(op.inputs) < 2:
        return 0
    factor = op.inputs[1].shape.as_list() if op.inputs[1].shape.rank else []
    if None in factor:
        return 0
    if op.type in ("Conv2D", "Conv3D"):
        return result * math.prod(factor[:-1])
    if op.type == "DepthwiseConv2dNative":
        return result * math.prod(factor[:2])
    if op.type == "Conv2DBackpropInput":
        return op.inputs[2].shape.num_elements() * math.prod(factor[:-1])
    if op.type == "MatMul":
        return result * factor[1 if op.get_attr("transpose_b") else 0]
    if op.type == "BatchMatMulV2":
        return result * factor[-1 if op.get_attr("adj_y") else -2]
    return 0


def _count_variables(
    graph: tf.Graph,
    layers: dict[tf.Operation, Layer],
    sizes: Mapping[str, int],
    trainable: Collection[str],
) -> None:
    """Adds each variable to the layer of its scope, or to a layer of its own."""
    by_scope, weights = {}, {}
    for op, layer in layers.items():
        name = _find_weights(op)
        weights.setdefault(name, layer)
        by_scope[name.rpartition("/")[0] if name else layer.name] = layer
    for name, size in sizes.items():
        layer, scope = weights.get(name), name.rpartition("/")[0]
        while layer is None and scope:
            layer = by_scope.get(scope)
            scope = scope.rpartition("/")[0]
        if layer is None:
            scope = name.rpartition("/")[0]
            op = _find_user(graph.get_operation_by_name(name))
            layer = by_scope[scope] = layers.setdefault(
                op, Layer(scope, _get_other_kind(op), op)
            )
        if name in trainable:
            layer.parameters += size
        else:
            layer.statistics += size


def _find_user(variable: tf.Operation) -> tf.Operation:
    """Returns the first operation that uses a variable; itself if there is none."""
    for read in variable.outputs[0].consumers():
        if read.type in ("ReadVariableOp", "Identity"):
            for user in read.outputs[0].consumers():
                if user.outputs:
                    return user
    return variable


def _name_end_points(
    layers: dict[tf.Operation, Layer], end_points: Mapping[str, tf.Tensor]
) -> None:
    """Sets `end_point` of the layers that compute one."""
    for name, tensor in end_points.items():
        if not isinstance(tensor, tf.Tensor):
            continue
        op = tensor.op
        while op not in layers and op.type in _PASSED and op.inputs:
            op = op.inputs[0].op
        if op not in layers:
            if op.type not in _OTHERS:
                op = tensor.op
            layers[op] = Layer(_get_scope(op), _get_other_kind(op), op)
        layer = layers[op]
        is_new = not layer.name.endswith(name) and not name.endswith(layer.name)
        if is_new and (not layer.end_point or len(name) < len(layer.end_point)):
            layer.end_point = name


def _ancestors(op: tf.Operation) -> set[tf.Operation]:
    """Returns an operation and all operations that it depends on."""
    found, waiting = set(), [op]
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs]
    return found


def _descendants(
    ops: Iterable[tf.Operation], source: tf.Operation
) -> set[tf.Operation]:
    """Returns an operation and all operations in `ops` that depend on it."""
    found = {source}
    for op in ops:
        if any(tensor.op in found for tensor in op.inputs):
            found.add(op)
    return found


def describe_summary(summary: Summary) -> Iterator[str]:
    """Generates a table of layers, and the totals."""
    rows = [
        [
            layer.name + ("" if layer.in_prediction else " *"),
            layer.kind,
            format_shape(layer.output_shape),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
            layer.end_point,
        ]
        for layer in summary.layers
    ]
    header = ["layer", "type", "output", "parameters", "multiply-adds", "end point"]
    yield format_table(header, rows, {3, 4})
    yield ""
    yield (
        f"{summary.parameters:,} trainable parameters "
        f"({format_millions(summary.parameters)}), {summary.statistics:,} moving "
        f"averages, {format_millions(summary.multiply_adds)} multiply-adds per image"
    )
    aside = [layer for layer in summary.layers if not layer.in_prediction]
    if aside:
        yield (
            f"* used in training only: {sum(layer.parameters for layer in aside):,} of "
            "the parameters; multiply-adds not counted"
        )


def build_graph_def(network_fn: NetworkFn, input_shape: Sequence[int]) -> tf.GraphDef:
    """Returns the graph of a network, with a placeholder `input` for one image."""
    with tf.Graph().as_default() as graph:
        network_fn(tf.placeholder(tf.float32, [1, *input_shape], name="input"))
        return graph.as_graph_def()


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about a network that are known without building it.

    Attributes:
      image_size: default height and width of the input, in pixels.
      preprocessing: name of the preprocessing.
      top1: published ImageNet top-1 accuracy, in percent; None if there is none.
      paper: where the network was published.
    """

    image_size: int
    preprocessing: str
    top1: float | None
    paper: str


def describe_costs(
    facts: Mapping[str, Facts], summarize_fn: Callable[[str], Summary] | None = None
) -> Iterator[str]:
    """Generates the lines of a table of networks, each as soon as it is known.

    Args:
      facts: the networks to list, by name.
      summarize_fn: returns the summary of a network, given its name; None leaves out
        the columns of parameters and multiply-adds.
    """
    width = max(map(len, facts))
    counts = f"{'parameters':>12}  {'multiply-adds':>13}  " if summarize_fn else ""
    yield (
        f"{'network':{width}}  {counts}{'pixels':>6}  {'preprocessing':13}  "
        f"{'top-1':>5}  paper"
    )
    for name, known in facts.items():
        counts = ""
        if summarize_fn:
            summary = summarize_fn(name)
            counts = (
                f"{summary.parameters:12,}  "
                f"{format_millions(summary.multiply_adds):>13}  "
            )
        yield (
            f"{name:{width}}  {counts}{known.image_size:6}  {known.preprocessing:13}  "
            f"{known.top1 or '':>5}  {known.paper}"
        )
