"""I3D: Inception v1 inflated to video: kernels of k x k become k x k x k.

J. Carreira, A. Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset", 2017, https://arxiv.org/abs/1705.07750

Input: float [batch, frames, 224, 224, 3] in [-1, 1], 64 frames in the paper; other
sizes also work. Output: logits [batch, classes]; the last feature map is [batch, frames
/ 8, 7, 7, 1024]. Parameters with 1,001 classes: 13,306,009. Published top-1 accuracy on
Kinetics-400 from RGB: 71.1 %.
"""

from collections.abc import Callable
from typing import Any

from nets.i3d_utils import (
    HEAD,
    LAYERS,
    collect_video_layers,
    conv3d_spatiotemporal,
    make_video_ops,
)
from nets.inception_utils import build_layers
from nets.net_utils import NetOutputs, build_pooled_head, network_scope
from tf_slim_compat import slim, tf


def i3d_arg_scope(
    weight_decay: float = 1e-7,
    batch_norm_decay: float = 0.999,
    batch_norm_epsilon: float = 0.001,
    use_renorm: bool = False,
    separable_conv3d: bool = False,
) -> dict[str, Any]:
    """Returns the arg scope of I3D.

    Args:
      weight_decay: L2 regularization factor of the weights.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
      use_renorm: whether to use batch renormalization; `slim.batch_norm` raises a
        ValueError if True.
      separable_conv3d: whether to factorize kernels into space and time.
    """
    norm = {
        "decay": batch_norm_decay,
        "epsilon": batch_norm_epsilon,
        "renorm": use_renorm,
    }
    with (
        slim.arg_scope(
            [slim.conv3d, conv3d_spatiotemporal],
            weights_regularizer=slim.l2_regularizer(weight_decay),
            activation_fn=tf.nn.relu,
            normalizer_fn=slim.batch_norm,
            normalizer_params=norm,
        ),
        slim.arg_scope([conv3d_spatiotemporal], separable=separable_conv3d) as scope,
    ):
        return scope


def i3d_base(
    inputs: tf.Tensor,
    final_endpoint: str = "Mixed_5c",
    scope: str | tf.VariableScope | None = "InceptionV1",
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      final_endpoint: name of the last layer, one of `i3d_utils.LAYERS`.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: no layer is called `final_endpoint`.
    """
    layers = build_layers(inputs, LAYERS, make_video_ops())
    return collect_video_layers(inputs, layers, final_endpoint, scope)


def i3d(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.8,
    is_training: bool = True,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "InceptionV1",
) -> NetOutputs:
    """Builds I3D.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      num_classes: number of classes; 0 or None returns the features [batch, frames, h,
        w, 1024].
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      is_training: whether dropout and batch normalization are in training mode.
      prediction_fn: function of (logits, scope=...).
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    with network_scope(scope, "InceptionV1", inputs, is_training, reuse) as scope:
        net, end_points = i3d_base(inputs, scope=scope)
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


i3d.default_image_size = 224
i3d.input_rank = 5
