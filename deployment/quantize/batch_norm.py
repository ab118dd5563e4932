"""Recognizes batch normalization by its nodes, fused or not."""

import dataclasses

from deployment.quantize import graph_edits
from tf_slim_compat import tf

_FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_ADDITIONS = ("Add", "AddV2")
_UPDATES = ("AssignSubVariableOp", "AssignAddVariableOp", "AssignSub", "AssignAdd")
_ASSIGNMENTS = (*_UPDATES, "AssignVariableOp", "Assign")
# What lies between the statistics of a batch and the update of a moving average.
_UPDATE_STEPS = ("Select", "SelectV2", "Sub", "Mul", "Cast", "Identity", "Squeeze")


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """A batch normalization in a graph; C is the number of channels.

    Attributes:
      outputs: the normalized tensor, in the shape of the layer's outputs.
      gamma: [C], or None.
      beta: [C], or None.
      mean: [C], of the batch in training, else the moving one.
      variance: [C], without Bessel's correction in training.
      epsilon: added to the variance.
      moving: the variables of the moving mean and variance, or None where `mean` and
        `variance` are their values.
    """

    outputs: tf.Tensor
    gamma: tf.Tensor | None
    beta: tf.Tensor | None
    mean: tf.Tensor
    variance: tf.Tensor
    epsilon: float | tf.Tensor
    moving: tuple[tf.Operation, tf.Operation] | None

    def list_updates(self) -> list[tf.Operation]:
        """Returns the operations that update the moving averages."""
        readers = [
            op
            for variable in self.moving or ()
            for op in variable.outputs[0].consumers()
        ]
        return [op for op in readers if op.type in _UPDATES]


def find_batch_norm(inputs: tf.Tensor) -> BatchNorm | None:
    """Returns the batch normalization of a tensor, or None."""
    for op in graph_edits.list_consumers(inputs):
        found = None
        if op.type in _FUSED and op.inputs[0].name == inputs.name:
            found = _read_fused(op, op.outputs[0])
        elif op.type == "Reshape" and op.inputs[0].name == inputs.name:
            # The fused kernel gets matrices as images of one pixel.
            kernel = graph_edits.find_consumer(op.outputs[0], _FUSED)
            back = kernel and graph_edits.find_consumer(kernel.outputs[0], ["Reshape"])
            found = back and _read_fused(kernel, back.outputs[0])
        elif op.type == "Mul":
            found = _read_unfused(op, inputs)
        if found:
            return found
    return None


def _read_fused(op: tf.Operation, outputs: tf.Tensor) -> BatchNorm | None:
    x, gamma, beta, mean, variance = op.inputs
    moving = None
    if op.get_attr("is_training"):
        mean, corrected = op.outputs[1:3]
        moving = _find_moving(mean, corrected)
        if moving is None:
            return None
        scope = graph_edits.parent_scope(op.name) or "BatchNorm"
        with tf.name_scope(f"{scope}_Fold/"):
            channels = tf.size(mean, out_type=tf.int32)
            count = tf.cast(tf.size(x) // channels, tf.float32)
            variance = corrected * tf.maximum(count - 1.0, 1.0) / count
    return BatchNorm(
        outputs, gamma, beta, mean, variance, op.get_attr("epsilon"), moving
    )


def _read_unfused(scaling: tf.Operation, inputs: tf.Tensor) -> BatchNorm | None:
    """Reads the nodes of `tf.nn.batch_normalization` from x * scale on."""
    (scale,) = [v for v in scaling.inputs if v.name != inputs.name] or [None]
    sums = [
        op
        for op in graph_edits.list_consumers(scaling.outputs[0])
        if op.type in _ADDITIONS and len(op.inputs) == 2
    ]
    if scale is None or not sums:
        return None
    roots = [
        (v.op, other)
        for v, other in ((scale, None), *_pairs(scale.op, "Mul"))
        if v.op.type == "Rsqrt"
    ]
    (offset,) = [v for v in sums[0].inputs if v.op.name != scaling.name] or [None]
    if not roots or offset is None:
        return None
    root, gamma = roots[0]
    beta, product = None, offset
    if offset.op.type == "Sub":
        beta, product = offset.op.inputs
    means = [v for v, other in _pairs(product.op, "Mul") if other.name == scale.name]
    added = root.inputs[0].op
    if not means or added.type not in _ADDITIONS:
        return None
    mean = means[0].op.inputs[0] if means[0].op.type == "Neg" else means[0]
    variance, epsilon = added.inputs
    if variance.shape.rank != 1:
        return None
    moving = None
    if graph_edits.find_variable(variance) is None:
        moving = _find_moving(mean, variance)
        if moving is None:
            return None
    return BatchNorm(sums[0].outputs[0], gamma, beta, mean, variance, epsilon, moving)


def _pairs(op: tf.Operation, kind: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns the two inputs of an operation of this type, in both orders."""
    if op.type != kind:
        return []
    first, second = op.inputs
    return [(first, second), (second, first)]


def _find_moving(
    mean: tf.Tensor, variance: tf.Tensor
) -> tuple[tf.Operation, tf.Operation] | None:
    """Returns the variables that average the statistics of the batches."""
    found = [_find_average(statistic) for statistic in (mean, variance)]
    if found[1] is None:
        return None
    if found[0] is None or found[0].name.endswith("/biased"):
        # A zero-debiased mean is assigned from variables of its own.
        name = graph_edits.join_scopes(
            graph_edits.parent_scope(found[1].name), "moving_mean"
        )
        try:
            found[0] = mean.graph.get_operation_by_name(name)
        except KeyError:
            return None
    return found[0], found[1]


def _find_average(statistic: tf.Tensor) -> tf.Operation | None:
    waiting, seen = [statistic], set()
    while waiting:
        for op in graph_edits.list_consumers(waiting.pop(0)):
            if op.type in _ASSIGNMENTS:
                return op.inputs[0].op
            if op.type in _UPDATE_STEPS and op.name not in seen:
                seen.add(op.name)
                waiting += op.outputs
    return None
