"""Learning rates that decay from the head of a network to its first layer.

As in the fine-tuning of ELECTRA (K. Clark et al. 2020, arXiv:2003.10555, appendix B);
J. Howard and S. Ruder 2018, arXiv:1801.06146, section 3.2, call it discriminative
fine-tuning. Early layers are general, so they need to change less than late ones.

A layer is what the network's scope directly contains, such as InceptionV3/Mixed_5b,
resnet_v1_50/block2 or MobilenetV2/expanded_conv_7; layers are numbered in the order in
which the network creates them. The two halves of a depthwise separable convolution are
one layer, and so are a convolution and the normalization beside it (`conv0_bn`).
Auxiliary classifiers have the factor of the head.
"""

import re
from collections.abc import Iterable

_HALF = re.compile(r"_(depthwise|pointwise|bn)$")
_AUXILIARY = re.compile(r"aux", re.IGNORECASE)


def compute_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Returns the learning-rate factor of each variable.

    Args:
      names: names of all trainable variables of a network, in the order of creation.
      decay: factor from each layer to the one before it, in (0, 1]. The last layer, the
        head, has the factor 1.
    """
    layers = _find_layers(list(names))
    numbered = [
        layer for layer in dict.fromkeys(layers.values()) if not _is_auxiliary(layer)
    ]
    depths = {layer: depth for depth, layer in enumerate(reversed(numbered))}
    return {name: decay ** depths.get(layer, 0) for name, layer in layers.items()}


def _find_layers(names: list[str]) -> dict[str, str]:
    """Returns the layer of each variable."""
    num_parts = 2 if len({name.partition("/")[0] for name in names}) == 1 else 1
    return {
        name: _HALF.sub("", "/".join(name.split("/")[:-1][:num_parts]))
        for name in names
    }


def _is_auxiliary(layer: str) -> bool:
    return _AUXILIARY.match(layer.rpartition("/")[2]) is not None
