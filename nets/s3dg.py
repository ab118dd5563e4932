"""S3D-G: I3D with kernels factorized into space and time, and gated features.

S. Xie, C. Sun, J. Huang, Z. Tu, K. Murphy, "Rethinking Spatiotemporal Feature Learning:
Speed-Accuracy Trade-offs in Video Classification", 2017,
https://arxiv.org/abs/1712.04851

Input: float [batch, frames, 224, 224, 3] in [-1, 1], 64 frames in the paper; other
sizes also work. Output: logits [batch, classes]; the last feature map is [batch, frames
/ 8, 7, 7, 1024]. Parameters with 1,001 classes: 10,134,873. Published top-1 accuracy on
Kinetics-400 from RGB: 74.7 %.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

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
from nets.net_utils import (
    Layers,
    NetOutputs,
    build_pooled_head,
    depth_scale,
    network_scope,
    unknown_name,
)
from tf_slim_compat import slim, tf

__all__ = [
    "conv3d_spatiotemporal",
    "inception_block_v1_3d",
    "s3dg",
    "s3dg_arg_scope",
    "s3dg_base",
    "self_gating",
]

# Layers at which temporal convolutions and gating can start.
STARTS = [
    name
    for name, layer in LAYERS.items()
    if isinstance(layer, OutputConv) or name.startswith("Mixed")
]


def s3dg_arg_scope(
    weight_decay: float = 1e-7,
    batch_norm_decay: float = 0.999,
    batch_norm_epsilon: float = 0.001,
) -> dict[str, Any]:
    """Returns the arg scope of S3D-G; see `i3d.i3d_arg_scope` for the arguments."""
    return i3d_arg_scope(
        weight_decay, batch_norm_decay, batch_norm_epsilon, separable_conv3d=True
    )


def _layers(
    net: tf.Tensor,
    first_temporal_kernel_size: int,
    temporal_conv_startat: str | None,
    gating_startat: str | None,
    depth: Callable[[float], int],
    data_format: str,
) -> Layers:
    """Yields (name, tensor) of each layer as it is built."""
    name = "Conv2d_1a_7x7"
    kernel = (first_temporal_kernel_size, 7, 7)
    # The public checkpoints do not factorize this kernel.
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


def _check_base_arguments(
    first_temporal_kernel_size: int,
    startats: Mapping[str, str | None],
    data_format: str,
) -> None:
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
    inputs: tf.Tensor,
    first_temporal_kernel_size: int = 3,
    temporal_conv_startat: str | None = "Conv2d_2c_3x3",
    gating_startat: str | None = "Conv2d_2c_3x3",
    final_endpoint: str = "Mixed_5c",
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    data_format: str = "NDHWC",
    scope: str | tf.VariableScope | None = "InceptionV1",
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      first_temporal_kernel_size: size in time of the first kernel: 1, 3, 5 or 7.
      temporal_conv_startat: name of the first layer with temporal convolutions, one of
        `STARTS`; None for no such layer.
      gating_startat: name of the first gated layer, likewise; None for no gating.
      final_endpoint: name of the last layer, one of `i3d_utils.LAYERS`.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      data_format: "NDHWC", or "NCDHW" for tensors [batch, channels, frames, height,
        width], including `inputs`.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: an argument is invalid.
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
    # Batch normalization has its own names for the formats.
    plane_format = "NCHW" if data_format == "NCDHW" else "NHWC"
    with slim.arg_scope([slim.batch_norm], data_format=plane_format):
        return collect_video_layers(inputs, layers, final_endpoint, scope)


def s3dg(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    first_temporal_kernel_size: int = 3,
    temporal_conv_startat: str | None = "Conv2d_2c_3x3",
    gating_startat: str | None = "Conv2d_2c_3x3",
    final_endpoint: str = "Mixed_5c",
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    dropout_keep_prob: float = 0.8,
    is_training: bool = True,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    data_format: str = "NDHWC",
    scope: str | None = "InceptionV1",
) -> NetOutputs:
    """Builds S3D-G.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      num_classes: number of classes; 0 or None returns the features [batch, frames, h,
        w, depth].
      first_temporal_kernel_size: see `s3dg_base`.
      temporal_conv_startat: see `s3dg_base`.
      gating_startat: see `s3dg_base`.
      final_endpoint: name of the layer that the head is built on.
      min_depth: minimum number of channels if `depth_multiplier` < 1.
      depth_multiplier: positive factor of all numbers of channels.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      is_training: whether dropout and batch normalization are in training mode.
      prediction_fn: function of (logits, scope=...).
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      data_format: see `s3dg_base`; features are channels last in either case.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: an argument of `s3dg_base` is invalid.
    """
    with network_scope(scope, "InceptionV1", inputs, is_training, reuse) as scope:
        net, end_points = s3dg_base(
            inputs,
            first_temporal_kernel_size,
            temporal_conv_startat,
            gating_startat,
            final_endpoint,
            min_depth,
            depth_multiplier,
            data_format,
            scope,
        )
        if data_format == "NCDHW":
            net = tf.transpose(net, [0, 2, 3, 4, 1])
        logits = build_pooled_head(
            net,
            end_points,
            num_classes,
            dropout_keep_prob=dropout_keep_prob,
            prediction_fn=prediction_fn,
            spatial_squeeze=spatial_squeeze,
            **HEAD,
        )
    return logits, end_points


s3dg.default_image_size = 224
s3dg.input_rank = 5
