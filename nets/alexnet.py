"""AlexNet: as in its paper, and the slimmer second version.

alexnet: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep
Convolutional Neural Networks", 2012. The second, fourth and fifth convolutions see all
channels; in the paper each sees half of them, split over two GPUs.
alexnet_v2: A. Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, https://arxiv.org/abs/1404.5997, without the normalization layers.

Input: float [batch, size, size, 3], the mean color subtracted. Output: logits [batch,
classes]. Larger images give logits at several locations: pass `spatial_squeeze=False`,
or `global_pool=True` for their mean. Images down to 67 pixels also work, with a smaller
kernel of fc6 (and so a checkpoint of their own).

| network    | size | last feature map | parameters, 1000 classes | published top-1    |
|------------|------|------------------|--------------------------|--------------------|
| alexnet    | 227  | 6 x 6 x 256      | 62,378,344               | 59.3 % (split)     |
| alexnet_v2 | 224  | 5 x 5 x 256      | 50,303,912               | 57.7 %             |

The alexnet paper says 224 pixels, but its layer sizes require 227. The accuracies on
ImageNet are those of the papers.
"""

from typing import Any

from nets.inception_utils import Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import (
    OPS,
    SMALL_DENSE_INIT,
    Dense,
    Dropout,
    LocalNorm,
    build_stack,
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


def _build_conv(net: tf.Tensor, *args: Any, scope: str, **kwargs: Any) -> tf.Tensor:
    """Builds a convolution with the paper's initial biases: 1 in conv2, 4 and 5."""
    bias = 1.0 if scope in ("conv2", "conv4", "conv5") else 0.0
    kwargs["biases_initializer"] = tf.constant_initializer(bias)
    return slim.conv2d(net, *args, scope=scope, **kwargs)


_ALEXNET_OPS = {**OPS, Conv: _build_conv}
_ALEXNET_DENSE_INIT = {"biases_initializer": tf.ones_initializer()}


def alexnet(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    scope: str | None = "alexnet",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds AlexNet as in the paper of 2012, without its split over two GPUs.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        4096].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      scope: name of the variable scope.
      global_pool: whether to average the features over all locations.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return build_stack(
        LAYERS,
        "alexnet",
        ops=_ALEXNET_OPS,
        dense_init=_ALEXNET_DENSE_INIT,
        **locals(),
    )


alexnet.default_image_size = 227
alexnet.min_image_size = 67


def alexnet_v2(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    scope: str | None = "alexnet_v2",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds AlexNet v2; see `alexnet` for the arguments."""
    return build_stack(LAYERS_V2, "alexnet_v2", dense_init=SMALL_DENSE_INIT, **locals())


alexnet_v2.default_image_size = 224
alexnet_v2.min_image_size = 67


def alexnet_arg_scope(weight_decay: float = 0.0005) -> dict[str, Any]:
    """Returns the arg scope of alexnet with this L2 regularization factor."""
    initializer = tf.random_normal_initializer(stddev=0.01)
    return stack_arg_scope(weight_decay, weights_initializer=initializer)


def alexnet_v2_arg_scope(weight_decay: float = 0.0005) -> dict[str, Any]:
    """Returns the arg scope of alexnet_v2 with this L2 regularization factor."""
    initializer = tf.constant_initializer(0.1)
    return stack_arg_scope(weight_decay, biases_initializer=initializer)
