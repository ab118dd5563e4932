"""DenseNet: every layer sees the feature maps of all earlier layers of its block.

G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional
Networks", 2016, https://arxiv.org/abs/1608.06993

Input: float [batch, 224, 224, 3], the mean color subtracted; other sizes also work.
Output: logits [batch, classes]; the last feature map is [batch, 7, 7, depth].

| network      | depth | parameters, 1000 classes | published top-1 on ImageNet |
|--------------|-------|--------------------------|-----------------------------|
| densenet_121 | 1,024 | 7,978,856                | 75.0 %                      |
| densenet_161 | 2,208 | 28,681,000               | 77.8 %                      |
| densenet_169 | 1,664 | 14,149,480               | 76.2 %                      |
| densenet_201 | 1,920 | 20,013,928               | 77.4 %                      |

Variable names match the widely used DenseNet checkpoints for TF-Slim, e.g.
densenet121/dense_block1/conv_block1/x1/Conv/weights. Those were trained on images
multiplied by 0.017 after subtracting the mean color, and with the epsilon of
`densenet_arg_scope`.
"""

from collections.abc import Sequence
from typing import Any

from nets.net_utils import Layers, NetOutputs, collect_end_points
from nets.resnet_utils import build_head
from tf_slim_compat import slim, tf


def _normalize(net: tf.Tensor) -> tf.Tensor:
    return slim.batch_norm(net, activation_fn=tf.nn.relu, scope="BatchNorm")


def _build_conv(net: tf.Tensor, depth: int, kernel: int, scope: str) -> tf.Tensor:
    with tf.variable_scope(scope):
        return slim.conv2d(_normalize(net), depth, kernel, scope="Conv")


def _layers(net: tf.Tensor, blocks: Sequence[int], growth: int) -> Layers:
    """Yields (name, tensor) of each layer as it is built."""
    net = slim.conv2d(net, 2 * growth, 7, stride=2, scope="conv1")
    yield "conv1", net
    net = slim.max_pool2d(_normalize(net), 3, stride=2, padding="SAME", scope="pool1")
    yield "pool1", net
    for number, layers in enumerate(blocks, start=1):
        if number > 1:
            name = f"transition_block{number - 1}"
            with tf.variable_scope(name):
                net = _build_conv(net, net.shape[-1] // 2, 1, "blk")
                net = slim.avg_pool2d(net, 2, stride=2, padding="VALID")
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
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    global_pool: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = None,
    *,
    blocks: Sequence[int],
    growth: int = 32,
) -> NetOutputs:
    """Builds a DenseNet from the number of layers of each block.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, 1, 1,
        channels].
      is_training: whether batch normalization is in training mode.
      global_pool: whether to average the last feature map. For a prediction at each
        location, pass False, with `spatial_squeeze=False`.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      blocks: number of layers of each block.
      growth: number of channels that each layer adds; the first convolution has twice
        as many.

    Returns:
      `(net, end_points)`: logits or features, and all layers by name, e.g.
      "scope/dense_block1/conv_block1".
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


def densenet_121(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    global_pool: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "densenet121",
    *,
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
) -> NetOutputs:
    """Builds DenseNet of 121 layers; see `densenet` for the arguments."""
    return densenet(**locals())


densenet_121.default_image_size = 224
densenet_121.min_image_size = 29


def densenet_161(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    global_pool: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "densenet161",
    *,
    blocks: Sequence[int] = (6, 12, 36, 24),
    growth: int = 48,
) -> NetOutputs:
    """Builds DenseNet of 161 layers; see `densenet` for the arguments."""
    return densenet(**locals())


densenet_161.default_image_size = 224
densenet_161.min_image_size = 29


def densenet_169(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    global_pool: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "densenet169",
    *,
    blocks: Sequence[int] = (6, 12, 32, 32),
    growth: int = 32,
) -> NetOutputs:
    """Builds DenseNet of 169 layers; see `densenet` for the arguments."""
    return densenet(**locals())


densenet_169.default_image_size = 224
densenet_169.min_image_size = 29


def densenet_201(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    global_pool: bool = True,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "densenet201",
    *,
    blocks: Sequence[int] = (6, 12, 48, 32),
    growth: int = 32,
) -> NetOutputs:
    """Builds DenseNet of 201 layers; see `densenet` for the arguments."""
    return densenet(**locals())


densenet_201.default_image_size = 224
densenet_201.min_image_size = 29


def densenet_arg_scope(
    weight_decay: float = 1e-4,
    batch_norm_decay: float = 0.99,
    batch_norm_epsilon: float = 1.1e-5,
) -> dict[str, Any]:
    """Returns the arg scope of DenseNet.

    Args:
      weight_decay: L2 regularization factor of the weights.
      batch_norm_decay: decay of the moving averages.
      batch_norm_epsilon: constant added to the variance.
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
