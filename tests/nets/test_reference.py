"""Every network of the registry equals the reference, and so loads its checkpoints."""

import pytest
import reference_networks
from conftest import needs_reference

from nets import nets_factory

NOT_YET_BUILT = ()
QUICK = ("cifarnet", "lenet", "mobilenet_v1_025")

REFERENCE_NAMES = reference_networks.reference_names()
BUILT = sorted(set(REFERENCE_NAMES) & set(nets_factory.list_networks()))


@needs_reference
def test_networks_missing_are_those_not_yet_built():
    missing = set(REFERENCE_NAMES) - set(nets_factory.list_networks())
    assert sorted(missing) == sorted(NOT_YET_BUILT)


@needs_reference
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in BUILT
    ],
)
def test_network(name):
    found = reference_networks.differences(name)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])
