"""Checks before the first step that a training run fits into the memory.

Running out of it otherwise ends the process without a word.
"""

import collections
import math
from typing import NamedTuple

from absl import logging

from deployment.config_flags import SettingError
from deployment.text import format_bytes
from deployment.train.available_memory import find_available
from deployment.train.config import TrainingConfig
from tf_slim_compat import tf

# The estimate is a lower bound: of what steps took (benchmarks/memory_estimate.py) it
# was 67 to 92 %. A run is refused only if that exceeds the available memory, ...
_REFUSED_ABOVE = 1.0
# ... and may fail if it exceeds this part of it.
SAFE_SHARE = 0.6
# Operations whose output is their first input.
_ALIASES = {"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient"}
# What only hands out memory that is there already.
_WITHOUT_OUTPUT = {"VariableV2", "Variable", "VarHandleOp", "ReadVariableOp", "Const"}


class Needs(NamedTuple):
    """The least memory that a training step needs, beyond what the process has.

    Attributes:
      fixed_bytes: of variables with optimizer slots, moving averages and gradients.
      bytes_per_image: of activations and their gradients, at the peak.
    """

    fixed_bytes: int
    bytes_per_image: float

    def total(self, batch_size: int) -> float:
        """Returns the bytes for a batch."""
        return self.fixed_bytes + batch_size * self.bytes_per_image


def estimate(graph: tf.Graph, batch_size: int, num_clones: int = 1) -> Needs:
    """Estimates the memory that a step of a training graph needs at its peak.

    The operations are gone through in the order in which they were made, which is that
    of a step: the forward pass, the backward pass, the updates. Each result takes
    memory until its last use. Buffers of the input pipeline and workspaces of
    operations come on top.

    Args:
      graph: the graph, with an optimizer.
      batch_size: images per batch of a clone; shapes tell how the memory grows with it.
      num_clones: number of clones; they need not be at their peak at the same time.
    """
    variables = {
        *graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES),
        *graph.get_collection(tf.GraphKeys.LOCAL_VARIABLES),
    }
    fixed = sum(_count_bytes(v.shape, v.dtype.base_dtype) for v in variables)
    variable_shapes = {v.shape for v in variables}
    operations = graph.get_operations()
    last_use = {}
    for number, op in enumerate(operations):
        for tensor in (*op.inputs, *op.outputs):
            last_use[_find_origin(tensor).ref()] = number
    ending = collections.defaultdict(list)
    sizes = {}
    for ref, number in last_use.items():
        ending[number].append(ref)
        sizes[ref] = _measure(ref.deref(), batch_size, variable_shapes)
    live, peak = [0, 0], (0, 0)
    for number, op in enumerate(operations):
        for ref in (tensor.ref() for tensor in op.outputs):
            if ref in sizes:
                is_batch, size = sizes[ref]
                live[is_batch] += size
        if sum(live) > sum(peak):
            peak = tuple(live)
        for ref in ending[number]:
            is_batch, size = sizes[ref]
            live[is_batch] -= size
    return Needs(fixed + peak[False], peak[True] / batch_size / num_clones)


def _measure(
    tensor: tf.Tensor, batch_size: int, variable_shapes: set[tf.TensorShape]
) -> tuple[bool, int]:
    """Returns whether a result grows with the batch, and its size in bytes."""
    shape = tensor.shape
    if tensor.op.type in _WITHOUT_OUTPUT or not shape.rank:
        return False, 0
    is_batch = not (shape[0] or 1) % batch_size and shape not in variable_shapes
    return is_batch, _count_bytes(shape, tensor.dtype)


def check(config: TrainingConfig, graph: tf.Graph) -> None:
    """Checks that a training graph fits into this machine's memory.

    Networks on GPUs and in other processes are not checked: running out of memory there
    raises an error.

    Args:
      config: the configuration of the run.
      graph: its graph.

    Raises:
      ValueError: if it clearly does not fit. If it may not, a warning is logged.
    """
    if config.master or is_on_gpu(config):
        return
    available = find_available()
    if available is None:
        return
    needs = estimate(graph, config.batch_size, config.deployment.num_clones)
    total = needs.total(config.batch_size)
    if total <= SAFE_SHARE * available:
        return
    needed = (
        f"Training needs at least {format_bytes(round(total))} of memory "
        f"({format_bytes(needs.fixed_bytes)} for variables and gradients, the rest for "
        f"the activations of {config.batch_size} images)"
    )
    advice = _suggest(config, needs, available)
    if total > _REFUSED_ABOVE * available:
        raise SettingError(
            f"{needed}, but only {format_bytes(available)} are available: {advice}."
        )
    warning = SettingError(
        f"{needed}, in practice up to one and a half times as much, and "
        f"{format_bytes(available)} are available: if the system ends it, {advice}."
    )
    logging.warning("%s", warning.explain())


def is_on_gpu(config: TrainingConfig) -> bool:
    """Returns whether the clones of a run are on GPUs of this machine."""
    gpus = tf.config.list_physical_devices("GPU")
    return bool(gpus) and not config.deployment.clone_on_cpu


def _suggest(config: TrainingConfig, needs: Needs, available: int) -> str:
    """Returns what makes a run fit."""
    room = SAFE_SHARE * available - needs.fixed_bytes
    fitting = math.floor(room / needs.bytes_per_image) if needs.bytes_per_image else 0
    smaller = "use a smaller image size or network"
    if fitting < 1:
        return smaller
    if config.sync_replicas:
        return f"use {{{{batch_size}}}}={min(fitting, config.batch_size)} or less"
    images = config.batch_size * config.gradient_accumulation_steps
    size = max(n for n in range(1, fitting + 1) if images % n == 0)
    return (
        f"use {{{{batch_size}}}}={size} with {{{{gradient_accumulation_steps}}}}="
        f"{images // size}, which makes the same steps, or {smaller.split(' ', 1)[1]}"
    )


def _find_origin(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor whose memory a tensor uses."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[0]
    return tensor


def _count_bytes(shape: tf.TensorShape, dtype: tf.DType) -> int:
    """Returns the size of a tensor; 0 if its shape is not known before it runs."""
    return (shape.num_elements() or 0) * dtype.size
