"""Simple CNN: five 5x5 convolutions with pooling, then dense layers, as in textbooks.

Input: float [batch, 32, 32, 3], each picture standardised; other sizes work too, with a
fc6 of their own. Output: logits [batch, 10]. 3,784,714 parameters with 10 classes.
"""

from nets.inception_utils import Conv, MaxPool
from nets.stack_utils import (
    Dense,
    Dropout,
    Flatten,
    define_flat_network,
    stack_arg_scope,
)
from tf_slim_compat import slim

LAYERS = {
    "conv1": Conv(32, 5),
    "pool1": MaxPool(2, 2),
    "conv2": Conv(64, 5),
    "pool2": MaxPool(2, 2),
    "conv3": Conv(128, 5),
    "pool3": MaxPool(2, 2),
    "conv4": Conv(256, 5),
    "pool4": MaxPool(2, 2),
    "conv5": Conv(256, 5),
    "pool5": MaxPool(2, 2),
    "Flatten": Flatten(),
    "fc6": Dense(2048),
    "dropout6": Dropout(),
    "fc7": Dense(256),
    "fc8": Dense(64),
}


simple_cnn = define_flat_network("simple_cnn", LAYERS, 32, "SimpleCnn")


def simple_cnn_arg_scope(weight_decay=0.0005):
    """Returns the arg scope; `weight_decay` is the factor of the weights' L2 loss."""
    initializer = slim.variance_scaling_initializer()
    return stack_arg_scope(weight_decay, weights_initializer=initializer)
