"""Every network equals the reference, and therefore loads its checkpoints."""

import pytest
import reference_networks
from conftest import needs_reference

from nets import nets_factory

FAST = ("cifarnet", "lenet", "mobilenet_v1_025")
# One network each of the families that are cheap to build.
QUICK = (
    "inception_v1",
    "mobilenet_v2_035",
    "mobilenet_v3_small_minimalistic",
    "resnet_v2_50",
)

# The slowest first, which balances parallel runs.
NAMES = sorted(
    reference_networks.reference_names(),
    key=reference_networks.estimate_cost,
    reverse=True,
)


def list_marks(name):
    if name in FAST:
        return ()
    return (pytest.mark.slow, *[pytest.mark.quick] * (name in QUICK))


@needs_reference
def test_every_network_of_the_reference_exists():
    assert not set(NAMES) - set(nets_factory.list_networks())


@needs_reference
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=list_marks(name)) for name in NAMES],
)
def test_network(name):
    found = reference_networks.differences(name)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])
