"""The table and the spatiotemporal layers shared by the video networks I3D and S3D-G.

Tensors are [batch, frames, height, width, channels] with data format "NDHWC", and
[batch, channels, frames, height, width] with "NCDHW".
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from nets import inception_v1
from nets.inception_utils import Conv, Layer, build_branches, make_ops
from nets.net_utils import Layers, NetOutputs, collect_end_points
from tf_slim_compat import slim, tf


class OutputConv(Conv):
    """The last convolution of a branch, whose output S3D-G gates."""


def inflate(layer: Layer, through_time: bool = True) -> Layer:
    """Returns the video version of a layer of Inception v1's table.

    Args:
      layer: one step, or a tuple of branches.
      through_time: whether kernel and stride have their spatial size in time too,
        instead of 1.
    """
    if isinstance(layer[0], tuple):
        return tuple(
            (*map(inflate, steps), OutputConv(*inflate(last))) for *steps, last in layer
        )
    *depth, kernel, stride, padding, _ = layer
    kernel = (kernel if through_time else 1, kernel, kernel)
    stride = stride if through_time else (1, stride, stride)
    return type(layer)(*depth, kernel, stride, padding)


LAYERS = {
    name: inflate(layer, name not in ("MaxPool_2a_3x3", "MaxPool_3a_3x3"))
    for name, layer in inception_v1.LAYERS.items()
}
LAYERS["Conv2d_2c_3x3"] = OutputConv(*LAYERS["Conv2d_2c_3x3"])
# Arguments of `net_utils.build_pooled_head`.
HEAD = {"window": [2, 7, 7], "digit": 0, "pool_name": None}


def collect_video_layers(
    inputs: tf.Tensor,
    layers: Layers,
    final_endpoint: str | None,
    scope: str | tf.VariableScope | None,
) -> NetOutputs:
    """Calls `net_utils.collect_end_points` with the scope and initializer for video.

    Args:
      inputs: the input of the first layer.
      layers: generator of (name, tensor) pairs.
      final_endpoint: name of the last layer to build; None builds all of them.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.
    """
    with (
        tf.variable_scope(scope, "InceptionV1", [inputs]),
        slim.arg_scope(
            [slim.conv3d],
            weights_initializer=tf.truncated_normal_initializer(stddev=0.01),
        ),
    ):
        return collect_end_points(layers, final_endpoint)


def _temporal_identity(
    shape: Sequence[int], dtype: tf.DType | None = None, partition_info: Any = None
) -> tf.Tensor:
    """Returns weights [time, 1, 1, channels, channels] of the identity in time."""
    frames, *_, depth_in, depth_out = tf.TensorShape(shape).as_list()
    if frames % 2 == 0:
        raise ValueError(
            f"A separable temporal kernel must have an odd size, not {frames}; its "
            "center frame starts as the identity."
        )
    identity = tf.eye(depth_in, depth_out, dtype=dtype)[None, None, None]
    margin = frames // 2
    return tf.pad(identity, [[margin, margin], *[[0, 0]] * 4])


@slim.add_arg_scope
def conv3d_spatiotemporal(
    inputs: tf.Tensor,
    num_outputs: int,
    kernel_size: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: str = "SAME",
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    normalizer_fn: Callable[..., tf.Tensor] | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_regularizer: Callable[[tf.Tensor], tf.Tensor] | None = None,
    separable: bool = False,
    data_format: str = "NDHWC",
    scope: str = "",
) -> tf.Tensor:
    """Builds a convolution in space and time.

    A separable convolution is one in space followed by one in time, whose weights start
    as the identity.

    Args:
      inputs: float tensor of rank 5.
      num_outputs: number of output channels.
      kernel_size: three ints, for time, height and width.
      stride: int or three ints.
      padding: "SAME" or "VALID".
      activation_fn: activation of each convolution.
      normalizer_fn: normalization function used instead of biases; a separate
        convolution in time always has biases.
      normalizer_params: arguments of `normalizer_fn`.
      weights_regularizer: function from weights to loss.
      separable: whether to factorize the kernel; one of a single frame is not.
      data_format: "NDHWC" or "NCDHW".
      scope: name of the variable scope.

    Returns:
      Float tensor of rank 5.

    Raises:
      ValueError: a separable kernel has an even size in time.
    """
    strides = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
    kernel = tuple(kernel_size)
    separable = separable and kernel[0] > 1
    shared = {
        "padding": padding,
        "weights_regularizer": weights_regularizer,
        "data_format": data_format,
    }
    net = slim.conv3d(
        inputs,
        num_outputs,
        (1, *kernel[1:]) if separable else kernel,
        stride=(1, *strides[1:]) if separable else strides,
        activation_fn=activation_fn,
        normalizer_fn=normalizer_fn,
        normalizer_params=normalizer_params,
        scope=scope,
        **shared,
    )
    if not separable:
        return net
    return slim.conv3d(
        net,
        num_outputs,
        (kernel[0], 1, 1),
        stride=(strides[0], 1, 1),
        activation_fn=activation_fn,
        normalizer_fn=None,
        weights_initializer=_temporal_identity,
        scope=f"{scope}/temporal".lstrip("/"),
        **shared,
    )


def self_gating(
    input_tensor: tf.Tensor, scope: str, data_format: str = "NDHWC"
) -> tf.Tensor:
    """Multiplies each channel by a gate in (0, 1), computed from all channel means.

    Args:
      input_tensor: float tensor of rank 5.
      scope: name of the variable scope around "self_gating".
      data_format: "NDHWC" or "NCDHW".

    Returns:
      Float tensor of the shape of `input_tensor`.
    """
    axes, channel_axis = ([2, 3, 4], 1) if data_format == "NCDHW" else ([1, 2, 3], -1)
    scope = f"{scope}/self_gating"
    window = [input_tensor.shape[axis] for axis in axes]
    if None in window:
        means = tf.reduce_mean(input_tensor, axes, keepdims=True)
    else:
        means = slim.avg_pool3d(
            input_tensor,
            window,
            stride=1,
            padding="VALID",
            data_format=data_format,
            scope=f"{scope}/avg_pool3d",
        )
    gates = slim.conv3d(
        means,
        input_tensor.shape[channel_axis],
        1,
        activation_fn=None,
        normalizer_fn=None,
        biases_initializer=None,
        data_format=data_format,
        scope=f"{scope}/transformer_W",
    )
    return tf.multiply(tf.sigmoid(gates), input_tensor)


def make_video_ops(
    temporal_kernel_size: int | None = None,
    self_gating_fn: Callable[..., tf.Tensor] | None = None,
    depth: Callable[[float], int] = lambda table_depth: table_depth,
    data_format: str = "NDHWC",
) -> dict[Any, Callable[..., tf.Tensor]]:
    """Returns `inception_utils.make_ops` for video.

    Args:
      temporal_kernel_size: size in time of kernels that span several frames; None for
        the table's.
      self_gating_fn: function of (net, scope=...) applied to the output of each branch;
        None for no gating.
      depth: function from the table's depth to this network's depth.
      data_format: "NDHWC" or "NCDHW".
    """

    def conv(
        net: tf.Tensor, table_depth: int, kernel: Sequence[int], **kwargs: Any
    ) -> tf.Tensor:
        if temporal_kernel_size and kernel[0] > 1:
            kernel = (temporal_kernel_size, *kernel[1:])
        return conv3d_spatiotemporal(
            net,
            depth(table_depth),
            kernel,
            data_format=data_format,
            **kwargs,
        )

    def output_conv(*args: Any, scope: str, **kwargs: Any) -> tf.Tensor:
        net = conv(*args, scope=scope, **kwargs)
        return self_gating_fn(net, scope=scope) if self_gating_fn else net

    max_pool = functools.partial(slim.max_pool3d, data_format=data_format)

    channel_axis = 1 if data_format == "NCDHW" else -1
    ops = make_ops(conv, max_pool, channel_axis=channel_axis)
    return {**ops, OutputConv: output_conv}


def inception_block_v1_3d(
    inputs: tf.Tensor,
    num_outputs_0_0a: int,
    num_outputs_1_0a: int,
    num_outputs_1_0b: int,
    num_outputs_2_0a: int,
    num_outputs_2_0b: int,
    num_outputs_3_0b: int,
    temporal_kernel_size: int = 3,
    self_gating_fn: Callable[..., tf.Tensor] | None = None,
    data_format: str = "NDHWC",
    scope: str = "",
) -> tf.Tensor:
    """Builds a block of Inception v1 for video.

    Args:
      inputs: float tensor of rank 5.
      num_outputs_0_0a: number of output channels of Branch_0/Conv2d_0a.
      num_outputs_1_0a: the same for Branch_1/Conv2d_0a.
      num_outputs_1_0b: the same for Branch_1/Conv2d_0b.
      num_outputs_2_0a: the same for Branch_2/Conv2d_0a.
      num_outputs_2_0b: the same for Branch_2/Conv2d_0b.
      num_outputs_3_0b: the same for Branch_3/Conv2d_0b.
      temporal_kernel_size: size in time of kernels that span several frames.
      self_gating_fn: function of (net, scope=...) applied to the output of each branch;
        None for no gating.
      data_format: "NDHWC" or "NCDHW".
      scope: name of the variable scope.

    Returns:
      Float tensor of rank 5, the concatenated channels of the branches.
    """
    block = inception_v1.mixed(
        num_outputs_0_0a,
        num_outputs_1_0a,
        num_outputs_1_0b,
        num_outputs_2_0a,
        num_outputs_2_0b,
        num_outputs_3_0b,
    )
    ops = make_video_ops(temporal_kernel_size, self_gating_fn, data_format=data_format)
    with tf.variable_scope(scope):
        return build_branches(inputs, inflate(block), ops)
