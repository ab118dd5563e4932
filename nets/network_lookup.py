"""Networks by name, from whichever `nets_factory` there is.

Many projects have a nets_factory.py of their own, in TF-Slim's form, which they put in
place of ours. It has `networks_map`, mostly `arg_scopes_map`, and `get_network_fn` with
fewer arguments; what else has to be known about a network is found out here.
"""

import inspect
from collections.abc import Callable
from typing import Any

from nets import nets_factory, network_table
from nets.net_utils import NetOutputs, unknown_name


def list_networks() -> list[str]:
    """Returns the sorted names of all networks."""
    return sorted(nets_factory.networks_map)


def get_network(name: str) -> network_table.Network:
    """Returns what is known about a network.

    Raises:
      ValueError: there is no such network.
    """
    if hasattr(nets_factory, "get_network"):
        return nets_factory.get_network(name)
    if name not in nets_factory.networks_map:
        raise unknown_name("network", name, list_networks())
    arg_scopes = getattr(nets_factory, "arg_scopes_map", {})
    return network_table.describe(
        name,
        nets_factory.networks_map[name],
        arg_scopes.get(name, network_table.build_no_arg_scope),
    )


def get_network_fn(
    name: str,
    num_classes: int | None,
    weight_decay: float = 0.0,
    is_training: bool = False,
    drop_path: float = 0.0,
) -> Callable[..., NetOutputs]:
    """Returns a function that builds a network; see `nets_factory.get_network_fn`.

    Raises:
      ValueError: there is no such network, or the factory cannot drop residual units.
    """
    options: dict[str, Any] = {"drop_path": drop_path} if drop_path else {}
    find = nets_factory.get_network_fn
    if options and "drop_path" not in inspect.signature(find).parameters:
        raise ValueError(
            f"drop_path must be 0, but is {drop_path}: get_network_fn of this "
            f"nets_factory ({nets_factory.__file__}) does not take it."
        )
    default_image_size = get_network(name).default_image_size
    network_fn = find(
        name,
        num_classes=num_classes,
        weight_decay=weight_decay,
        is_training=is_training,
        **options,
    )
    if not hasattr(network_fn, "default_image_size"):
        network_fn.default_image_size = default_image_size
    return network_fn
