"""CifarNet: two convolutions with local response normalisation, three dense layers.

After A. Krizhevsky's cuda-convnet for CIFAR-10, "Learning multiple layers of features
from tiny images", 2009.

Input: float [batch, 32, 32, 3], each picture standardised. Output: logits [batch, 10].
1,756,426 parameters with 10 classes. TensorFlow's tutorial reports about 86 % on
CIFAR-10 for this architecture.
"""

from tf_slim_compat import slim, tf


def cifarnet(
    images,
    num_classes=10,
    is_training=False,
    dropout_keep_prob=0.5,
    prediction_fn=slim.softmax,
    scope="CifarNet",
):
    """Builds CifarNet.

    Args:
      images: float tensor [batch, height, width, channels].
      num_classes: int; 0 or None gives the features [batch, 192] in place of logits.
      is_training: bool, whether dropout drops.
      dropout_keep_prob: float in (0, 1].
      prediction_fn: callable of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(logits, end_points)`: float [batch, num_classes], and a dict of all layers.
    """
    end_points = {}
    with tf.variable_scope(scope, "CifarNet", [images]):
        net = end_points["conv1"] = slim.conv2d(images, 64, 5, scope="conv1")
        net = end_points["pool1"] = slim.max_pool2d(net, 2, scope="pool1")
        net = _local_response_normalization(net, "norm1")
        net = end_points["conv2"] = slim.conv2d(net, 64, 5, scope="conv2")
        net = _local_response_normalization(net, "norm2")
        net = end_points["pool2"] = slim.max_pool2d(net, 2, scope="pool2")
        net = end_points["Flatten"] = slim.flatten(net)
        net = end_points["fc3"] = slim.fully_connected(net, 384, scope="fc3")
        net = slim.dropout(
            net, dropout_keep_prob, is_training=is_training, scope="dropout3"
        )
        net = end_points["fc4"] = slim.fully_connected(net, 192, scope="fc4")
        if not num_classes:
            return net, end_points
        logits = end_points["Logits"] = slim.fully_connected(
            net,
            num_classes,
            biases_initializer=tf.zeros_initializer(),
            weights_initializer=tf.truncated_normal_initializer(stddev=1 / 192),
            weights_regularizer=None,
            activation_fn=None,
            scope="logits",
        )
        end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    return logits, end_points


cifarnet.default_image_size = 32


def _local_response_normalization(net, name):
    return tf.nn.lrn(net, 4, bias=1.0, alpha=0.001 / 9.0, beta=0.75, name=name)


def cifarnet_arg_scope(weight_decay=0.004):
    """Returns CifarNet's arg scope.

    Args:
      weight_decay: float, the factor of the L2 loss; the dense layers alone have it.
    """
    with (
        slim.arg_scope(
            [slim.conv2d],
            weights_initializer=tf.truncated_normal_initializer(stddev=5e-2),
            activation_fn=tf.nn.relu,
        ),
        slim.arg_scope(
            [slim.fully_connected],
            biases_initializer=tf.constant_initializer(0.1),
            weights_initializer=tf.truncated_normal_initializer(stddev=0.04),
            weights_regularizer=slim.l2_regularizer(weight_decay),
            activation_fn=tf.nn.relu,
        ) as scope,
    ):
        return scope
