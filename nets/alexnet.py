"""AlexNet: as in its paper, and the slimmer second version.

alexnet: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep
Convolutional Neural Networks", 2012, in one piece where the paper's second, fourth and
fifth convolutions see half of the maps each, to fit two GPUs.
alexnet_v2: A. Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, https://arxiv.org/abs/1404.5997, without the normalisation layers.

Input: float [batch, size, size, 3], the mean colour subtracted. Output: logits [batch,
classes]. Larger pictures give logits at several places: `spatial_squeeze=False`, or
`global_pool=True` for their mean. Pictures down to 67 pixels work too, with a kernel of
fc6 of their own.

| network    | size | last map    | parameters, 1000 classes | published top-1         |
|------------|------|-------------|--------------------------|-------------------------|
| alexnet    | 227  | 6 x 6 x 256 | 62,378,344               | 59.3 % with two halves  |
| alexnet_v2 | 224  | 5 x 5 x 256 | 50,303,912               | 57.7 %                  |

The paper says 224 pixels for alexnet; its numbers of neurons need 227. Both accuracies
are on ImageNet and the paper's own.
"""

from nets.inception_utils import Conv, MaxPool
from nets.stack_utils import (
    OPS,
    SMALL_DENSE_INIT,
    Dense,
    Dropout,
    LocalNorm,
    define_stack,
    stack_arg_scope,
)
from tf_slim_compat import slim, tf

LAYERS = {
    "conv1": Conv(96, 11, 4, "VALID"),
    "norm1": LocalNorm(),
    "pool1": MaxPool(3, 2, "VALID"),
    "conv2": Conv(256, 5),
    "norm2": LocalNorm(),
    "pool2": MaxPool(3, 2, "VALID"),
    "conv3": Conv(384, 3),
    "conv4": Conv(384, 3),
    "conv5": Conv(256, 3),
    "pool5": MaxPool(3, 2, "VALID"),
    "fc6": Dense(4096, 6),
    "dropout6": Dropout(),
    "fc7": Dense(4096, 1),
}

LAYERS_V2 = {
    "conv1": Conv(64, 11, 4, "VALID"),
    "pool1": MaxPool(3, 2, "VALID"),
    "conv2": Conv(192, 5),
    "pool2": MaxPool(3, 2, "VALID"),
    "conv3": Conv(384, 3),
    "conv4": Conv(384, 3),
    "conv5": Conv(256, 3),
    "pool5": MaxPool(3, 2, "VALID"),
    "fc6": Dense(4096, 5),
    "dropout6": Dropout(),
    "fc7": Dense(4096, 1),
}


def _build_conv(net, *args, scope):
    """A convolution whose biases start from what the paper says: 1 in 2, 4 and 5."""
    start = 1.0 if scope in ("conv2", "conv4", "conv5") else 0.0
    initializer = tf.constant_initializer(start)
    return slim.conv2d(net, *args, biases_initializer=initializer, scope=scope)


alexnet = define_stack(
    "alexnet",
    LAYERS,
    227,
    ops={**OPS, Conv: _build_conv},
    dense_init={"biases_initializer": tf.ones_initializer()},
)

alexnet_v2 = define_stack("alexnet_v2", LAYERS_V2, 224, dense_init=SMALL_DENSE_INIT)


def alexnet_arg_scope(weight_decay=0.0005):
    """Returns alexnet's arg scope; `weight_decay` is the factor of the L2 loss."""
    initializer = tf.random_normal_initializer(stddev=0.01)
    return stack_arg_scope(weight_decay, weights_initializer=initializer)


def alexnet_v2_arg_scope(weight_decay=0.0005):
    """Returns alexnet_v2's arg scope; `weight_decay` is the factor of the L2 loss."""
    initializer = tf.constant_initializer(0.1)
    return stack_arg_scope(weight_decay, biases_initializer=initializer)
