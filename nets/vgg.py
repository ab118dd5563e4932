"""VGG: stacks of 3x3 convolutions, of 11, 16 and 19 layers.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2014, https://arxiv.org/abs/1409.1556

Input: float [batch, 224, 224, 3], the mean colour subtracted. Output: logits [batch,
classes]; the last map is [batch, 7, 7, 512]. Larger pictures give logits at several
places: `spatial_squeeze=False`, or `global_pool=True` for their mean. Pictures down to
32 pixels work too, with a kernel of fc6 (and so a checkpoint) of their own.

| network      | layers of the paper | parameters, 1000 classes | published top-1 |
|--------------|---------------------|--------------------------|-----------------|
| vgg_a        | A                   | 132,863,336              | 70.4 %          |
| vgg_16, _d   | D                   | 138,357,544              | 71.5 %          |
| vgg_19, _e   | E                   | 143,667,240              | 71.1 %          |

The accuracies on ImageNet are of the public checkpoints on one central crop; vgg_a,
which has none, is the paper's on one scale.
"""

from nets.inception_utils import Conv, MaxPool
from nets.network_definitions import define_network
from nets.stack_utils import (
    STACK_ARGUMENTS,
    Dense,
    Dropout,
    build_stack,
    stack_arg_scope,
)

# Convolutions in each of the five groups, and their depths.
CONVOLUTIONS = {
    "vgg_a": (1, 1, 2, 2, 2),
    "vgg_16": (2, 2, 3, 3, 3),
    "vgg_19": (2, 2, 4, 4, 4),
}
DEPTHS = (64, 128, 256, 512, 512)


def _table(convolutions, fc_conv_padding):
    """Returns the layers as a table of `nets/stack_utils.py`."""
    table = {}
    for group, (count, depth) in enumerate(
        zip(convolutions, DEPTHS, strict=True), start=1
    ):
        for number in range(1, count + 1):
            table[f"conv{group}/conv{group}_{number}"] = Conv(depth, 3)
        table[f"pool{group}"] = MaxPool(2, 2, "VALID")
    return {
        **table,
        "fc6": Dense(4096, 7, fc_conv_padding),
        "dropout6": Dropout(),
        "fc7": Dense(4096, 1),
    }


def _define(name):
    """Returns the function that builds the network of that name."""

    def build(inputs, fc_conv_padding, **arguments):
        table = _table(CONVOLUTIONS[name], fc_conv_padding)
        return build_stack(inputs, table, default_scope=name, **arguments)

    return define_network(
        name,
        build,
        224,
        **STACK_ARGUMENTS,
        reuse=None,
        scope=name,
        fc_conv_padding="VALID",
        global_pool=False,
    )


vgg_a = _define("vgg_a")
vgg_16 = vgg_d = _define("vgg_16")
vgg_19 = vgg_e = _define("vgg_19")


def vgg_arg_scope(weight_decay=0.0005):
    """Returns VGG's arg scope; `weight_decay` is the factor of the weights' L2 loss."""
    return stack_arg_scope(weight_decay)
