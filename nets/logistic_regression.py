"""Logistic regression: two classes, separated by one weight vector.

    p(class 1) = sigmoid(z),  z = w . x + b

Input: float [batch, 32, 32, 3], each image standardized; any other known size also
works. Output: logits [batch, 2], which are 0 and z, because the softmax of these is
1 - sigmoid(z) and sigmoid(z). Parameters: pixels + 1, which is 3,073, or 785 on 28x28
grayscale images: half of those of a softmax regression, which is redundant.
"""

from collections.abc import Callable
from typing import Any

from nets.net_utils import NetOutputs
from nets.stack_utils import (
    Flatten,
    build_dense_logits,
    build_flat_network,
    stack_arg_scope,
)
from tf_slim_compat import slim, tf

LAYERS = {"Flatten": Flatten()}


def _build_logits(net: tf.Tensor, num_classes: int) -> tf.Tensor:
    z = build_dense_logits(net, 1)
    return tf.concat([tf.zeros_like(z), z], axis=1, name="Logits")


def logistic_regression(
    images: tf.Tensor,
    num_classes: int | None = 2,
    is_training: bool = False,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "LogisticRegression",
) -> NetOutputs:
    """Builds the network.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: 2; 0 or None returns the features [batch, height * width *
        channels].
      is_training: unused; training and evaluation do not differ.
      prediction_fn: function of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: `num_classes` is another number than 2.
    """
    if num_classes and num_classes != 2:
        raise ValueError(
            f"logistic_regression has exactly 2 classes, not {num_classes}; use "
            "softmax_regression for classes, or linear_regression to predict a number."
        )
    return build_flat_network(
        LAYERS, "LogisticRegression", build_logits=_build_logits, **locals()
    )


logistic_regression.default_image_size = 32


def logistic_regression_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope, with this L2 regularization factor.

    The loss is convex, so the weights can start at zero, which is reproducible.
    """
    return stack_arg_scope(weight_decay, weights_initializer=tf.zeros_initializer())
