"""Simple CNN, as in textbooks: five 5x5 convolutions with pooling, then dense layers.

Input: float [batch, 32, 32, 3], each image standardized; other sizes also work, with
weights of fc6 (and so a checkpoint) of their own. Output: logits [batch, 10]; the last
feature map is [batch, 1, 1, 256]. Parameters with 10 classes: 3,784,714.
"""

from collections.abc import Callable
from typing import Any

from nets.inception_utils import Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import (
    Dense,
    Dropout,
    Flatten,
    build_flat_network,
    stack_arg_scope,
)
from tf_slim_compat import slim, tf

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


def simple_cnn(
    images: tf.Tensor,
    num_classes: int | None = 10,
    is_training: bool = False,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "SimpleCnn",
) -> NetOutputs:
    """Builds the network.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of classes; 0 or None returns the features [batch,
        64].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return build_flat_network(LAYERS, "SimpleCnn", **locals())


simple_cnn.default_image_size = 32


def simple_cnn_arg_scope(weight_decay: float = 0.0005) -> dict[str, Any]:
    """Returns the arg scope of simple_cnn with this L2 regularization factor."""
    initializer = slim.variance_scaling_initializer()
    return stack_arg_scope(weight_decay, weights_initializer=initializer)
