"""What the video networks I3D and S3D-G share: the table, and layers in space and time.

Tensors are [batch, frames, height, width, channels], "NDHWC", or with "NCDHW"
[batch, channels, frames, height, width].
"""

from nets import inception_v1
from nets.inception_utils import Conv, build_branches, make_ops
from nets.net_utils import collect_end_points
from tf_slim_compat import slim, tf


class OutputConv(Conv):
    """A convolution whose outputs S3D-G gates: the last one of its branch."""


def inflate(layer, through_time=True):
    """Returns a layer of Inception v1's table for video.

    Args:
      layer: one step, or a tuple of branches.
      through_time: whether kernels and strides have their size in time too, or 1.
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
# For `net_utils.build_pooled_head`.
HEAD = {"window": [2, 7, 7], "digit": 0, "pool_name": None}


def collect_video_layers(inputs, layers, final_endpoint, scope):
    """As `net_utils.collect_end_points`, in the networks' scope and initial spread."""
    with (
        tf.variable_scope(scope, "InceptionV1", [inputs]),
        slim.arg_scope(
            [slim.conv3d],
            weights_initializer=tf.truncated_normal_initializer(stddev=0.01),
        ),
    ):
        return collect_end_points(layers, final_endpoint)


def _copy_of_centre_frame(shape, dtype=None, partition_info=None):
    """Initial weights [time, 1, 1, channels, channels] that change nothing."""
    frames, *_, depth_in, depth_out = tf.TensorShape(shape).as_list()
    if frames % 2 == 0:
        raise ValueError(
            f"A temporal kernel must have an odd size to have a centre, not {frames}."
        )
    identity = tf.eye(depth_in, depth_out, dtype=dtype)[None, None, None]
    margin = frames // 2
    return tf.pad(identity, [[margin, margin], *[[0, 0]] * 4])


@slim.add_arg_scope
def conv3d_spatiotemporal(
    inputs,
    num_outputs,
    kernel_size,
    stride=1,
    padding="SAME",
    activation_fn=None,
    normalizer_fn=None,
    normalizer_params=None,
    weights_regularizer=None,
    separable=False,
    data_format="NDHWC",
    scope="",
):
    """A convolution in space and time, in one or, if separable, in two steps.

    The second step, through time, begins as the identity.

    Args:
      inputs: float tensor of rank 5.
      num_outputs: int, channels of the output.
      kernel_size: three ints, for time, height and width.
      stride: int or three ints.
      padding: "SAME" or "VALID".
      activation_fn: callable after each step.
      normalizer_fn: callable in front of that, in place of biases; the step through
        time has biases.
      normalizer_params: dict of its arguments.
      weights_regularizer: callable from weights to loss.
      separable: whether to convolve in space first and then in time; a kernel of one
        frame has no second step.
      data_format: "NDHWC" or "NCDHW".
      scope: name of the variable scope.

    Returns:
      float tensor of rank 5.

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
        (1, *strides[1:]) if separable else strides,
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
        (strides[0], 1, 1),
        activation_fn=activation_fn,
        normalizer_fn=None,
        weights_initializer=_copy_of_centre_frame,
        scope=f"{scope}/temporal".lstrip("/"),
        **shared,
    )


def self_gating(input_tensor, scope, data_format="NDHWC"):
    """Multiplies each channel by a gate in (0, 1), computed from all channels' means.

    Args:
      input_tensor: float tensor of rank 5.
      scope: name of the variable scope that `self_gating` becomes a part of.
      data_format: "NDHWC" or "NCDHW".

    Returns:
      float tensor of the shape of `input_tensor`.
    """
    axes, channel_axis = ([2, 3, 4], 1) if data_format == "NCDHW" else ([1, 2, 3], -1)
    gates = slim.conv3d(
        tf.reduce_mean(input_tensor, axes, keepdims=True),
        input_tensor.shape[channel_axis],
        1,
        activation_fn=None,
        normalizer_fn=None,
        biases_initializer=None,
        data_format=data_format,
        scope=f"{scope}/self_gating/transformer_W",
    )
    return tf.sigmoid(gates) * input_tensor


def make_video_ops(
    temporal_kernel_size=None,
    self_gating_fn=None,
    depth=lambda tabled_depth: tabled_depth,
    data_format="NDHWC",
):
    """Returns `inception_utils.make_ops` for video.

    Args:
      temporal_kernel_size: int, the size in time of the kernels that have one; None
        for the table's.
      self_gating_fn: callable of (net, scope=...) for the branches' outputs, or None.
      depth: callable from the tabled depth to this network's.
      data_format: "NDHWC" or "NCDHW".
    """

    def conv(net, tabled_depth, kernel, *args, scope):
        if temporal_kernel_size and kernel[0] > 1:
            kernel = (temporal_kernel_size, *kernel[1:])
        return conv3d_spatiotemporal(
            net,
            depth(tabled_depth),
            kernel,
            *args,
            data_format=data_format,
            scope=scope,
        )

    def output_conv(*args, scope):
        net = conv(*args, scope=scope)
        return self_gating_fn(net, scope=scope) if self_gating_fn else net

    def max_pool(*args, scope):
        return slim.max_pool3d(*args, data_format=data_format, scope=scope)

    channel_axis = 1 if data_format == "NCDHW" else -1
    ops = make_ops(conv, max_pool, channel_axis=channel_axis)
    return {**ops, OutputConv: output_conv}


def inception_block_v1_3d(
    inputs,
    num_outputs_0_0a,
    num_outputs_1_0a,
    num_outputs_1_0b,
    num_outputs_2_0a,
    num_outputs_2_0b,
    num_outputs_3_0b,
    temporal_kernel_size=3,
    self_gating_fn=None,
    data_format="NDHWC",
    scope="",
):
    """A block of Inception v1 for video.

    Args:
      inputs: float tensor of rank 5.
      num_outputs_0_0a, num_outputs_1_0a, num_outputs_1_0b, num_outputs_2_0a,
        num_outputs_2_0b, num_outputs_3_0b: ints, channels of Branch_0/Conv2d_0a and so
        on.
      temporal_kernel_size: int, of the convolutions that have one.
      self_gating_fn: callable of (net, scope=...) for the branches' outputs, or None.
      data_format: "NDHWC" or "NCDHW".
      scope: name of the variable scope.

    Returns:
      float tensor of rank 5, the branches' channels concatenated.
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
