"""LeNet as in TensorFlow's tutorials, and LeNet-5 as in its paper.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", 1998.

Input: float [batch, size, size, 1], (pixel - 128) / 128. Output: logits [batch, 10].

| network | size | last feature map | parameters, 10 classes | accuracy on MNIST |
|---------|------|------------------|------------------------|-------------------|
| lenet   | 28   | 7 x 7 x 64       | 3,274,634              | about 99 %        |
| lenet5  | 32   | 5 x 5 x 16       | 61,706                 | 99.05 %           |

lenet has ReLUs, max pooling and more channels than LeNet-5. lenet5 has the layers of
the paper (C1, S2, C3, S4, C5, F6), with the usual simplifications: every channel of the
second convolution sees all channels of the first, the average pools have no parameters
and no activation, tanh is not scaled, and softmax replaces the radial basis functions.
Its accuracy is the paper's, trained without distortions.
"""

from collections.abc import Callable
from typing import Any

from nets.inception_utils import AvgPool, Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import (
    Dense,
    Flatten,
    build_dense_logits,
    build_flat_network,
    stack_arg_scope,
)
from tf_slim_compat import slim, tf

LENET_LAYERS = {
    "conv1": Conv(32, 5),
    "pool1": MaxPool(2, 2, "VALID"),
    "conv2": Conv(64, 5),
    "pool2": MaxPool(2, 2, "VALID"),
    "Flatten": Flatten(),
    "fc3": Dense(1024),
}

LENET5_LAYERS = {
    "conv1": Conv(6, 5, 1, "VALID"),
    "pool1": AvgPool(2, 2),
    "conv2": Conv(16, 5, 1, "VALID"),
    "pool2": AvgPool(2, 2),
    "Flatten": Flatten(),
    "fc3": Dense(120),
    "fc4": Dense(84),
}


def _build_lenet_logits(net: tf.Tensor, num_classes: int) -> tf.Tensor:
    return build_dense_logits(net, num_classes, scope="fc4")


def lenet(
    images: tf.Tensor,
    num_classes: int | None = 10,
    is_training: bool = False,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "LeNet",
) -> NetOutputs:
    """Builds LeNet with ReLUs, max pooling and dropout.

    Args:
      images: float tensor [batch, height, width, channels], only the batch unknown.
      num_classes: number of classes; 0 or None returns the features [batch,
        1024].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      prediction_fn: function of (logits, scope=...).
      scope: name of the variable scope.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return build_flat_network(
        LENET_LAYERS,
        "LeNet",
        last_dropout="dropout3",
        build_logits=_build_lenet_logits,
        # Existing frozen graphs have the node Predictions/Reshape_1.
        predictions_within=False,
        **locals(),
    )


lenet.default_image_size = 28
lenet.min_image_size = 4


def lenet_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope of lenet with this L2 regularization factor."""
    initializer = tf.truncated_normal_initializer(stddev=0.1)
    return stack_arg_scope(weight_decay, weights_initializer=initializer)


def lenet5(
    images: tf.Tensor,
    num_classes: int | None = 10,
    is_training: bool = False,
    dropout_keep_prob: float = 0.5,
    prediction_fn: Callable[..., tf.Tensor] = slim.softmax,
    scope: str | None = "LeNet5",
) -> NetOutputs:
    """Builds LeNet-5; see `lenet` for the arguments.

    There is no dropout, so `is_training` and `dropout_keep_prob` have no effect. The
    features are [batch, 84].
    """
    return build_flat_network(LENET5_LAYERS, "LeNet5", **locals())


lenet5.default_image_size = 32
lenet5.min_image_size = 13


def lenet5_arg_scope(weight_decay: float = 0.0) -> dict[str, Any]:
    """Returns the arg scope of lenet5 with this L2 regularization factor."""
    return stack_arg_scope(weight_decay, activation_fn=tf.tanh)
