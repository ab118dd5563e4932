"""Softmax regression: the linear classifier, from flattened pixels to logits.

Input: float [batch, 32, 32, 3], each image standardized; any other known size also
works. Output: logits [batch, 10]. Parameters: (pixels + 1) * classes, with 10 classes
30,730, or 7,850 on 28x28 grayscale images. Accuracy: about 92 % on MNIST, 40 % on
CIFAR-10.
"""

from collections.abc import Callable
from typing import Any

from nets.net_utils import NetOutputs
from nets.stack_utils import Flatten, build_flat_network, stack_arg_scope
from tf_slim_compat import slim, tf

LAYERS = {"Flatten": Flatten()}


def softmax_regression(
    images: tf.Tensor,
    num_classes: int | None = 10,
    is_training: bool = False,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "SoftmaxRegression",
) -> NetOutputs:
    """Builds the network: one linear layer.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of classes; 0 or None returns the features [batch,
        height * width * channels].
      is_training: unused; training and evaluation do not differ.
      dropout_keep_prob: unused; the network has no dropout.
      prediction_fn: function of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return build_flat_network(LAYERS, "SoftmaxRegression", **locals())


softmax_regression.default_image_size = 32


def softmax_regression_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope, with this L2 regularization factor.

    The loss is convex, so the weights can start at zero, which is reproducible.
    """
    return stack_arg_scope(weight_decay, weights_initializer=tf.zeros_initializer())
