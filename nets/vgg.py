"""VGG: stacks of 3x3 convolutions, with 11, 16 and 19 layers.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2014, https://arxiv.org/abs/1409.1556

Input: float [batch, 224, 224, 3], the mean color subtracted. Output: logits [batch,
classes]; the last feature map is [batch, 7, 7, 512]. Larger images give logits at
several locations: pass `spatial_squeeze=False`, or `global_pool=True` for their mean.
Images down to 32 pixels also work, with a smaller kernel of fc6 (and so a checkpoint of
their own).

| network      | column in the paper | parameters, 1000 classes | published top-1 |
|--------------|---------------------|--------------------------|-----------------|
| vgg_a        | A                   | 132,863,336              | 70.4 %          |
| vgg_16, _d   | D                   | 138,357,544              | 71.5 %          |
| vgg_19, _e   | E                   | 143,667,240              | 71.1 %          |

The accuracies on ImageNet are those of the public checkpoints on one central crop;
vgg_a has no public checkpoint, and its accuracy is the paper's at a single scale.
"""

from typing import Any

from nets.inception_utils import Conv, MaxPool
from nets.net_utils import NetOutputs
from nets.stack_utils import Dense, Dropout, build_stack, stack_arg_scope
from tf_slim_compat import tf

# Number of convolutions in each of the five groups, and the depth of each group.
CONVOLUTIONS = {
    "vgg_a": (1, 1, 2, 2, 2),
    "vgg_16": (2, 2, 3, 3, 3),
    "vgg_19": (2, 2, 4, 4, 4),
}
DEPTHS = (64, 128, 256, 512, 512)


def _table(name: str, fc_conv_padding: str) -> dict[str, Any]:
    """Returns the layers as a table for `stack_utils.build_stack`."""
    table = {}
    for group, (count, depth) in enumerate(
        zip(CONVOLUTIONS[name], DEPTHS, strict=True), start=1
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


def _build(name: str, *, fc_conv_padding: str, **arguments: Any) -> NetOutputs:
    return build_stack(_table(name, fc_conv_padding), name, **arguments)


def vgg_a(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "vgg_a",
    fc_conv_padding: str = "VALID",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds VGG of 11 layers.

    Args:
      inputs: float tensor [batch, height, width, channels]; height and width may be
        unknown.
      num_classes: number of classes; 0 or None returns the features [batch, h, w,
        4096].
      is_training: whether dropout is active.
      dropout_keep_prob: probability in (0, 1] of keeping an activation.
      spatial_squeeze: whether logits are [batch, classes], not [batch, h, w, classes].
      reuse: whether to reuse existing variables.
      scope: name of the variable scope.
      fc_conv_padding: "VALID", or "SAME" for logits at every location of the last
        feature map, which has 1/32 of the image's resolution. "SAME" requires
        `spatial_squeeze=False`.
      global_pool: whether to average the features over all locations.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.
    """
    return _build("vgg_a", **locals())


vgg_a.default_image_size = 224
vgg_a.min_image_size = 32


def vgg_16(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "vgg_16",
    fc_conv_padding: str = "VALID",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds VGG of 16 layers; see `vgg_a` for the arguments."""
    return _build("vgg_16", **locals())


vgg_16.default_image_size = 224
vgg_16.min_image_size = 32


def vgg_19(
    inputs: tf.Tensor,
    num_classes: int | None = 1000,
    is_training: bool = True,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    reuse: bool | None = None,
    scope: str | None = "vgg_19",
    fc_conv_padding: str = "VALID",
    global_pool: bool = False,
) -> NetOutputs:
    """Builds VGG of 19 layers; see `vgg_a` for the arguments."""
    return _build("vgg_19", **locals())


vgg_19.default_image_size = 224
vgg_19.min_image_size = 32

# The columns of the paper.
vgg_d = vgg_16
vgg_e = vgg_19


def vgg_arg_scope(weight_decay: float = 0.0005) -> dict[str, Any]:
    """Returns the arg scope of VGG with this L2 regularization factor."""
    return stack_arg_scope(weight_decay)
