"""PNASNet-5: a stack of one cell found by a progressive search.

C. Liu, B. Zoph, M. Neumann, J. Shlens, W. Hua, L.-J. Li, L. Fei-Fei, A. Yuille,
J. Huang, K. Murphy, "Progressive Neural Architecture Search", 2017,
https://arxiv.org/abs/1712.00559

Input: float [batch, size, size, 3] in [-1, 1]; any static size from about 32
pixels works. Output: logits [batch, classes].

| network        | size | last feature map      | parameters | published top-1 |
|----------------|------|-----------------------|------------|-----------------|
| pnasnet_mobile | 224  | [batch, 7, 7, 1080]   | 5,065,568  | 74.2 %          |
| pnasnet_large  | 331  | [batch, 11, 11, 4320] | 86,061,989 | 82.9 %          |

Parameters are those with 1,001 classes, without the auxiliary classifier of the
training graph, which has 2,413,545 (mobile) and 4,586,985 (large). Accuracies are on
ImageNet.
"""

from nets.nasnet.cell_network import build_network
from nets.nasnet.nasnet import nasnet_mobile_arg_scope
from nets.nasnet.nasnet_utils import Config, Identity, NasNetABaseCell, Pool, Separable
from nets.net_utils import NetOutputs
from tf_slim_compat import slim, tf


class PNasNetNormalCell(NasNetABaseCell):
    """The only cell of PNASNet-5; it halves the resolution if its stride is 2."""

    rows = (
        (Separable(1, 5), Pool(1, slim.max_pool2d)),
        (Separable(0, 7), Pool(0, slim.max_pool2d)),
        (Separable(0, 5), Separable(0, 3)),
        (Separable(4, 3), Pool(0, slim.max_pool2d)),
        (Separable(1, 3), Identity(0)),
    )
    outputs = (2, 3, 4, 5, 6)


def large_imagenet_config() -> Config:
    """Returns the `Config` of pnasnet_large."""
    return Config(
        num_cells=12,
        num_conv_filters=216,
        stem_multiplier=3.0,
        drop_path_keep_prob=0.6,
        skip_reduction_layer_input=True,
    )


def mobile_imagenet_config() -> Config:
    """Returns the `Config` of pnasnet_mobile."""
    return Config(num_cells=9, num_conv_filters=54, skip_reduction_layer_input=True)


def build_pnasnet_large(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool = True,
    final_endpoint: str | None = None,
    config: Config | None = None,
) -> NetOutputs:
    """Builds PNASNet-5, large.

    Args:
      images: float tensor [batch, height, width, channels] of static height and width.
      num_classes: number of classes; 0 or None returns the features [batch, filters].
      is_training: whether to build for training; see `cell_network.build_network`.
      final_endpoint: name of the last layer; see `cell_network.build_network`.
      config: configuration; None for `large_imagenet_config()`.

    Returns:
      `(net, end_points)`: logits, features or the layer called `final_endpoint`, and
      the layers by name.

    Raises:
      ValueError: see `cell_network.build_network`.
    """
    config = config or large_imagenet_config()
    return build_network(
        images,
        num_classes,
        is_training,
        config,
        PNasNetNormalCell,
        final_endpoint=final_endpoint,
    )


build_pnasnet_large.default_image_size = 331
build_pnasnet_large.min_image_size = 3


def build_pnasnet_mobile(
    images: tf.Tensor,
    num_classes: int | None,
    is_training: bool = True,
    final_endpoint: str | None = None,
    config: Config | None = None,
) -> NetOutputs:
    """Builds PNASNet-5, mobile; see `build_pnasnet_large` for the arguments.

    `config` is `mobile_imagenet_config()` by default.
    """
    config = config or mobile_imagenet_config()
    return build_pnasnet_large(images, num_classes, is_training, final_endpoint, config)


build_pnasnet_mobile.default_image_size = 224
build_pnasnet_mobile.min_image_size = 3

pnasnet_large_arg_scope = pnasnet_mobile_arg_scope = nasnet_mobile_arg_scope
