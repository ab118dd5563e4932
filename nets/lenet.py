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

from nets.inception_utils import AvgPool, Conv, MaxPool
from nets.stack_utils import Dense, Flatten, define_flat_network, stack_arg_scope
from tf_slim_compat import slim, tf

LENET_LAYERS = {
    "conv1": Conv(32, 5),
    "pool1": MaxPool(2, 2, "VALID"),
    "conv2": Conv(64, 5),
    "pool2": MaxPool(2, 2, "VALID"),
    "Flatten": Flatten(),
    "fc3": Dense(1024),
}

lenet = define_flat_network(
    "lenet",
    LENET_LAYERS,
    28,
    "LeNet",
    last_dropout="dropout3",
    logits_name="fc4",
    # The node is Predictions/Reshape_1 in everybody's frozen graphs.
    predictions_within=False,
)


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
