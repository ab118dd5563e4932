"""Linear regression: numbers as linear functions of the pixels.

Input: float [batch, 32, 32, 3], values in [-1, 1]; any other known size also
works. Output: values [batch, num_classes], a column for each target. Parameters:
(pixels + 1) * targets, with one target 3,073, or 785 on 28x28 grayscale images.

Trained with the mean squared error, it converges to the least squares solution.
"""

from typing import Any

from nets.net_utils import NetOutputs
from nets.stack_utils import Flatten, build_flat_network, stack_arg_scope
from tf_slim_compat import tf

LAYERS = {"Flatten": Flatten()}


def linear_regression(
    images: tf.Tensor,
    num_classes: int | None = 1,
    is_training: bool = False,
    scope: str | None = "LinearRegression",
) -> NetOutputs:
    """Builds the network: one linear layer, without an activation.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of targets; 0 or None returns the features [batch, height *
        width * channels].
      is_training: unused; training and evaluation do not differ.
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: values or features, and the layers by name; the values are
      `end_points["Logits"]`.
    """
    return build_flat_network(
        LAYERS, "LinearRegression", prediction_fn=None, **locals()
    )


linear_regression.default_image_size = 32


def linear_regression_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope, with this L2 regularization factor (ridge regression).

    The loss is convex, so the weights can start at zero, which is reproducible.
    """
    return stack_arg_scope(weight_decay, weights_initializer=tf.zeros_initializer())
