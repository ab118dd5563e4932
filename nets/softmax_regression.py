"""Softmax regression: the linear classifier, from flattened pixels to logits.

Input: float [batch, 32, 32, 3], each picture standardised; any other size of known
height and width works too. Output: logits [batch, 10]. 30,730 parameters with 10
classes, 7,850 on pictures of 28x28 grey pixels. About 92 % on MNIST, 40 % on CIFAR-10.
"""

from nets.stack_utils import Flatten, define_flat_network, stack_arg_scope
from tf_slim_compat import tf

LAYERS = {"Flatten": Flatten()}

softmax_regression = define_flat_network(
    "softmax_regression", LAYERS, 32, "SoftmaxRegression"
)


def softmax_regression_arg_scope(weight_decay=0.0):
    """Returns the arg scope; `weight_decay` is the factor of the weights' L2 loss.

    The loss is convex, so that the weights may start from zero, the same for everyone.
    """
    return stack_arg_scope(weight_decay, weights_initializer=tf.zeros_initializer())
