"""The network that a time budget allows."""

import pytest

from deployment.recipes import networks
from nets import nets_factory


@pytest.mark.parametrize(
    ("budget_secs", "num_images", "images_per_sec", "expected"),
    [
        (None, 4000, None, ("mobilenet_v1_050", 160)),
        (60, 100, None, ("mobilenet_v1_025", 128)),  # Too short to measure.
        (300, 4000, 500, ("mobilenet_v1_025", 128)),
        (600, 4000, 700, ("mobilenet_v1_050", 160)),
        (600, 300, 500, ("mobilenet_v1", 224)),
        (600, 4000, 5000, ("mobilenet_v1", 224)),
        (600, 4000, 1, ("mobilenet_v1_025", 128)),
    ],
)
def test_the_largest_network_that_time_allows(
    monkeypatch, budget_secs, num_images, images_per_sec, expected
):
    def measure(candidate, get_network_fn):
        del get_network_fn
        assert candidate.cost == 1 and images_per_sec
        return images_per_sec

    monkeypatch.setattr(networks, "measure_speed", measure)
    found = networks.choose(budget_secs, num_images, None)
    assert (found.model_name, found.image_size) == expected


def test_speed_is_measured():
    candidate = networks.Candidate("lenet", 28, 1.0)
    assert 0 < networks.measure_speed(candidate, nets_factory.get_network_fn) < 10**7


def test_candidates_are_networks_from_the_largest_to_the_smallest():
    costs = [candidate.cost for candidate in networks.CANDIDATES]
    assert costs == sorted(set(costs), reverse=True) and costs[-1] == 1
    for candidate in networks.CANDIDATES:
        assert nets_factory.get_network(candidate.model_name)
