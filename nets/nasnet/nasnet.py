"""NASNet-A: a stack of two cells found by a search on CIFAR-10.

B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le, "Learning Transferable Architectures for
Scalable Image Recognition", 2017, https://arxiv.org/abs/1707.07012

Input: float [batch, size, size, 3], in [-1, 1] or, for nasnet_cifar, standardized; any
static size from about 32 pixels works. Output: logits [batch, classes].

| network       | size | last feature map      | parameters | published top-1      |
|---------------|------|-----------------------|------------|----------------------|
| nasnet_cifar  | 32   | [batch, 8, 8, 768]    | 4,108,617  | 96.6 % (on CIFAR-10) |
| nasnet_mobile | 224  | [batch, 7, 7, 1056]   | 5,291,035  | 74.0 %               |
| nasnet_large  | 331  | [batch, 11, 11, 4032] | 88,757,183 | 82.7 %               |

Parameters are those with 1,001 classes, without the auxiliary classifier of the
training graph, which has 2,393,577 (cifar), 2,412,009 (mobile) and 4,568,553 (large).
Accuracies are on ImageNet unless noted.
"""

from typing import Any

from nets.nasnet.cell_network import build_arg_scope, build_network
from nets.nasnet.nasnet_utils import (
    Config,
    NasNetANormalCell,
    NasNetAReductionCell,
    Step,
)
from nets.net_utils import NetOutputs, pool_same
from tf_slim_compat import slim, tf


def cifar_config() -> Config:
    """Returns the `Config` of nasnet_cifar, "6 @ 768" in the paper."""
    return Config(
        num_cells=18,
        num_conv_filters=32,
        stem_multiplier=3.0,
        drop_path_keep_prob=0.6,
        total_training_steps=937500,
        dense_dropout_keep_prob=1.0,
    )


def mobile_imagenet_config() -> Config:
    """Returns the `Config` of nasnet_mobile, "4 @ 1056" in the paper."""
    return Config(num_cells=12, num_conv_filters=44)


def large_imagenet_config() -> Config:
    """Returns the `Config` of nasnet_large, "6 @ 4032" in the paper."""
    return Config(
        num_cells=18,
        num_conv_filters=168,
        stem_multiplier=3.0,
        drop_path_keep_prob=0.7,
        skip_reduction_layer_input=True,
    )


_CELLS = NasNetANormalCell, NasNetAReductionCell


def build_nasnet_cifar(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool = True,
    config: Config | None = None,
    current_step: Step = None,
) -> NetOutputs:
    """Builds NASNet-A for images of about 32 pixels.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: number of classes; 0 or None returns the features [batch, filters].
      is_training: whether to build for training; see `cell_network.build_network`.
      config: configuration; None for `cifar_config()`.
      current_step: int or scalar tensor, for drop path; None for the global step.

    Returns:
      `(net, end_points)`: logits or features, and the layers by name.

    Raises:
      ValueError: height or width of `images` is unknown.
    """
    config = config or cifar_config()
    return build_network(
        images,
        num_classes,
        is_training,
        config,
        *_CELLS,
        has_stem_cells=False,
        current_step=current_step,
    )


build_nasnet_cifar.default_image_size = 32


def build_nasnet_mobile(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool = True,
    final_endpoint: str | None = None,
    config: Config | None = None,
    current_step: Step = None,
) -> NetOutputs:
    """Builds NASNet-A for ImageNet, mobile.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: number of classes; 0 or None returns the features [batch, filters].
      is_training: whether to build for training; see `cell_network.build_network`.
      final_endpoint: name of the last layer; see `cell_network.build_network`.
      config: configuration; None for `mobile_imagenet_config()`.
      current_step: int or scalar tensor, for drop path; None for the global step.

    Returns:
      `(net, end_points)`: logits, features or the layer called `final_endpoint`, and
      the layers by name.

    Raises:
      ValueError: see `cell_network.build_network`.
    """
    config = config or mobile_imagenet_config()
    return build_network(
        images,
        num_classes,
        is_training,
        config,
        *_CELLS,
        final_endpoint=final_endpoint,
        current_step=current_step,
    )


build_nasnet_mobile.default_image_size = 224
build_nasnet_mobile.min_image_size = 3


def build_nasnet_large(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool = True,
    final_endpoint: str | None = None,
    config: Config | None = None,
    current_step: Step = None,
) -> NetOutputs:
    """Builds NASNet-A for ImageNet, large; see `build_nasnet_mobile` for the arguments.

    `config` is `large_imagenet_config()` by default.
    """
    config = config or large_imagenet_config()
    return build_nasnet_mobile(
        images, num_classes, is_training, final_endpoint, config, current_step
    )


build_nasnet_large.default_image_size = 331
build_nasnet_large.min_image_size = 3


def nasnet_cifar_arg_scope(
    weight_decay: float = 5e-4,
    batch_norm_decay: float = 0.9,
    batch_norm_epsilon: float = 1e-5,
) -> dict[str, Any]:
    """Returns the arg scope of nasnet_cifar; see `cell_network.build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)


def nasnet_mobile_arg_scope(
    weight_decay: float = 4e-5,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 1e-3,
) -> dict[str, Any]:
    """Returns the arg scope of nasnet_mobile; see `cell_network.build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)


def nasnet_large_arg_scope(
    weight_decay: float = 5e-5,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 1e-3,
) -> dict[str, Any]:
    """Returns the arg scope of nasnet_large; see `cell_network.build_arg_scope`."""
    return build_arg_scope(weight_decay, batch_norm_decay, batch_norm_epsilon)


def nasnet_mobile_keras_arg_scope(weight_decay: float = 4e-5) -> dict[str, Any]:
    """Returns the arg scope of nasnet_mobile whose pools pad as in Keras."""
    with (
        slim.arg_scope(nasnet_mobile_arg_scope(weight_decay)),
        slim.arg_scope([pool_same], pads_with_zeros=True) as scope,
    ):
        return scope


def nasnet_large_keras_arg_scope(weight_decay: float = 5e-5) -> dict[str, Any]:
    """Returns the arg scope of nasnet_large whose pools pad as in Keras."""
    return nasnet_mobile_keras_arg_scope(weight_decay)
