"""LeNet, as TensorFlow's tutorials have it, and LeNet-5, as its paper has it.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", 1998.

Input: float [batch, size, size, 1], (pixel - 128) / 128. Output: logits [batch, 10].

| network | size | parameters, 10 classes | accuracy on MNIST |
|---------|------|------------------------|-------------------|
| lenet   | 28   | 3,274,634              | about 99 %        |
| lenet5  | 32   | 61,706                 | 99.05 %           |

lenet has rectifiers, max pooling and more feature maps. lenet5 has hyperbolic tangents
and means; unlike in the paper, every map of its second convolution sees all maps of the
first, the means have no parameters, and the outputs are a softmax.
"""

from nets.inception_utils import AvgPool, Conv
from nets.stack_utils import Dense, Flatten, define_flat_network, stack_arg_scope
from tf_slim_compat import slim, tf


def lenet(
    images,
    num_classes=10,
    is_training=False,
    dropout_keep_prob=0.5,
    prediction_fn=slim.softmax,
    scope="LeNet",
):
    """Builds LeNet.

    Args:
      images: float tensor [batch, height, width, channels].
      num_classes: int; 0 or None gives the features [batch, 1024] in place of logits.
      is_training: bool, whether dropout drops.
      dropout_keep_prob: float in (0, 1].
      prediction_fn: callable of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(logits, end_points)`: float [batch, num_classes], and a dict of all layers.
    """
    end_points = {}
    with tf.variable_scope(scope, "LeNet", [images]):
        net = end_points["conv1"] = slim.conv2d(images, 32, 5, scope="conv1")
        net = end_points["pool1"] = slim.max_pool2d(net, 2, scope="pool1")
        net = end_points["conv2"] = slim.conv2d(net, 64, 5, scope="conv2")
        net = end_points["pool2"] = slim.max_pool2d(net, 2, scope="pool2")
        net = end_points["Flatten"] = slim.flatten(net)
        net = end_points["fc3"] = slim.fully_connected(net, 1024, scope="fc3")
        if not num_classes:
            return net, end_points
        net = end_points["dropout3"] = slim.dropout(
            net, dropout_keep_prob, is_training=is_training, scope="dropout3"
        )
        logits = end_points["Logits"] = slim.fully_connected(
            net, num_classes, activation_fn=None, scope="fc4"
        )
    # Outside the scope: the node is Predictions/Reshape_1 in everybody's frozen graphs.
    end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    return logits, end_points


lenet.default_image_size = 28


def lenet_arg_scope(weight_decay=0.0):
    """Returns LeNet's arg scope; `weight_decay` is the factor of the L2 loss."""
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected],
        weights_regularizer=slim.l2_regularizer(weight_decay),
        weights_initializer=tf.truncated_normal_initializer(stddev=0.1),
        activation_fn=tf.nn.relu,
    ) as scope:
        return scope


LENET5_LAYERS = {
    "conv1": Conv(6, 5, 1, "VALID"),
    "pool1": AvgPool(2, 2),
    "conv2": Conv(16, 5, 1, "VALID"),
    "pool2": AvgPool(2, 2),
    "Flatten": Flatten(),
    "fc3": Dense(120),
    "fc4": Dense(84),
}

lenet5 = define_flat_network("lenet5", LENET5_LAYERS, 32, "LeNet5")


def lenet5_arg_scope(weight_decay=0.0):
    """Returns LeNet-5's arg scope; `weight_decay` is the factor of the L2 loss."""
    return stack_arg_scope(weight_decay, activation_fn=tf.tanh)
