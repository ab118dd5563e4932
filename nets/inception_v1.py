"""Inception v1 (GoogLeNet): blocks of 1x1, 3x3 and pooled branches.

C. Szegedy et al., "Going Deeper with Convolutions", 2014,
https://arxiv.org/abs/1409.4842. Like the public checkpoints, this version has batch
normalization, 3x3 instead of 5x5 kernels, and no auxiliary classifiers.

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes also work. Output: logits
[batch, classes]; the last feature map is [batch, 7, 7, 1024]. Parameters with 1,001
classes: 6,618,649. Published top-1 accuracy on ImageNet: 69.8 %.
"""

from collections.abc import Callable
from typing import Any

from nets.inception_utils import (
    Conv,
    MaxPool,
    build_layers,
    inception_arg_scope,
    layers_from,
    make_ops,
)
from nets.net_utils import (
    NetOutputs,
    build_pooled_head,
    collect_end_points,
    network_scope,
)
from tf_slim_compat import slim, tf

inception_v1_arg_scope = inception_arg_scope


def mixed(
    depth_0: int,
    depth_1a: int,
    depth_1b: int,
    depth_2a: int,
    depth_2b: int,
    depth_3: int,
    name: str | None = None,
) -> tuple[tuple[Any, ...], ...]:
    """Returns the branches of a block.

    In the names of the depths, the digit is the branch and the letter the step; `name`
    overrides the name of step 2b.
    """
    return (
        (Conv(depth_0),),
        (Conv(depth_1a), Conv(depth_1b, 3)),
        (Conv(depth_2a), Conv(depth_2b, 3, name=name)),
        (MaxPool(), Conv(depth_3)),
    )


LAYERS = {
    "Conv2d_1a_7x7": Conv(64, 7, 2),
    "MaxPool_2a_3x3": MaxPool(3, 2),
    "Conv2d_2b_1x1": Conv(64),
    "Conv2d_2c_3x3": Conv(192, 3),
    "MaxPool_3a_3x3": MaxPool(3, 2),
    "Mixed_3b": mixed(64, 96, 128, 16, 32, 32),
    "Mixed_3c": mixed(128, 128, 192, 32, 96, 64),
    "MaxPool_4a_3x3": MaxPool(3, 2),
    "Mixed_4b": mixed(192, 96, 208, 16, 48, 64),
    "Mixed_4c": mixed(160, 112, 224, 24, 64, 64),
    "Mixed_4d": mixed(128, 128, 256, 24, 64, 64),
    "Mixed_4e": mixed(112, 144, 288, 32, 64, 64),
    "Mixed_4f": mixed(256, 160, 320, 32, 128, 128),
    "MaxPool_5a_2x2": MaxPool(2, 2),
    # The name in the public checkpoint.
    "Mixed_5b": mixed(256, 160, 320, 32, 128, 128, name="Conv2d_0a_3x3"),
    "Mixed_5c": mixed(384, 192, 384, 48, 128, 128),
}
FIRST_BLOCK = "Mixed_3b"


def inception_v1_base(
    inputs: tf.Tensor,
    final_endpoint: str = "Mixed_5c",
    include_root_block: bool = True,
    scope: str | tf.VariableScope | None = "InceptionV1",
) -> NetOutputs:
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      include_root_block: whether to build the layers before Mixed_3b; otherwise
        `inputs` is the input of Mixed_3b.
      scope: variable scope or its name.

    Returns:
      `(net, end_points)`: the last layer, and all layers by name.

    Raises:
      ValueError: no layer is called `final_endpoint`.
    """
    table = LAYERS if include_root_block else layers_from(LAYERS, FIRST_BLOCK)
    with (
        tf.variable_scope(scope, "InceptionV1", [inputs]),
        slim.arg_scope(
            [slim.conv2d],
            weights_initializer=tf.truncated_normal_initializer(stddev=0.01),
        ),
    ):
        return collect_end_points(
            build_layers(inputs, table, make_ops()), final_endpoint
        )


def inception_v1(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.8,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "InceptionV1",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds Inception v1.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        1024].
      is_training: whether dropout and batch normalization are in training mode.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...).
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      global_pool: whether to pool the whole last feature map, not windows of 7x7.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    with network_scope(scope, "InceptionV1", inputs, is_training, reuse) as scope:
        net, end_points = inception_v1_base(inputs, scope=scope)
        logits = build_pooled_head(
            net,
            end_points,
            num_classes,
            window=[7, 7],
            dropout_keep_prob=dropout_keep_prob,
            prediction_fn=prediction_fn,
            spatial_squeeze=spatial_squeeze,
            global_pool=global_pool,
            digit=0,
            pool_name="AvgPool_0a_7x7",
        )
    return logits, end_points


inception_v1.default_image_size = 224
