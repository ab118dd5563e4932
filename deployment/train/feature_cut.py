"""Where a network is cut in two: below, nothing changes while the layers above train.

`find_cut` finds the tensors at which the part that changes reads from the part that
does not. `reconnect` has a network read them from elsewhere, so that no step runs what
is below.
"""

import math
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from tf_slim_compat import slim, tf

# Images per batch of the network that is searched. A prime: no other dimension of a
# network equals it, so whatever begins with it is one part per image.
BATCH_SIZE = 31
_HANDLES = {"VarHandleOp", "ReadVariableOp"}
# Known from static shapes, whatever the images are.
_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}


class Tap(NamedTuple):
    """A tensor at the cut: its name, and its shape and dtype for one image."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """The number of values per image."""
        return math.prod(self.shape)


class Cut(NamedTuple):
    """A cut through a network.

    Attributes:
      taps: the tensors at the cut, in the order in which they were built.
      trunk: the variables that they depend on.
    """

    taps: tuple[Tap, ...]
    trunk: tuple[tf.Variable, ...]

    @property
    def num_values(self) -> int:
        """Values per image, over all taps."""
        return sum(tap.size for tap in self.taps)


def list_changing(trained: Iterable[tf.Variable]) -> set[str]:
    """Returns the names of the model's variables that a training step changes.

    Args:
      trained: the variables that are trained; those that others update, such as moving
        statistics, are found in the default graph.
    """
    updated = filter(_is_updated, slim.get_model_variables())
    return {variable.op.name for variable in (*trained, *updated)}


def find_cut(
    images: tf.Tensor, outputs: Sequence[tf.Tensor], changing: Container[str]
) -> Cut:
    """Finds the tensors that are the same in every step and that the others read.

    Below them there is no variable that changes, nothing random and no statistics of
    the batch.

    Args:
      images: the network's input, [BATCH_SIZE, height, width, channels].
      outputs: what the losses are computed from.
      changing: the names of the variables that a training step changes.

    Raises:
      ValueError: if the first layer already changes, so that nothing is below, or none
        does; the message is a clause.
    """
    fixed = {
        variable.handle.op: variable
        for variable in slim.get_model_variables()
        if variable.op.name not in changing
    }
    from_images, above = _mark(images, set(fixed))
    taps, seen = {}, set()
    waiting = [output.op for output in outputs if output.op in above]
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        for tensor in op.inputs:
            if tensor.op in above:
                waiting.append(tensor.op)
            elif tensor.op in from_images:
                taps[tensor.name] = tensor
    if not taps:
        raise ValueError("no output depends on them")
    if images.name in taps:
        raise ValueError("the first layer changes with every step")
    order = {op: number for number, op in enumerate(images.graph.get_operations())}
    tensors = sorted(taps.values(), key=lambda tensor: order[tensor.op])
    below = _list_ancestors(tensors)
    return Cut(
        tuple(Tap(t.name, tuple(t.shape[1:].as_list()), t.dtype.name) for t in tensors),
        tuple(variable for op, variable in fixed.items() if op in below),
    )


def pack(graph: tf.Graph, cut: Cut) -> tf.Tensor:
    """Returns the tensors at a cut side by side, float32 [batch, num_values]."""
    flat = [
        tf.reshape(
            tf.cast(graph.get_tensor_by_name(tap.name), tf.float32), [-1, tap.size]
        )
        for tap in cut.taps
    ]
    return tf.concat(flat, axis=1, name="features")


def unpack(features: tf.Tensor, cut: Cut) -> list[tf.Tensor]:
    """Returns what `pack` packed."""
    parts = tf.split(features, [tap.size for tap in cut.taps], axis=1)
    return [
        tf.cast(tf.reshape(part, [-1, *tap.shape]), tap.dtype)
        for part, tap in zip(parts, cut.taps, strict=True)
    ]


def reconnect(
    cut: Cut, replacements: Sequence[tf.Tensor], images: tf.Tensor
) -> set[tf.Operation]:
    """Has whatever reads the tensors at a cut read others, in the images' graph.

    Args:
      cut: the cut.
      replacements: tensors of the same shapes, in the same order.
      images: the network's input, which nothing above the cut may read any more.

    Returns:
      The operations that still depend on the images, which must not be run.
    """
    graph = images.graph
    for tap, replacement in zip(cut.taps, replacements, strict=True):
        tensor = graph.get_tensor_by_name(tap.name)
        if tuple(tensor.shape[1:].as_list()) != tap.shape:
            raise ValueError(f"{tap.name} has the shape {tensor.shape}, not {tap}.")
        for op in tensor.consumers():
            for index, source in enumerate(op.inputs):
                if source is tensor:
                    op._update_input(index, replacement)
    below = {images.op}
    for op in graph.get_operations():
        if any(tensor.op in below for tensor in op.inputs):
            below.add(op)
    return below


def _is_updated(variable):
    """Returns whether anything but the initializer assigns a variable."""
    return any(
        op.type.startswith("Assign") and op is not variable.initializer
        for op in variable.handle.consumers()
    )


def _mark(images, fixed):
    """Returns the operations that depend on the images, and those that change."""
    from_images, changing = {images.op}, set()
    operations = images.graph.get_operations()
    num_marked = 0
    while num_marked != len(from_images) + len(changing):  # Loops go backwards.
        num_marked = len(from_images) + len(changing)
        for op in operations:
            if op is images.op or op.type in _SHAPES:
                continue
            sources = [tensor.op for tensor in op.inputs]
            if any(source in from_images for source in sources):
                from_images.add(op)
            if (
                _is_source_of_change(op, fixed)
                or any(source in changing for source in sources)
                or (op in from_images and _mixes_images(op))
            ):
                changing.add(op)
    return from_images, changing


def _is_source_of_change(op, fixed):
    if op.type in _HANDLES:
        return op.type == "VarHandleOp" and op not in fixed
    return op.op_def.is_stateful


def _mixes_images(op):
    """Returns whether results for an image may depend on others in the batch."""
    if op.type.startswith("FusedBatchNorm"):
        return op.get_attr("is_training")
    return any(
        not tensor.shape.rank or tensor.shape[0] != BATCH_SIZE for tensor in op.outputs
    )


def _list_ancestors(tensors):
    found, waiting = set(), [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting.extend(tensor.op for tensor in op.inputs)
    return found
