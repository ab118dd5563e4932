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
    """

    name: str
    build: Callable[..., Any]
    arg_scope: Callable[..., Any]
    default_image_size: int
    preprocessing: str = "inception"
    scope: str = ""
    paper: str = ""
    top1: float | None = None


_registry: dict[str, Network | Callable[[], Network]] = {}


def _load(name, module, build, arg_scope, **facts):
    """Imports `nets.<module>` and returns the `Network`."""
    module = importlib.import_module(f"nets.{module}")
    build = getattr(module, build)
    arg_scope = getattr(module, arg_scope)
    return Network(name, build, arg_scope, build.default_image_size, **facts)


def _family(module, arg_scope, preprocessing, paper, rows):
    """Adds a family to the registry, unimported.

    Args:
      module: where in nets/ it is, e.g. "mobilenet.mobilenet_v2".
      arg_scope: name of the function there that returns the arg scope.
      preprocessing: see `Network`.
      paper: see `Network`.
      rows: list of (network's name, function's name, variable scope, top-1 or None).
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
        )


# fmt: off
_family("lenet", "lenet_arg_scope", "lenet", "LeCun et al. 1998", [
    ("lenet", "lenet", "LeNet", None),
])
_family("cifarnet", "cifarnet_arg_scope", "cifarnet", "Krizhevsky 2009", [
    ("cifarnet", "cifarnet", "CifarNet", None),
])
_family("inception_v3", "inception_v3_arg_scope", "inception", "arXiv:1512.00567", [
    ("inception_v3", "inception_v3", "InceptionV3", 78.0),
])
_family("resnet_v1", "resnet_arg_scope", "vgg", "arXiv:1512.03385", [
    ("resnet_v1_50", "resnet_v1_50", "resnet_v1_50", 75.2),
    ("resnet_v1_101", "resnet_v1_101", "resnet_v1_101", 76.4),
    ("resnet_v1_152", "resnet_v1_152", "resnet_v1_152", 76.8),
    ("resnet_v1_200", "resnet_v1_200", "resnet_v1_200", None),
])
_family("mobilenet_v1", "mobilenet_v1_arg_scope", "inception", "arXiv:1704.04861", [
    ("mobilenet_v1", "mobilenet_v1", "MobilenetV1", 70.9),
    ("mobilenet_v1_075", "mobilenet_v1_075", "MobilenetV1", 68.4),
    ("mobilenet_v1_050", "mobilenet_v1_050", "MobilenetV1", 63.3),
    ("mobilenet_v1_025", "mobilenet_v1_025", "MobilenetV1", 49.8),
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
