"""S3D-G: I3D with kernels taken apart into space and time, and gated features.

S. Xie, C. Sun, J. Huang, Z. Tu, K. Murphy, "Rethinking Spatiotemporal Feature Learning:
Speed-Accuracy Trade-offs in Video Classification", 2017,
https://arxiv.org/abs/1712.04851

Input: float [batch, frames, 224, 224, 3] in [-1, 1], 64 frames in the paper; other
sizes work too. Output: logits [batch, classes]; the last map is [batch, frames / 8, 7,
7, 1024]. Parameters with 1,001 classes: 10,134,873. Published top-1 accuracy on
Kinetics-400, from RGB: 74.7 %.
"""

import functools

from nets.i3d import i3d_arg_scope
from nets.i3d_utils import (
    HEAD,
    LAYERS,
    OutputConv,
    collect_video_layers,
    conv3d_spatiotemporal,
    inception_block_v1_3d,
    make_video_ops,
    self_gating,
)
from nets.inception_utils import build_layer, layers_from
from nets.net_utils import build_pooled_head, depth_scale, unknown_name
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf

__all__ = [
    "conv3d_spatiotemporal",
    "inception_block_v1_3d",
    "s3dg",
    "s3dg_arg_scope",
    "s3dg_base",
    "self_gating",
]

# Where convolutions through time and gating may start: layers with outputs to gate.
STARTS = [
    name
    for name, layer in LAYERS.items()
    if isinstance(layer, OutputConv) or name.startswith("Mixed")
]


def s3dg_arg_scope(weight_decay=1e-7, batch_norm_decay=0.999, batch_norm_epsilon=0.001):
    """Returns S3D-G's arg scope; for the arguments see `i3d.i3d_arg_scope`."""
    return i3d_arg_scope(
        weight_decay, batch_norm_decay, batch_norm_epsilon, separable_conv3d=True
    )


def _layers(
    net,
    first_temporal_kernel_size,
    temporal_conv_startat,
    gating_startat,
    depth,
    data_format,
):
    """Builds the layers one after another; yields (name, tensor)."""
    name = "Conv2d_1a_7x7"
    kernel = (first_temporal_kernel_size, 7, 7)
    # The public checkpoints have this kernel whole.
    net = conv3d_spatiotemporal(
        net, depth(64), kernel, 2, separable=False, data_format=data_format, scope=name
    )
    yield name, net
    gate = functools.partial(self_gating, data_format=data_format)
    temporal_kernel_size, self_gating_fn = 1, None
    for name, layer in layers_from(LAYERS, "MaxPool_2a_3x3").items():
        if name == temporal_conv_startat:
            temporal_kernel_size = 3
        if name == gating_startat:
            self_gating_fn = gate
        ops = make_video_ops(temporal_kernel_size, self_gating_fn, depth, data_format)
        net = build_layer(net, name, layer, ops)
        yield name, net


def _check_base_arguments(first_temporal_kernel_size, startats, data_format):
    if first_temporal_kernel_size not in (1, 3, 5, 7):
        raise ValueError(
            "first_temporal_kernel_size must be 1, 3, 5 or 7, not "
            f"{first_temporal_kernel_size}."
        )
    for argument, name in startats.items():
        if name is not None and name not in STARTS:
            raise unknown_name(argument, name, STARTS)
    if data_format not in ("NDHWC", "NCDHW"):
        raise ValueError(
            f"data_format must be 'NDHWC' or 'NCDHW', not {data_format!r}."
        )


def s3dg_base(
    inputs,
    first_temporal_kernel_size=3,
    temporal_conv_startat="Conv2d_2c_3x3",
    gating_startat="Conv2d_2c_3x3",
    final_endpoint="Mixed_5c",
    min_depth=16,
    depth_multiplier=1.0,
    data_format="NDHWC",
    scope="InceptionV1",
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      first_temporal_kernel_size: 1, 3, 5 or 7, the first kernel's size in time.
      temporal_conv_startat: name of the first layer, one of `STARTS`, that convolves
        through time; None for none of them.
      gating_startat: name of the first layer that is gated, likewise.
      final_endpoint: name of the last layer, one of `i3d_utils.LAYERS`.
      min_depth: int, the least number of channels, where `depth_multiplier` < 1.
      depth_multiplier: float > 0, the factor of all numbers of channels.
      data_format: "NDHWC", or "NCDHW" for tensors [batch, channels, frames, height,
        width], `inputs` among them.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: one of the arguments is none of the above.
    """
    startats = {
        "temporal_conv_startat": temporal_conv_startat,
        "gating_startat": gating_startat,
    }
    _check_base_arguments(first_temporal_kernel_size, startats, data_format)
    layers = _layers(
        inputs,
        first_temporal_kernel_size,
        **startats,
        depth=depth_scale(depth_multiplier, min_depth),
        data_format=data_format,
    )
    # What batch normalisation calls the formats.
    plane_format = "NCHW" if data_format == "NCDHW" else "NHWC"
    with slim.arg_scope([slim.batch_norm], data_format=plane_format):
        return collect_video_layers(inputs, layers, final_endpoint, scope)


@functools.wraps(s3dg_base)
def _build_map(inputs, **arguments):
    """Returns the last map, channels last, and the end points."""
    net, end_points = s3dg_base(inputs, **arguments)
    if arguments["data_format"] == "NCDHW":
        net = tf.transpose(net, [0, 2, 3, 4, 1])
    return net, end_points


s3dg = define_classifier(
    "s3dg",
    _build_map,
    functools.partial(build_pooled_head, **HEAD),
    224,
    default_scope="InceptionV1",
    num_classes=1000,
    first_temporal_kernel_size=3,
    temporal_conv_startat="Conv2d_2c_3x3",
    gating_startat="Conv2d_2c_3x3",
    final_endpoint="Mixed_5c",
    min_depth=16,
    depth_multiplier=1.0,
    dropout_keep_prob=0.8,
    is_training=True,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    data_format="NDHWC",
    scope="InceptionV1",
)
