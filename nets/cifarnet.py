"""CifarNet: two convolutions with local response normalisation, three dense layers.

After A. Krizhevsky's cuda-convnet for CIFAR-10, "Learning multiple layers of features
from tiny images", 2009.

Input: float [batch, 32, 32, 3], each picture standardised. Output: logits [batch, 10].
1,756,426 parameters with 10 classes. TensorFlow's tutorial reports about 86 % on
CIFAR-10 for this architecture.
"""

from nets.inception_utils import Conv, MaxPool
from nets.stack_utils import (
    Dense,
    Dropout,
    Flatten,
    LocalNorm,
    define_flat_network,
)
from tf_slim_compat import slim, tf

_NORM = LocalNorm(4, 1.0, 0.001 / 9.0, 0.75)

LAYERS = {
    "conv1": Conv(64, 5),
    "pool1": MaxPool(2, 2, "VALID"),
    "norm1": _NORM,
    "conv2": Conv(64, 5),
    "norm2": _NORM,
    "pool2": MaxPool(2, 2, "VALID"),
    "Flatten": Flatten(),
    "fc3": Dense(384),
    "dropout3": Dropout(),
    "fc4": Dense(192),
}

cifarnet = define_flat_network(
    "cifarnet",
    LAYERS,
    32,
    "CifarNet",
    hidden=("norm1", "norm2", "dropout3"),
    biases_initializer=tf.zeros_initializer(),
    weights_initializer=tf.truncated_normal_initializer(stddev=1 / 192),
    weights_regularizer=None,
)


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
