"""Every network of the registry equals the reference, and so loads its checkpoints."""

import pytest
import reference_networks
from conftest import needs_reference

from nets import nets_factory

NOT_YET_BUILT = (
    "alexnet_v2",
    "i3d",
    "inception_resnet_v2",
    "inception_v1",
    "inception_v2",
    "inception_v4",
    "mobilenet_edgetpu",
    "mobilenet_edgetpu_075",
    "mobilenet_v2",
    "mobilenet_v2_035",
    "mobilenet_v2_140",
    "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic",
    "mobilenet_v3_small",
    "mobilenet_v3_small_minimalistic",
    "nasnet_cifar",
    "nasnet_large",
    "nasnet_mobile",
    "overfeat",
    "pnasnet_large",
    "pnasnet_mobile",
    "resnet_v2_101",
    "resnet_v2_152",
    "resnet_v2_200",
    "resnet_v2_50",
    "s3dg",
    "vgg_16",
    "vgg_19",
    "vgg_a",
)
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
