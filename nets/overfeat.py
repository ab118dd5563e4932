"""OverFeat, the fast model: AlexNet's successor with finer and deeper convolutions.

P. Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using
Convolutional Networks", 2013, https://arxiv.org/abs/1312.6229, with 64 channels in the
first layer as in https://arxiv.org/abs/1404.5997.

Input: float [batch, 231, 231, 3], the mean color subtracted. Output: logits [batch,
classes]; the last feature map is [batch, 6, 6, 1024]. Larger images give logits at
several locations: pass `spatial_squeeze=False`, or `global_pool=True` for their mean.
Images down to 71 pixels also work, with a smaller kernel of fc6 (and so a checkpoint of
their own). Parameters with 1,000 classes: 145,704,424. Top-1 accuracy on ImageNet in
the paper, with 96 channels in the first layer: 60.7 %.
"""

from typing import Any

from nets.inception_utils import Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import (
    SMALL_DENSE_INIT,
    Dense,
    Dropout,
    build_stack,
    stack_arg_scope,
)
from tf_slim_compat import tf

LAYERS = {
    "conv1": Conv(64, 11, 4, "VALID"),
    "pool1": MaxPool(2, 2, "VALID"),
    "conv2": Conv(256, 5, 1, "VALID"),
    "pool2": MaxPool(2, 2, "VALID"),
    "conv3": Conv(512, 3),
    "conv4": Conv(1024, 3),
    "conv5": Conv(1024, 3),
    "pool5": MaxPool(2, 2, "VALID"),
    "fc6": Dense(3072, 6),
    "dropout6": Dropout(),
    "fc7": Dense(4096, 1),
}


def overfeat(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    scope: str | None = "overfeat",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds OverFeat.

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
    return build_stack(LAYERS, "overfeat", dense_init=SMALL_DENSE_INIT, **locals())


overfeat.default_image_size = 231
overfeat.min_image_size = 71


def overfeat_arg_scope(weight_decay: float = 0.0005) -> dict[str, Any]:
    """Returns the arg scope of OverFeat with this L2 regularization factor."""
    return stack_arg_scope(weight_decay)
