"""The registry of networks; `network_table` has a row for each.

    network_fn = nets_factory.get_network_fn("mobilenet_v1", 5, is_training=True)
    logits, end_points = network_fn(images)

To add a network of your own, from any module:

    nets_factory.register(Network("tiny", tiny, tiny_arg_scope, default_image_size=64))

or in TF-Slim's way:

    nets_factory.networks_map["tiny"] = tiny
    nets_factory.arg_scopes_map["tiny"] = tiny_arg_scope

The module of a network is imported when the network is first used.
"""

import dataclasses
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from nets import network_table
from nets.net_utils import NetOutputs, unknown_name
from nets.network_table import Network
from nets.stochastic_depth import drop_residual
from tf_slim_compat import slim, tf

_registry: dict[str, Network | network_table.Row] = {
    row.name: row for row in network_table.ROWS
}


def list_networks() -> list[str]:
    """Returns the sorted names of all networks, including registered ones."""
    return sorted(_registry)


def get_network(name: str) -> Network:
    """Returns the network called `name`.

    Raises:
      ValueError: there is no such network.
    """
    if name not in _registry:
        raise unknown_name("network", name, list_networks())
    network = _registry[name]
    if isinstance(network, network_table.Row):
        network = _registry[name] = network.load()
    return network


def register(network: Network) -> None:
    """Adds a network to the registry of this process.

    Raises:
      ValueError: the name is taken.
    """
    if network.name in _registry:
        raise ValueError(
            f"A network called {network.name!r} is already registered; choose another "
            "name."
        )
    _registry[network.name] = network


class _Column(MutableMapping[str, Any]):
    """One field of every network, by network name.

    Setting it changes that field, or adds a network.
    """

    def __init__(self, field: str) -> None:
        self._field = field

    def __getitem__(self, name: str) -> Any:
        if name not in _registry:
            raise KeyError(name)
        return getattr(get_network(name), self._field)

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        if name in _registry:
            network = get_network(name)
        else:
            network = network_table.describe(name, _without_function)
        if self._field == "build":
            network = network.with_build(function)
        else:
            network = dataclasses.replace(network, arg_scope=function)
        _registry[name] = network

    def __delitem__(self, name: str) -> None:
        del _registry[name]

    def __contains__(self, name: object) -> bool:
        return name in _registry

    def __iter__(self) -> Iterator[str]:
        return iter(list_networks())

    def __len__(self) -> int:
        return len(_registry)


def _without_function(*_: Any, **__: Any) -> NetOutputs:
    raise ValueError(
        "The network has an entry in arg_scopes_map, but none in networks_map: add "
        "its function there."
    )


networks_map = _Column("build")
arg_scopes_map = _Column("arg_scope")


def get_network_fn(
    name: str,
    num_classes: int | None,
    weight_decay: float = 0.0,
    is_training: bool = False,
    drop_path: float = 0.0,
) -> Callable[..., NetOutputs]:
    """Returns a function that builds a network within its arg scope.

    Args:
      name: one of `list_networks()`.
      num_classes: number of classes; 0 or None returns features instead of logits.
      weight_decay: L2 regularization factor of the weights.
      is_training: whether dropout and batch normalization are in training mode.
      drop_path: probability in [0, 1) of leaving out the last residual unit in
        training; see `stochastic_depth.py`.

    Returns:
      `network_fn(images, **kwargs)`, which passes `kwargs` to the network and returns
      `(logits, end_points)`. Its attribute `default_image_size` is the height and width
      in pixels that the network was designed for.

    Raises:
      ValueError: there is no network called `name`. `network_fn` raises it if the
        network cannot be built for the images, or has no residuals to drop.
    """
    network = get_network(name)

    rate = drop_path if is_training else 0.0

    def network_fn(images: tf.Tensor, **kwargs: Any) -> NetOutputs:
        dropped = []
        with (
            slim.arg_scope(network.arg_scope(weight_decay=weight_decay)),
            slim.arg_scope([drop_residual], rate=rate, dropped=dropped),
        ):
            try:
                outputs = network.build(
                    images, num_classes=num_classes, is_training=is_training, **kwargs
                )
            except ValueError as error:
                reason = _find_fault(network, images.shape)
                if reason is None:
                    raise
                raise ValueError(reason) from error
        if rate and not dropped:
            reason = "has no residual units that could be dropped: drop_path must be 0"
            raise ValueError(f"{name} {reason}, but is {rate}.")
        return outputs

    network_fn.default_image_size = network.default_image_size
    return network_fn


def _find_fault(network: Network, shape: tf.TensorShape) -> str | None:
    """Returns why a network cannot be built for images of a shape; None if unknown."""
    kinds = {4: "images [batch, height, width, channels]",
             5: "videos [batch, frames, height, width, channels]"}  # fmt: skip
    if network.input_rank not in (None, shape.rank):
        return (
            f"{network.name} takes {kinds[network.input_rank]}, but its input has the "
            f"shape {shape}: choose a network for such inputs."
        )
    sizes = [size for size in shape.as_list()[-3:-1] if size is not None]
    if sizes and min(sizes) < network.min_image_size:
        return (
            f"{network.name} takes images of {network.min_image_size} pixels or more, "
            f"but the image size is {min(sizes)}: give a larger one, such as its "
            f"default of {network.default_image_size}, or choose another network."
        )
    return None
