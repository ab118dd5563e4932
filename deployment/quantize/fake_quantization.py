"""Fake quantization of the tensors of a graph.

Papers: https://arxiv.org/abs/1712.05877, section 3, and
https://arxiv.org/abs/1806.08342, section 2.4.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from deployment.quantize import graph_edits, value_ranges
from deployment.quantize.matching import Layer
from tf_slim_compat import tf

_STEP = "fake_quantization_step"
_COUNTED_STEP = "counted_fake_quantization_step"


@dataclasses.dataclass(frozen=True)
class Options:
    """How a graph is quantized.

    Attributes:
      is_training: whether the ranges follow the values.
      weight_bits: bits of the weights, 2 to 16.
      activation_bits: bits of the activations, 2 to 16.
      symmetric: whether ranges are symmetric about zero.
      symmetric_weights: whether those of the weights are; without `symmetric`.
      per_channel: whether the weights of convolutions have a range for each output
        channel; ranges of all weights are symmetric then.
      quant_delay: steps without quantization.
      freeze_bn_delay: steps after which batch normalization uses its moving averages
        and leaves them as they are, or None.

    Raises:
      ValueError: for a number out of range.
    """

    is_training: bool
    weight_bits: int = 8
    activation_bits: int = 8
    symmetric: bool = False
    symmetric_weights: bool = False
    per_channel: bool = False
    quant_delay: int = 0
    freeze_bn_delay: int | None = None

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits"):
            if not 2 <= (bits := getattr(self, name)) <= 16:
                raise ValueError(
                    f"{name} must be from 2 to 16, but is {bits}; integer kernels "
                    "take 8."
                )
        for name in ("quant_delay", "freeze_bn_delay"):
            if (steps := getattr(self, name) or 0) < 0:
                raise ValueError(
                    f"{name} must be a number of steps, 0 or more, but is {steps}."
                )


class FakeQuantized(NamedTuple):
    """A tensor of a graph that is quantized.

    Attributes:
      scope: scope of its variables `min` and `max`.
      is_weights: whether it is the weights of a layer, not activations.
      limits: least and largest value that the integers stand for, [] or [channels].
      values: the quantized values, float32; before the delay is over, the original
        ones.
    """

    scope: str
    is_weights: bool
    limits: value_ranges.Range
    values: tf.Tensor


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How one tensor is quantized."""

    bits: int
    is_narrow: bool
    is_symmetric: bool
    per_channel: bool

    def measure(self, values: tf.Tensor) -> value_ranges.Range:
        """Returns the range that the values need."""
        found = value_ranges.measure(values, self.per_channel)
        if self.is_symmetric:
            return value_ranges.make_symmetric(found, self.bits, self.is_narrow)
        return found

    def fake_quantize(self, values: tf.Tensor, limits: value_ranges.Range) -> tf.Tensor:
        """Returns the values rounded to the steps of a range."""
        fake_quantize = tf.quantization.fake_quant_with_min_max_vars
        if self.per_channel:
            fake_quantize = tf.quantization.fake_quant_with_min_max_vars_per_channel
        return fake_quantize(
            values, *limits, num_bits=self.bits, narrow_range=self.is_narrow
        )


class Quantizer:
    """Adds fake quantization to the default graph.

    Attributes:
      is_active: bool scalar, whether the delay is over; None without a delay.
      is_frozen: bool scalar, whether batch normalization uses its moving averages in
        training; None if it never does.
      found: what it has quantized so far.
    """

    def __init__(self, options: Options):
        self._options = options
        self._times_used: dict[str, int] = {}
        # Scope of the variables -> range; the clones of a network share them.
        self._ranges: dict[str, value_ranges.Range] = {}
        self.found: list[FakeQuantized] = []
        self.is_active = _has_reached(options.quant_delay or None, options.is_training)
        self.is_frozen = _has_reached(options.freeze_bn_delay, options.is_training)

    def quantize_weights(self, weights: tf.Tensor, layer: Layer) -> tf.Tensor:
        """Returns weights quantized to the narrow range of integers.

        In training, their range is that of the step's weights.

        Args:
          weights: float32, those of the layer or as many.
          layer: the layer.
        """
        options, shape = self._options, weights.shape
        kind = _Kind(
            bits=options.weight_bits,
            is_narrow=True,
            is_symmetric=options.symmetric
            or options.symmetric_weights
            or options.per_channel,
            per_channel=options.per_channel and layer.op.type != "MatMul",
        )
        scope = self._make_unique(graph_edits.join_scopes(layer.scope, "weights_quant"))
        with tf.name_scope(f"{scope}/"):
            is_spread = kind.per_channel and layer.channel_axes > 1
            if is_spread:
                height, width, *channels = shape.as_list()
                weights = tf.reshape(weights, [1, height, width, np.prod(channels)])

            def build_range(name: str) -> value_ranges.Range:
                if not options.is_training:
                    limits = weights.shape[-1:].as_list() if kind.per_channel else []
                    return value_ranges.read_range(name, limits, is_relu=False)
                return value_ranges.follow_last_values(name, kind.measure(weights))

            limits = self._share_range(scope.removeprefix(layer.clone), build_range)
            quantized = self._fake_quantize(weights, limits, kind)
            self.found.append(FakeQuantized(scope, True, limits, quantized))
            return tf.reshape(quantized, shape) if is_spread else quantized

    def quantize_activations(
        self, values: tf.Tensor, scope: str, clone: str, is_relu: bool
    ) -> tf.Tensor:
        """Returns quantized activations.

        In training, their range is a moving average over the steps.

        Args:
          values: float32.
          scope: scope of the fake quantization.
          clone: start of the scope that the variables lack.
          is_relu: whether the values are never negative.
        """
        options = self._options
        kind = _Kind(options.activation_bits, False, options.symmetric, False)
        scope = self._make_unique(scope)
        with tf.name_scope(f"{scope}/"):

            def build_range(name: str) -> value_ranges.Range:
                if not options.is_training:
                    return value_ranges.read_range(name, [], is_relu)
                measured = kind.measure(values)
                return value_ranges.follow_average(name, measured, is_relu)

            limits = self._share_range(scope.removeprefix(clone), build_range)
            quantized = self._fake_quantize(values, limits, kind)
            self.found.append(FakeQuantized(scope, False, limits, quantized))
            return quantized

    def _make_unique(self, scope: str) -> str:
        count = self._times_used.get(scope, 0)
        self._times_used[scope] = count + 1
        return f"{scope}_{count}" if count else scope

    def _share_range(
        self, name: str, build: Callable[[str], value_ranges.Range]
    ) -> value_ranges.Range:
        if name not in self._ranges:
            self._ranges[name] = build(name)
        return self._ranges[name]

    def _fake_quantize(
        self, values: tf.Tensor, limits: value_ranges.Range, kind: _Kind
    ) -> tf.Tensor:
        if self.is_active is None:
            return kind.fake_quantize(values, limits)
        return tf.cond(
            self.is_active, lambda: kind.fake_quantize(values, limits), lambda: values
        )


def _has_reached(delay: int | None, is_training: bool) -> tf.Tensor | None:
    """Returns whether so many steps have been trained, or None without a delay."""
    if delay is None:
        return None
    found = tf.get_collection(_COUNTED_STEP)
    if not found:
        variable = value_ranges.build_variable(_STEP, 0, dtype=tf.int64)
        with tf.control_dependencies(None), tf.name_scope(f"{_STEP}/"):
            step = tf.convert_to_tensor(variable)
            if is_training:
                # The count includes the step that runs.
                step = tf.convert_to_tensor(variable.assign_add(1)) - 1
        found = [step]
        tf.add_to_collection(_COUNTED_STEP, step)
    with tf.control_dependencies(None), tf.name_scope(f"{_STEP}/"):
        return tf.greater_equal(found[0], tf.constant(delay, tf.int64))
