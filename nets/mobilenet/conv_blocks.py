"""The blocks that MobileNet v2, v3 and EdgeTPU are tables of.

M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
https://arxiv.org/abs/1801.04381 (`expanded_conv`); J. Hu et al., "Squeeze-and-
Excitation Networks", 2017, https://arxiv.org/abs/1709.01507 (`squeeze_excite`).

All take and return float tensors [batch, height, width, channels]. What the arguments
leave open (initial weights, normalisation, activations) comes from the arg scope.
`endpoints` is a dict to which the block adds its inner tensors. `use_explicit_padding`
pads by the kernel's size alone, where "SAME" looks at the input's size as well.
"""

import contextlib
import functools
import itertools

from nets.mobilenet.conv_defs import make_divisible, safe_arg_scope
from nets.net_utils import fixed_padding, reduced_kernel_size
from tf_slim_compat import slim, tf


def expand_input_by_factor(n, divisible_by=8):
    """Returns the `expansion_size` that is `n` times the block's input, rounded."""
    return lambda num_inputs, **_: make_divisible(num_inputs * n, divisible_by)


_EXPAND_BY_6 = expand_input_by_factor(6)


def _depth(net):
    return net.shape.as_list()[3]


def _pad(net, kernel_size, rate, use_explicit_padding, padding="SAME"):
    """Returns the map, and the padding that it is to be convolved with."""
    if not use_explicit_padding:
        return net, padding
    if padding != "SAME":
        raise ValueError(
            f"use_explicit_padding is another kind of padding 'SAME', not {padding!r}; "
            "leave out one of the two."
        )
    return fixed_padding(net, kernel_size, rate), "VALID"


@slim.add_arg_scope
def split_separable_conv2d(
    input_tensor,
    num_outputs,
    scope=None,
    normalizer_fn=None,
    stride=1,
    rate=1,
    endpoints=None,
    use_explicit_padding=False,
):
    """MobileNet v1's layer: a depthwise 3x3 convolution, then a pointwise one.

    Both are normalised and activated. They are called SCOPE_depthwise and
    SCOPE_pointwise, or without a `scope` depthwise and pointwise within "separable".
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
        net = endpoints[name] = slim.separable_conv2d(
            net, None, 3, 1, stride, padding, rate=rate, scope=name
        )
        name = f"{prefix}pointwise"
        net = endpoints[name] = slim.conv2d(net, num_outputs, 1, scope=name)
    return net


def _split_depth(depth, num_ways, divisible_by):
    """Shares `depth` out into nearly equal multiples of `divisible_by`."""
    if depth % divisible_by:
        raise ValueError(
            f"A convolution in {num_ways} ways needs depths divisible by "
            f"{divisible_by}, not {depth}; choose another depth or divisor."
        )
    units = depth // divisible_by
    ends = [-(-units * way // num_ways) for way in range(num_ways + 1)]
    return [(end - start) * divisible_by for start, end in itertools.pairwise(ends)]


def split_conv(input_tensor, num_outputs, num_ways, scope, divisible_by=8, **kwargs):
    """A 1x1 convolution in groups: the channels are split, convolved and joined.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_outputs: int, channels of the result.
      num_ways: int, the number of groups; there is but one where a group would have
        less than `divisible_by` channels.
      scope: name of the convolution, or of group N with _part_N after it.
      divisible_by: int, what the depths of the groups are multiples of.
      **kwargs: for `slim.conv2d`.

    Raises:
      ValueError: a depth to be split is not a multiple of `divisible_by`.
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


def _in_ways(convolution, num_ways, divisible_by):
    """Binds what only `split_conv` takes, if that is the convolution."""
    if convolution is not split_conv:
        return convolution
    return functools.partial(split_conv, num_ways=num_ways, divisible_by=divisible_by)


@slim.add_arg_scope
def expanded_conv(
    input_tensor,
    num_outputs,
    expansion_size=_EXPAND_BY_6,
    stride=1,
    rate=1,
    kernel_size=(3, 3),
    residual=True,
    normalizer_fn=None,
    split_projection=1,
    split_expansion=1,
    split_divisible_by=8,
    expansion_transform=None,
    depthwise_location="expansion",
    depthwise_channel_multiplier=1,
    endpoints=None,
    use_explicit_padding=False,
    padding="SAME",
    inner_activation_fn=None,
    depthwise_activation_fn=None,
    project_activation_fn=tf.identity,
    depthwise_fn=slim.separable_conv2d,
    expansion_fn=split_conv,
    projection_fn=split_conv,
    scope=None,
):
    """The inverted residual: expand, convolve depthwise, project, add the input.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      num_outputs: int, channels of the result.
      expansion_size: int, channels after the expansion, or a function of (num_inputs=)
        that returns it. Nothing is expanded if the input has as many.
      stride: int, of the depthwise convolution.
      rate: int, the dilation of the depthwise convolution.
      kernel_size: pair of ints, of the depthwise convolution.
      residual: whether the input is added where stride and depth allow it, or a
        function of (input_tensor=, output_tensor=) that returns the block's result.
      normalizer_fn: callable, of all convolutions.
      split_projection: int, in how many groups `split_conv` projects.
      split_expansion: int, in how many groups `split_conv` expands.
      split_divisible_by: int, what the depths of these groups are multiples of.
      expansion_transform: function of (expansion_tensor=, input_tensor=), between
        expansion and projection, e.g. one that calls `squeeze_excite`.
      depthwise_location: what is convolved depthwise: "input", "expansion", "output"
        or, for nothing, None.
      depthwise_channel_multiplier: int, maps per channel of that convolution.
      endpoints: dict that gets "expansion_output", "depthwise_output" and "output".
      use_explicit_padding: see the top of the file; for padding "SAME" only.
      padding: "SAME" or "VALID", of the depthwise convolution.
      inner_activation_fn: callable, in place of the arg scope's activation.
      depthwise_activation_fn: the same for the depthwise convolution alone.
      project_activation_fn: callable, of the projection.
      depthwise_fn: builder with the arguments of `slim.separable_conv2d`.
      expansion_fn: builder (net, depth, scope=, normalizer_fn=).
      projection_fn: builder (net, depth, scope=, normalizer_fn=, activation_fn=).
      scope: name of the variable scope; None for "expanded_conv" with a number.

    Raises:
      ValueError: `depthwise_location` or `padding` is none of the above.
    """
    if depthwise_location not in (None, "input", "expansion", "output"):
        raise ValueError(
            "depthwise_location must be 'input', 'expansion', 'output' or None, not "
            f"{depthwise_location!r}."
        )
    endpoints = {} if endpoints is None else endpoints
    expand = _in_ways(expansion_fn, split_expansion, split_divisible_by)
    project = _in_ways(projection_fn, split_projection, split_divisible_by)

    def mark(name, net):
        endpoints[name] = tf.identity(net, name=name)
        return endpoints[name]

    def convolve_depthwise(net, **kwargs):
        net, pad = _pad(net, kernel_size, rate, use_explicit_padding, padding)
        net = depthwise_fn(
            net,
            num_outputs=None,
            kernel_size=kernel_size,
            depth_multiplier=depthwise_channel_multiplier,
            stride=stride,
            padding=pad,
            rate=rate,
            normalizer_fn=normalizer_fn,
            scope="depthwise",
            **kwargs,
        )
        return mark("depthwise_output", net)

    with (
        tf.variable_scope(scope, "expanded_conv"),
        safe_arg_scope(
            [slim.conv2d, slim.separable_conv2d], activation_fn=inner_activation_fn
        ),
        safe_arg_scope([slim.separable_conv2d], activation_fn=depthwise_activation_fn),
    ):
        net = input_tensor
        if depthwise_location == "input":
            net = convolve_depthwise(net, activation_fn=None)
        if callable(expansion_size):
            expansion_size = expansion_size(num_inputs=_depth(input_tensor))
        if expansion_size > _depth(net):
            net = expand(
                net, expansion_size, scope="expand", normalizer_fn=normalizer_fn
            )
            net = mark("expansion_output", net)
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
        if callable(residual):
            net = residual(input_tensor=input_tensor, output_tensor=net)
        elif residual and stride == 1 and _depth(net) == _depth(input_tensor):
            net += input_tensor
        return mark("output", net)


def fused_expanded_conv(
    input_tensor,
    num_outputs,
    stride=1,
    rate=1,
    kernel_size=(3, 3),
    residual=True,
    endpoints=None,
    use_explicit_padding=False,
    **kwargs,
):
    """`expanded_conv` whose expansion is a full convolution, with none depthwise.

    The arguments are those of `expanded_conv`; stride, rate and kernel size are the
    expansion's.
    """

    def expand(net, depth, **names):
        net, padding = _pad(net, kernel_size, rate, use_explicit_padding)
        return slim.conv2d(net, depth, kernel_size, stride, padding, rate=rate, **names)

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
    input_tensor,
    divisible_by=8,
    squeeze_factor=3,
    inner_activation_fn=tf.nn.relu,
    gating_fn=tf.sigmoid,
    squeeze_input_tensor=None,
    pool=None,
):
    """Weighs each channel by what two dense layers say of the map's average.

    Args:
      input_tensor: float tensor [batch, height, width, channels].
      divisible_by: int, what the depth of the first layer is a multiple of.
      squeeze_factor: float, how many times less deep the first layer is.
      inner_activation_fn: callable, of the first layer.
      gating_fn: callable, from the second layer's output to the weights.
      squeeze_input_tensor: float tensor [batch, h, w, any] that the weights are made
        from; None for `input_tensor`.
      pool: int, the side of the windows that are averaged, one at each place, so that
        the weights vary over the map; None for one average of the whole map.
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
            net = slim.avg_pool2d(net, reduced_kernel_size(net, [pool, pool]), 1)
        net = slim.conv2d(net, depth, 1, activation_fn=inner_activation_fn)
        weights = slim.conv2d(net, _depth(input_tensor), 1, activation_fn=gating_fn)
        if pool is not None:
            size = tf.shape(input_tensor)[1:3]
            weights = tf.image.resize_images(weights, size, align_corners=True)
        return input_tensor * weights
