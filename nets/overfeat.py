"""OverFeat, the fast model: AlexNet's successor with a finer, deeper trunk.

P. Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using
Convolutional Networks", 2013, https://arxiv.org/abs/1312.6229, with the 64 maps in the
first layer of https://arxiv.org/abs/1404.5997.

Input: float [batch, 231, 231, 3], the mean colour subtracted. Output: logits [batch,
classes]; the last map is [batch, 6, 6, 1024]. Larger pictures give logits at several
places: `spatial_squeeze=False`, or `global_pool=True` for their mean. Pictures down to
71 pixels work too, with a kernel of fc6 of their own. Parameters with 1,000 classes:
145,704,424. Top-1 accuracy on ImageNet in the paper, with 96 maps: 60.7 %.
"""

from nets.inception_utils import Conv, MaxPool
from nets.stack_utils import (
    SMALL_DENSE_INIT,
    Dense,
    Dropout,
    define_stack,
    stack_arg_scope,
)

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


overfeat = define_stack("overfeat", LAYERS, 231, dense_init=SMALL_DENSE_INIT)


def overfeat_arg_scope(weight_decay=0.0005):
    """Returns the arg scope; `weight_decay` is the factor of the weights' L2 loss."""
    return stack_arg_scope(weight_decay)
