"""I3D: Inception v1 inflated to video, each kernel k x k to k x k x k.

J. Carreira, A. Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset", 2017, https://arxiv.org/abs/1705.07750

Input: float [batch, frames, 224, 224, 3] in [-1, 1], 64 frames in the paper; other
sizes work too. Output: logits [batch, classes]; the last map is [batch, frames / 8, 7,
7, 1024]. Parameters with 1,001 classes: 13,306,009. Published top-1 accuracy on
Kinetics-400, from RGB: 71.1 %.
"""

import functools

from nets.i3d_utils import (
    HEAD,
    LAYERS,
    collect_video_layers,
    conv3d_spatiotemporal,
    make_video_ops,
)
from nets.inception_utils import build_layers
from nets.net_utils import build_pooled_head
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf


def i3d_arg_scope(
    weight_decay=1e-7,
    batch_norm_decay=0.999,
    batch_norm_epsilon=0.001,
    use_renorm=False,
    separable_conv3d=False,
):
    """Returns I3D's arg scope.

    Args:
      weight_decay: float, the factor of the weights' L2 loss.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
      use_renorm: batch renormalisation, which `slim.batch_norm` refuses.
      separable_conv3d: whether kernels are taken apart into space and time.
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


def i3d_base(inputs, final_endpoint="Mixed_5c", scope="InceptionV1"):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, frames, height, width, channels]; frames, height and
        width may be unknown.
      final_endpoint: name of the last layer, one of `i3d_utils.LAYERS`.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` is none of the layers.
    """
    layers = build_layers(inputs, LAYERS, make_video_ops())
    return collect_video_layers(inputs, layers, final_endpoint, scope)


i3d = define_classifier(
    "i3d",
    i3d_base,
    functools.partial(build_pooled_head, **HEAD),
    224,
    default_scope="InceptionV1",
    num_classes=1000,
    dropout_keep_prob=0.8,
    is_training=True,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    scope="InceptionV1",
)
