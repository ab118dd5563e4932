"""The registry of networks: one row each, and everything the rest needs to know of it.

    network_fn = nets_factory.get_network_fn("mobilenet_v1", 5, is_training=True)
    logits, end_points = network_fn(images)

A network of one's own takes one line, wherever it is defined:

    nets_factory.register(Network("tiny", tiny, tiny_arg_scope, default_image_size=64))

A module is imported when one of its networks is asked for, so that a fault in one
leaves the others usable.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from nets.net_utils import unknown_name
from tf_slim_compat import slim


@dataclasses.dataclass(frozen=True)
class Network:
    """What the rest of the project needs to know of a network.

    Attributes:
      name: what users type for `--model_name`.
      build: callable of (images, num_classes=..., is_training=..., ...) that returns
        (logits, end_points).
      arg_scope: callable of (weight_decay=...) that returns a slim arg scope.
      default_image_size: height and width that it was made for, in pixels.
      preprocessing: name for `preprocessing_factory.get_preprocessing`.
      scope: what its variables' names begin with; "" when that is nothing in common.
      paper: where it was published.
      top1: published top-1 accuracy on ImageNet in percent, where there is one.
      note: of the public checkpoints, what they want that the rest does not say.
    """

    name: str
    build: Callable[..., Any]
    arg_scope: Callable[..., Any]
    default_image_size: int
    preprocessing: str = "inception"
    scope: str = ""
    paper: str = ""
    top1: float | None = None
    note: str = ""


_registry: dict[str, Network | Callable[[], Network]] = {}


def _load(name, module, build, arg_scope, **facts):
    """Imports `nets.<module>` and returns the `Network`."""
    module = importlib.import_module(f"nets.{module}")
    build = getattr(module, build)
    arg_scope = getattr(module, arg_scope)
    return Network(name, build, arg_scope, build.default_image_size, **facts)


def _family(module, arg_scope, preprocessing, paper, rows, note=""):
    """Adds a family to the registry, unimported.

    Args:
      module: where in nets/ it is, e.g. "mobilenet.mobilenet_v2".
      arg_scope: name of the function there that returns the arg scope.
      preprocessing: see `Network`.
      paper: see `Network`.
      rows: list of (network's name, function's name, variable scope, top-1 or None).
      note: see `Network`.
    """
    for name, build, scope, top1 in rows:
        assert name not in _registry, f"{name} has two rows"
        _registry[name] = functools.partial(
            _load,
            name,
            module,
            build,
            arg_scope,
            preprocessing=preprocessing,
            scope=scope,
            paper=paper,
            top1=top1,
            note=note,
        )


# fmt: off
_family("lenet", "lenet_arg_scope", "lenet", "LeCun et al. 1998", [
    ("lenet", "lenet", "LeNet", None),
])
_family("lenet", "lenet5_arg_scope", "lenet", "LeCun et al. 1998", [
    ("lenet5", "lenet5", "LeNet5", None),
])
_family("softmax_regression", "softmax_regression_arg_scope", "cifarnet", "textbooks", [
    ("softmax_regression", "softmax_regression", "SoftmaxRegression", None),
])
_family("simple_cnn", "simple_cnn_arg_scope", "cifarnet", "textbooks", [
    ("simple_cnn", "simple_cnn", "SimpleCnn", None),
])
_family("cifarnet", "cifarnet_arg_scope", "cifarnet", "Krizhevsky 2009", [
    ("cifarnet", "cifarnet", "CifarNet", None),
])
_family("alexnet", "alexnet_arg_scope", "vgg", "Krizhevsky et al. 2012", [
    ("alexnet", "alexnet", "alexnet", 59.3),
])
_family("alexnet", "alexnet_v2_arg_scope", "vgg", "arXiv:1404.5997", [
    ("alexnet_v2", "alexnet_v2", "alexnet_v2", 57.7),
])
_family("overfeat", "overfeat_arg_scope", "vgg", "arXiv:1312.6229", [
    ("overfeat", "overfeat", "overfeat", 60.7),
])
_family("vgg", "vgg_arg_scope", "vgg", "arXiv:1409.1556", [
    ("vgg_a", "vgg_a", "vgg_a", 70.4),
    ("vgg_16", "vgg_16", "vgg_16", 71.5),
    ("vgg_19", "vgg_19", "vgg_19", 71.1),
])
_family("inception_v1", "inception_v1_arg_scope", "inception", "arXiv:1409.4842", [
    ("inception_v1", "inception_v1", "InceptionV1", 69.8),
])
_family("inception_v2", "inception_v2_arg_scope", "inception", "arXiv:1502.03167", [
    ("inception_v2", "inception_v2", "InceptionV2", 73.9),
])
_family("inception_v3", "inception_v3_arg_scope", "inception", "arXiv:1512.00567", [
    ("inception_v3", "inception_v3", "InceptionV3", 78.0),
])
_family("inception_v4", "inception_v4_arg_scope", "inception", "arXiv:1602.07261", [
    ("inception_v4", "inception_v4", "InceptionV4", 80.2),
])
_family("inception_resnet_v2", "inception_resnet_v2_arg_scope", "inception",
        "arXiv:1602.07261", [
    ("inception_resnet_v2", "inception_resnet_v2", "InceptionResnetV2", 80.4),
])
_family("i3d", "i3d_arg_scope", "inception", "arXiv:1705.07750", [
    ("i3d", "i3d", "InceptionV1", None),
])
_family("s3dg", "s3dg_arg_scope", "inception", "arXiv:1712.04851", [
    ("s3dg", "s3dg", "InceptionV1", None),
])
_family("resnet_v1", "resnet_arg_scope", "vgg", "arXiv:1512.03385", [
    ("resnet_v1_50", "resnet_v1_50", "resnet_v1_50", 75.2),
    ("resnet_v1_101", "resnet_v1_101", "resnet_v1_101", 76.4),
    ("resnet_v1_152", "resnet_v1_152", "resnet_v1_152", 76.8),
    ("resnet_v1_200", "resnet_v1_200", "resnet_v1_200", None),
])
_family("resnet_v2", "resnet_arg_scope", "vgg", "arXiv:1603.05027", [
    ("resnet_v2_50", "resnet_v2_50", "resnet_v2_50", 75.6),
    ("resnet_v2_101", "resnet_v2_101", "resnet_v2_101", 77.0),
    ("resnet_v2_152", "resnet_v2_152", "resnet_v2_152", 77.8),
    ("resnet_v2_200", "resnet_v2_200", "resnet_v2_200", 79.9),
], "they were trained on 299 pixels in [-1, 1]: give them "
   "--preprocessing_name=inception and that size.")
_family("densenet", "densenet_arg_scope", "vgg", "arXiv:1608.06993", [
    ("densenet_121", "densenet_121", "densenet121", 75.0),
    ("densenet_161", "densenet_161", "densenet161", 77.8),
    ("densenet_169", "densenet_169", "densenet169", 76.2),
    ("densenet_201", "densenet_201", "densenet201", 77.4),
], "those of the widely used port to slim were trained on the pictures of "
   "vgg preprocessing times 0.017; without that factor, multiply the weights of conv1 "
   "by it.")
_family("mobilenet_v1", "mobilenet_v1_arg_scope", "inception", "arXiv:1704.04861", [
    ("mobilenet_v1", "mobilenet_v1", "MobilenetV1", 70.9),
    ("mobilenet_v1_075", "mobilenet_v1_075", "MobilenetV1", 68.4),
    ("mobilenet_v1_050", "mobilenet_v1_050", "MobilenetV1", 63.3),
    ("mobilenet_v1_025", "mobilenet_v1_025", "MobilenetV1", 49.8),
])
_family("mobilenet.mobilenet_v2", "training_scope", "inception", "arXiv:1801.04381", [
    ("mobilenet_v2", "mobilenet", "MobilenetV2", 71.8),
    ("mobilenet_v2_140", "mobilenet_v2_140", "MobilenetV2", 75.0),
    ("mobilenet_v2_050", "mobilenet_v2_050", "MobilenetV2", 65.4),
    ("mobilenet_v2_035", "mobilenet_v2_035", "MobilenetV2", 60.3),
])
_family("mobilenet.mobilenet_v3", "training_scope", "inception", "arXiv:1905.02244", [
    ("mobilenet_v3_large", "large", "MobilenetV3", 75.2),
    ("mobilenet_v3_small", "small", "MobilenetV3", 67.5),
    ("mobilenet_v3_large_minimalistic", "large_minimalistic", "MobilenetV3", 72.3),
    ("mobilenet_v3_small_minimalistic", "small_minimalistic", "MobilenetV3", 61.9),
    ("mobilenet_edgetpu", "edge_tpu", "MobilenetEdgeTPU", 75.6),
    ("mobilenet_edgetpu_075", "edge_tpu_075", "MobilenetEdgeTPU", 73.5),
])
_family("nasnet.nasnet", "nasnet_cifar_arg_scope", "cifarnet", "arXiv:1707.07012", [
    ("nasnet_cifar", "build_nasnet_cifar", "", None),
])
_family("nasnet.nasnet", "nasnet_mobile_arg_scope", "inception", "arXiv:1707.07012", [
    ("nasnet_mobile", "build_nasnet_mobile", "", 74.0),
])
_family("nasnet.nasnet", "nasnet_large_arg_scope", "inception", "arXiv:1707.07012", [
    ("nasnet_large", "build_nasnet_large", "", 82.7),
])
_family("nasnet.pnasnet", "pnasnet_mobile_arg_scope", "inception", "arXiv:1712.00559", [
    ("pnasnet_mobile", "build_pnasnet_mobile", "", 74.2),
])
_family("nasnet.pnasnet", "pnasnet_large_arg_scope", "inception", "arXiv:1712.00559", [
    ("pnasnet_large", "build_pnasnet_large", "", 82.9),
])
# fmt: on


def list_networks():
    """Returns the sorted names of all networks, a user's own included."""
    return sorted(_registry)


def get_network(name):
    """Returns the `Network` called `name`, importing its module if need be.

    Raises:
      ValueError: there is none of that name.
    """
    if name not in _registry:
        raise unknown_name("network", name, list_networks())
    if not isinstance(_registry[name], Network):
        _registry[name] = _registry[name]()
    return _registry[name]


def register(network):
    """Adds a `Network` of one's own, for this process.

    Raises:
      ValueError: a network of that name is there already.
    """
    if network.name in _registry:
        raise ValueError(
            f"A network called {network.name!r} is registered already; register yours "
            "under another name."
        )
    _registry[network.name] = network


class _Column(Mapping):
    """One field of every record, by network name, read when it is asked for."""

    def __init__(self, field):
        self._field = field

    def __getitem__(self, name):
        if name not in _registry:
            raise KeyError(name)
        return getattr(get_network(name), self._field)

    def __contains__(self, name):
        return name in _registry

    def __iter__(self):
        return iter(list_networks())

    def __len__(self):
        return len(_registry)


networks_map = _Column("build")
arg_scopes_map = _Column("arg_scope")


def get_network_fn(name, num_classes, weight_decay=0.0, is_training=False):
    """Returns a function that builds the network within its arg scope.

    Args:
      name: one of `list_networks()`.
      num_classes: int; 0 or None makes the function return features, not logits.
      weight_decay: float, the factor of the L2 loss on the weights.
      is_training: bool, for dropout and batch normalisation.

    Returns:
      `network_fn(images, **kwargs)` that returns `(logits, end_points)`, with further
      arguments passed to the network, and the attribute `default_image_size`.

    Raises:
      ValueError: there is no network called `name`.
    """
    network = get_network(name)

    def network_fn(images, **kwargs):
        with slim.arg_scope(network.arg_scope(weight_decay=weight_decay)):
            return network.build(
                images, num_classes=num_classes, is_training=is_training, **kwargs
            )

    network_fn.default_image_size = network.default_image_size
    return network_fn
