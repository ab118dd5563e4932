"""DenseNet: every layer sees the maps of all layers before it in its block.

G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional
Networks", 2016, https://arxiv.org/abs/1608.06993

Input: float [batch, 224, 224, 3], the mean colour subtracted; other sizes work too.
Output: logits [batch, classes]; the last map is [batch, 7, 7, maps].

| network      | maps  | parameters, 1000 classes | published top-1 on ImageNet |
|--------------|-------|--------------------------|-----------------------------|
| densenet_121 | 1,024 | 7,978,856                | 75.0 %                      |
| densenet_161 | 2,208 | 28,681,000               | 77.8 %                      |
| densenet_169 | 1,664 | 14,149,480               | 76.2 %                      |
| densenet_201 | 1,920 | 20,013,928               | 77.4 %                      |

The variables are called as in the DenseNet checkpoints for slim that are in wide use
(densenet121/dense_block1/conv_block1/x1/Conv/weights). Those were trained on pictures
multiplied by 0.017 after the mean colour was subtracted, and with the epsilon of
`densenet_arg_scope`.
"""

from nets.net_utils import collect_end_points, variant
from nets.resnet_utils import build_head
from tf_slim_compat import slim, tf


def _normalize(net):
    return slim.batch_norm(net, activation_fn=tf.nn.relu, scope="BatchNorm")


def _build_conv(net, depth, kernel, scope):
    with tf.variable_scope(scope):
        return slim.conv2d(_normalize(net), depth, kernel, scope="Conv")


def _layers(net, blocks, growth):
    """Builds the layers one after another; yields (name, tensor)."""
    net = slim.conv2d(net, 2 * growth, 7, 2, scope="conv1")
    yield "conv1", net
    net = slim.max_pool2d(_normalize(net), 3, 2, "SAME", scope="pool1")
    yield "pool1", net
    for number, layers in enumerate(blocks, start=1):
        if number > 1:
            name = f"transition_block{number - 1}"
            with tf.variable_scope(name):
                net = _build_conv(net, net.shape[-1] // 2, 1, "blk")
                net = slim.avg_pool2d(net, 2, 2, "VALID")
            yield name, net
        for layer in range(1, layers + 1):
            name = f"dense_block{number}/conv_block{layer}"
            with tf.variable_scope(name):
                new = _build_conv(net, 4 * growth, 1, "x1")
                new = _build_conv(new, growth, 3, "x2")
                net = tf.concat([net, new], -1)
            yield name, net
    with tf.variable_scope("final_block"):
        net = _normalize(net)
    yield "final_block", net


def densenet(
    inputs,
    num_classes=1000,
    is_training=True,
    global_pool=True,
    spatial_squeeze=True,
    reuse=None,
    scope=None,
    *,
    blocks,
    growth=32,
):
    """Builds a DenseNet from the sizes of its blocks.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: int; 0 or None gives the features [batch, 1, 1, channels].
      is_training: bool, for batch normalisation.
      global_pool: average the last map. For a prediction at each place of the picture:
        False, with `spatial_squeeze=False`.
      spatial_squeeze: logits [batch, classes] instead of [batch, h, w, classes].
      reuse: whether the variables exist already.
      scope: name of the variable scope.
      blocks: numbers of layers in each block.
      growth: int, maps that each layer adds; the first convolution has twice as many.

    Returns:
      `(net, end_points)`: logits or features, and a dict of all layers, called
      "scope/dense_block1/conv_block1" and the like.
    """
    with (
        tf.variable_scope(scope, "densenet", [inputs], reuse=reuse) as scope,
        slim.arg_scope([slim.batch_norm], is_training=is_training),
    ):
        net, layers = collect_end_points(_layers(inputs, blocks, growth))
        end_points = {f"{scope.name}/{name}": layer for name, layer in layers.items()}
        with slim.arg_scope([slim.conv2d], biases_initializer=tf.zeros_initializer()):
            return build_head(
                net, end_points, num_classes, global_pool, spatial_squeeze, scope.name
            )


densenet.default_image_size = 224


densenet_121 = variant(
    densenet, "densenet_121", scope="densenet121", blocks=(6, 12, 24, 16)
)
densenet_161 = variant(
    densenet, "densenet_161", scope="densenet161", blocks=(6, 12, 36, 24), growth=48
)
densenet_169 = variant(
    densenet, "densenet_169", scope="densenet169", blocks=(6, 12, 32, 32)
)
densenet_201 = variant(
    densenet, "densenet_201", scope="densenet201", blocks=(6, 12, 48, 32)
)


def densenet_arg_scope(
    weight_decay=1e-4, batch_norm_decay=0.99, batch_norm_epsilon=1.1e-5
):
    """Returns DenseNet's arg scope.

    Args:
      weight_decay: float, the factor of the weights' L2 loss.
      batch_norm_decay: float, of the moving averages.
      batch_norm_epsilon: float, added to the variance.
    """
    with (
        slim.arg_scope(
            [slim.conv2d],
            weights_initializer=slim.variance_scaling_initializer(),
            weights_regularizer=slim.l2_regularizer(weight_decay),
            biases_initializer=None,
            activation_fn=None,
        ),
        slim.arg_scope(
            [slim.batch_norm],
            decay=batch_norm_decay,
            epsilon=batch_norm_epsilon,
            scale=True,
        ) as scope,
    ):
        return scope
