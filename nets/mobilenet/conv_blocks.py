"""The blocks of MobileNet v2, v3 and EdgeTPU.

M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
https://arxiv.org/abs/1801.04381 (`expanded_conv`); J. Hu et al., "Squeeze-and-
Excitation Networks", 2017, https://arxiv.org/abs/1709.01507 (`squeeze_excite`).

All functions take and return float tensors [batch, height, width, channels]. Initial
weights, normalization and activations come from the arg scope unless an argument sets
them. Blocks add their inner tensors to the dict `endpoints`. With
`use_explicit_padding`, padding depends on the kernel alone; padding "SAME" also depends
on the input size.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from nets.mobilenet.conv_defs import make_divisible, safe_arg_scope
from nets.net_utils import EndPoints, fixed_padding, reduced_kernel_size
from nets.stochastic_depth import drop_residual
from tf_slim_compat import slim, tf


def expand_input_by_factor(n: float, divisible_by: int = 8) -> Callable[..., int]:
    """Returns an `expansion_size` of `n` times the input depth, rounded.

    Args:
      n: expansion factor.
      divisible_by: divisor that the result is rounded to.
    """
    return lambda num_inputs, **_: make_divisible(num_inputs * n, divisible_by)


_EXPAND_BY_6 = expand_input_by_factor(6)


def _depth(net: tf.Tensor) -> int:
    return net.shape.as_list()[3]


def _pad(
    net: tf.Tensor,
    kernel_size: int | Sequence[int],
    rate: int,
    use_explicit_padding: bool,
    padding: str = "SAME",
) -> tuple[tf.Tensor, str]:
    """Returns the padded feature map, and the padding to convolve it with."""
    if not use_explicit_padding:
        return net, padding
    if padding != "SAME":
        raise ValueError(
            f"use_explicit_padding requires padding 'SAME', not {padding!r}; drop one "
            "of the two arguments."
        )
    return fixed_padding(net, kernel_size, rate), "VALID"


@slim.add_arg_scope
def split_separable_conv2d(
    input_tensor: tf.Tensor,
    num_outputs: int,
    scope: str | None = None,
    normalizer_fn: Callable[..., tf.Tensor] | None = None,
    stride: int = 1,
    rate: int = 1,
    endpoints: EndPoints | None = None,
    use_explicit_padding: bool = False,
) -> tf.Tensor:
    """Builds MobileNet v1's layer: a depthwise 3x3, then a pointwise convolution.

    Both have normalization and activation. Their scopes are SCOPE_depthwise and
    SCOPE_pointwise, or "depthwise" and "pointwise" inside "separable" if `scope` is
    None.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_outputs: number of output channels.
      scope: prefix of the variable scopes.
      normalizer_fn: normalization function of both convolutions.
      stride: stride of the depthwise convolution.
      rate: dilation rate of the depthwise convolution.
      endpoints: dict that receives both outputs.
      use_explicit_padding: see the module docstring.
    """
    prefix = "" if scope is None else f"{scope}_"
    own_scope = tf.variable_scope(None, "separable") if scope is None else None
    endpoints = {} if endpoints is None else endpoints
    with (
        own_scope or contextlib.nullcontext(),
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d], normalizer_fn=normalizer_fn
        ),
    ):
        net, padding = _pad(input_tensor, 3, rate, use_explicit_padding)
        name = f"{prefix}depthwise"
        named = {"depth_multiplier": 1, "stride": stride, "padding": padding}
        net = endpoints[name] = slim.separable_conv2d(
            net, None, 3, rate=rate, scope=name, **named
        )
        name = f"{prefix}pointwise"
        net = endpoints[name] = slim.conv2d(net, num_outputs, 1, scope=name)
    return net


def _split_depth(depth: int, num_ways: int, divisible_by: int) -> list[int]:
    """Splits `depth` into nearly equal multiples of `divisible_by`."""
    if depth % divisible_by:
        raise ValueError(
            f"A convolution in {num_ways} groups requires depths divisible by "
            f"{divisible_by}, not {depth}; choose another depth or divisor."
        )
    units = depth // divisible_by
    ends = [-(-units * way // num_ways) for way in range(num_ways + 1)]
    return [(end - start) * divisible_by for start, end in itertools.pairwise(ends)]


def split_conv(
    input_tensor: tf.Tensor,
    num_outputs: int,
    num_ways: int,
    scope: str,
    divisible_by: int = 8,
    **kwargs: Any,
) -> tf.Tensor:
    """Builds a 1x1 convolution in groups: split channels, convolve, concatenate.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_outputs: number of output channels.
      num_ways: number of groups; reduced to 1 if a group would have fewer than
        `divisible_by` channels.
      scope: scope of the convolution; group N is called SCOPE_part_N.
      divisible_by: divisor of the depths of the groups.
      **kwargs: arguments of `slim.conv2d`.

    Raises:
      ValueError: a depth to split is not divisible by `divisible_by`.
    """
    depth = _depth(input_tensor)
    if num_ways == 1 or min(depth, num_outputs) // num_ways < divisible_by:
        return slim.conv2d(input_tensor, num_outputs, 1, scope=scope, **kwargs)
    depths = _split_depth(depth, num_ways, divisible_by)
    parts = tf.split(input_tensor, depths, axis=3, name=f"split_{scope}")
    depths = _split_depth(num_outputs, num_ways, divisible_by)
    outputs = [
        slim.conv2d(part, depth, 1, scope=f"{scope}_part_{number}", **kwargs)
        for number, (part, depth) in enumerate(zip(parts, depths, strict=True))
    ]
    return tf.concat(outputs, 3, name=f"{scope}_concat")


def _in_ways(
    convolution: Callable[..., tf.Tensor], num_ways: int, divisible_by: int
) -> Callable[..., tf.Tensor]:
    """Binds the arguments that only `split_conv` has."""
    if convolution is not split_conv:
        return convolution
    return functools.partial(split_conv, num_ways=num_ways, divisible_by=divisible_by)


def _mark(endpoints: EndPoints, name: str, net: tf.Tensor) -> tf.Tensor:
    """Adds a tensor of the block to `endpoints` under its own node name."""
    endpoints[name] = tf.identity(net, name=name)
    return endpoints[name]


def _convolve_depthwise(
    net: tf.Tensor,
    depthwise_fn: Callable[..., tf.Tensor],
    endpoints: EndPoints,
    *,
    kernel_size: Sequence[int],
    rate: int,
    padding: str,
    use_explicit_padding: bool,
    **kwargs: Any,
) -> tf.Tensor:
    net, padding = _pad(net, kernel_size, rate, use_explicit_padding, padding)
    net = depthwise_fn(
        net,
        num_outputs=None,
        kernel_size=kernel_size,
        padding=padding,
        rate=rate,
        scope="depthwise",
        **kwargs,
    )
    return _mark(endpoints, "depthwise_output", net)


def _add_residual(
    residual: bool | Callable[..., tf.Tensor],
    input_tensor: tf.Tensor,
    net: tf.Tensor,
    stride: int,
) -> tf.Tensor:
    if callable(residual):
        return residual(input_tensor=input_tensor, output_tensor=net)
    if residual and stride == 1 and _depth(net) == _depth(input_tensor):
        return drop_residual(net) + input_tensor
    return net


@slim.add_arg_scope
def expanded_conv(
    input_tensor: tf.Tensor,
    num_outputs: int,
    expansion_size: int | Callable[..., int] = _EXPAND_BY_6,
    stride: int = 1,
    rate: int = 1,
    kernel_size: Sequence[int] = (3, 3),
    residual: bool | Callable[..., tf.Tensor] = True,
    normalizer_fn: Callable[..., tf.Tensor] | None = None,
    split_projection: int = 1,
    split_expansion: int = 1,
    split_divisible_by: int = 8,
    expansion_transform: Callable[..., tf.Tensor] | None = None,
    depthwise_location: str | None = "expansion",
    depthwise_channel_multiplier: int = 1,
    endpoints: EndPoints | None = None,
    use_explicit_padding: bool = False,
    padding: str = "SAME",
    inner_activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    depthwise_activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    project_activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = tf.identity,
    depthwise_fn: Callable[..., tf.Tensor] = slim.separable_conv2d,
    expansion_fn: Callable[..., tf.Tensor] = split_conv,
    projection_fn: Callable[..., tf.Tensor] = split_conv,
    scope: str | None = None,
) -> tf.Tensor:
    """Builds an inverted residual: expand, convolve depthwise, project, add the input.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_outputs: number of output channels.
      expansion_size: number of channels after the expansion, or a function of
        (num_inputs=) that returns it. There is no expansion unless it is larger than
        the input depth.
      stride: stride of the depthwise convolution.
      rate: dilation rate of the depthwise convolution.
      kernel_size: pair of ints, kernel of the depthwise convolution.
      residual: whether to add the input if stride and depth permit, or a function of
        (input_tensor=, output_tensor=) that returns the result of the block.
      normalizer_fn: normalization function of all convolutions.
      split_projection: number of groups of the projection, if by `split_conv`.
      split_expansion: number of groups of the expansion, if by `split_conv`.
      split_divisible_by: divisor of the depths of these groups.
      expansion_transform: function of (expansion_tensor=, input_tensor=) applied before
        the projection, e.g. one that calls `squeeze_excite`.
      depthwise_location: the tensor to convolve depthwise: "input", "expansion",
        "output", or None for no depthwise convolution.
      depthwise_channel_multiplier: output channels per channel of that convolution.
      endpoints: dict that receives "expansion_output", "depthwise_output" and "output".
      use_explicit_padding: see the module docstring; requires padding "SAME".
      padding: "SAME" or "VALID", for the depthwise convolution.
      inner_activation_fn: activation used instead of the arg scope's.
      depthwise_activation_fn: the same for the depthwise convolution only.
      project_activation_fn: activation of the projection.
      depthwise_fn: builder with the arguments of `slim.separable_conv2d`.
      expansion_fn: builder (net, depth, scope=, normalizer_fn=).
      projection_fn: builder (net, depth, scope=, normalizer_fn=, activation_fn=).
      scope: name of the variable scope; None for a unique "expanded_conv".

    Raises:
      ValueError: `depthwise_location` or `padding` is invalid.
    """
    if depthwise_location not in (None, "input", "expansion", "output"):
        raise ValueError(
            "depthwise_location must be 'input', 'expansion', 'output' or None, not "
            f"{depthwise_location!r}."
        )
    endpoints = {} if endpoints is None else endpoints
    expand = _in_ways(expansion_fn, split_expansion, split_divisible_by)
    project = _in_ways(projection_fn, split_projection, split_divisible_by)
    convolve_depthwise = functools.partial(
        _convolve_depthwise,
        depthwise_fn=depthwise_fn,
        endpoints=endpoints,
        kernel_size=kernel_size,
        depth_multiplier=depthwise_channel_multiplier,
        stride=stride,
        rate=rate,
        padding=padding,
        use_explicit_padding=use_explicit_padding,
        normalizer_fn=normalizer_fn,
    )
    with (
        tf.variable_scope(scope, "expanded_conv"),
        safe_arg_scope(
            [slim.conv2d, slim.separable_conv2d], activation_fn=inner_activation_fn
        ),
        safe_arg_scope([slim.separable_conv2d], activation_fn=depthwise_activation_fn),
    ):
        net = input_tensor = tf.identity(input_tensor, name="input")
        if depthwise_location == "input":
            net = convolve_depthwise(net, activation_fn=None)
        if callable(expansion_size):
            expansion_size = expansion_size(num_inputs=_depth(input_tensor))
        if expansion_size > _depth(net):
            net = expand(
                net, expansion_size, scope="expand", normalizer_fn=normalizer_fn
            )
            net = _mark(endpoints, "expansion_output", net)
        if depthwise_location == "expansion":
            net = convolve_depthwise(net)
        if expansion_transform is not None:
            net = expansion_transform(expansion_tensor=net, input_tensor=input_tensor)
        net = project(
            net,
            num_outputs,
            scope="project",
            normalizer_fn=normalizer_fn,
            activation_fn=project_activation_fn,
        )
        if depthwise_location == "output":
            net = convolve_depthwise(net, activation_fn=None)
        net = _add_residual(residual, input_tensor, net, stride)
        return _mark(endpoints, "output", net)


def fused_expanded_conv(
    input_tensor: tf.Tensor,
    num_outputs: int,
    stride: int = 1,
    rate: int = 1,
    kernel_size: Sequence[int] = (3, 3),
    residual: bool | Callable[..., tf.Tensor] = True,
    endpoints: EndPoints | None = None,
    use_explicit_padding: bool = False,
    **kwargs: Any,
) -> tf.Tensor:
    """Builds `expanded_conv` with a full instead of a depthwise convolution.

    See `expanded_conv` for the arguments; stride, rate and kernel size apply to the
    expansion.
    """

    def expand(net: tf.Tensor, depth: int, **names: Any) -> tf.Tensor:
        net, padding = _pad(net, kernel_size, rate, use_explicit_padding)
        return slim.conv2d(
            net, depth, kernel_size, stride=stride, padding=padding, rate=rate, **names
        )

    return expanded_conv(
        input_tensor,
        num_outputs,
        stride=stride,
        residual=residual,
        depthwise_location=None,
        endpoints=endpoints,
        expansion_fn=expand,
        **kwargs,
    )


def squeeze_excite(
    input_tensor: tf.Tensor,
    divisible_by: int = 8,
    squeeze_factor: float = 3,
    inner_activation_fn: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu,
    gating_fn: Callable[[tf.Tensor], tf.Tensor] = tf.sigmoid,
    squeeze_input_tensor: tf.Tensor | None = None,
    pool: int | None = None,
) -> tf.Tensor:
    """Scales each channel by a gate that two dense layers compute from channel means.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      divisible_by: divisor of the depth of the first layer.
      squeeze_factor: ratio of the input depth to the depth of the first layer.
      inner_activation_fn: activation of the first layer.
      gating_fn: function from the output of the second layer to the gates.
      squeeze_input_tensor: float tensor [batch, h, w, any] that the gates are computed
        from; None for `input_tensor`.
      pool: side of the averaging window, which makes the gates vary by location; None
        averages over all locations.
    """
    net = input_tensor if squeeze_input_tensor is None else squeeze_input_tensor
    depth = make_divisible(_depth(net) / squeeze_factor, divisible_by)
    with (
        tf.variable_scope("squeeze_excite"),
        slim.arg_scope([slim.conv2d], normalizer_fn=None),
    ):
        if pool is None:
            net = tf.reduce_mean(net, [1, 2], keepdims=True)
        else:
            net = slim.avg_pool2d(net, reduced_kernel_size(net, [pool, pool]), stride=1)
        net = slim.conv2d(net, depth, 1, activation_fn=inner_activation_fn)
        weights = slim.conv2d(net, _depth(input_tensor), 1, activation_fn=gating_fn)
        if pool is not None:
            size = tf.shape(input_tensor)[1:3]
            weights = tf.image.resize_images(weights, size, align_corners=True)
        return input_tensor * weights
