"""Inception v1 (GoogLeNet): blocks of 1x1, 3x3 and pooled branches.

C. Szegedy et al., "Going Deeper with Convolutions", 2014,
https://arxiv.org/abs/1409.4842; here with batch normalisation, with 3x3 in place of the
paper's 5x5, and without its auxiliary classifiers, as the public checkpoints are.

Input: float [batch, 224, 224, 3] in [-1, 1]; other sizes work too. Output: logits
[batch, classes]; the last map is [batch, 7, 7, 1024]. Parameters with 1,001 classes:
6,618,649. Published top-1 accuracy on ImageNet: 69.8 %.
"""

import functools

from nets.inception_utils import (
    Conv,
    MaxPool,
    build_layers,
    inception_arg_scope,
    layers_from,
    make_ops,
)
from nets.net_utils import build_pooled_head, collect_end_points
from nets.network_definitions import define_classifier
from tf_slim_compat import slim, tf

inception_v1_arg_scope = inception_arg_scope


def mixed(depth_0, depth_1a, depth_1b, depth_2a, depth_2b, depth_3, name=None):
    """A block; the digit is the branch, the letter the step. `name` is that of 2b."""
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
    # The public checkpoint has this name.
    "Mixed_5b": mixed(256, 160, 320, 32, 128, 128, name="Conv2d_0a_3x3"),
    "Mixed_5c": mixed(384, 192, 384, 48, 128, 128),
}
FIRST_BLOCK = "Mixed_3b"


def inception_v1_base(
    inputs, final_endpoint="Mixed_5c", include_root_block=True, scope="InceptionV1"
):
    """Builds the convolutions, up to `final_endpoint`.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      final_endpoint: name of the last layer, one of `LAYERS`.
      include_root_block: whether to begin with the layers before Mixed_3b; without
        them `inputs` are the map that it takes.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: the last tensor, and a dict of all layers.

    Raises:
      ValueError: `final_endpoint` is none of the layers built.
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


inception_v1 = define_classifier(
    "inception_v1",
    inception_v1_base,
    functools.partial(
        build_pooled_head, window=[7, 7], digit=0, pool_name="AvgPool_0a_7x7"
    ),
    224,
    default_scope="InceptionV1",
    num_classes=1000,
    is_training=True,
    dropout_keep_prob=0.8,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    scope="InceptionV1",
    global_pool=False,
)
