"""The model of how training grows with workers: its arithmetic."""

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.scaling import Gradient, Link
from deployment.cluster.collectives import Collectives
from tf_slim_compat import tf

GRADIENTS = [Gradient(100, 10), Gradient(300, 0), Gradient(200, 30), Gradient(400, 60)]
# 100 bytes per second, and 1 s until a message arrives.
SLOW = Link(100.0, 1.0)


def test_a_ring_sends_almost_twice_the_bytes():
    sent = [scaling.count_ring_bytes(1000, n) for n in (1, 2, 4, 1000)]
    assert sent == [0, 1000, 1500, 1998]
    assert [scaling.count_messages(n) for n in (1, 2, 4)] == [0, 2, 6]


def test_buckets_are_filled_from_the_last_gradient():
    assert scaling.fill_buckets(GRADIENTS, 0, 2) == [
        (0.6, 400),
        (0.9, 200),
        (0.9, 300),
        (1.0, 100),
    ]
    assert scaling.fill_buckets(GRADIENTS, 500, 2) == [(0.9, 600), (1.0, 400)]
    assert scaling.fill_buckets(GRADIENTS, 10**6, 2) == [(1.0, 1000)]


@pytest.mark.parametrize("bucket_bytes", [0, 60, 10**6])
def test_buckets_are_those_of_the_workers(bucket_bytes):
    sizes = [3, 20, 5_000_000, 11, 47, 1]  # The large one is sent in pieces.
    with tf.Graph().as_default() as graph:
        Collectives(0, 2, bucket_bytes).average_all([tf.zeros([n]) for n in sizes])
        sent = [
            4 * op.inputs[0].shape.num_elements()
            for op in graph.get_operations()
            if op.type == "CollectiveReduceV2"
        ]
    buckets = scaling.fill_buckets([Gradient(4 * n, 1) for n in sizes], bucket_bytes, 2)
    assert [size for _, size in buckets] == sent


def test_a_step_overlaps_what_is_ready_early():
    buckets = [(0.5, 400), (1.0, 200)]
    # Forward for 3 s, backward until 9 s. Two workers: 4 s and 2 s on the link, two
    # messages of 1 s each, and one for the agreement.
    step = scaling.simulate_step
    assert step(buckets, 1, SLOW, 9.0) == 9
    # The first leaves at 6 s, the second at 10 s.
    assert step(buckets, 2, SLOW, 9.0) == pytest.approx(10 + 2 + 2 + 1)
    assert step(buckets, 2, SLOW, 9.0, overlaps=False) == pytest.approx(15 + 2 + 1)
    assert scaling.compute_transfer_secs(buckets, 2, SLOW) == pytest.approx(6 + 2)
    # A message that takes the sender's time delays the buckets after it as well.
    busy = Link(100.0, 1.0, 0.5)
    assert scaling.compute_transfer_secs(buckets, 2, busy) == pytest.approx(6 + 2 + 2)


def test_the_link_is_found_from_what_it_takes():
    link = Link(2e8, 1e-3, 2e-4)
    rows = {}
    for name, count in (("one by one", 50), ("4 MB", 5)):
        buckets = [(0.0, 1e8 / count)] * count
        secs = scaling.compute_transfer_secs(buckets, 2, link)
        rows[name] = {"collectives": count, "ms": 1e3 * secs}
    rows["one number"] = {"ms": 2 * 1.2}
    found = scaling.fit_link({"bytes": 1e8, "rows": rows})
    np.testing.assert_allclose(found, link, rtol=1e-9)


def test_the_slowest_of_many_is_slower():
    means = [scaling.simulate_slowest(n, 0.1) for n in (1, 2, 64)]
    # The mean of the larger of two is 1 / sqrt(pi) standard deviations above.
    np.testing.assert_allclose(means[:2], [1, 1 + 0.1 / np.pi**0.5], atol=0.01)
    assert means[2] > means[1]


def test_gradients_of_a_network():
    gradients = scaling.list_gradients("mobilenet_v1")
    assert sum(gradient.bytes for gradient in gradients) == 4 * 4_231_976
    # arXiv:1704.04861 gives 569 million multiply-adds and 4.2 million parameters.
    assert sum(g.multiply_adds for g in gradients) == pytest.approx(569e6, rel=0.01)
    assert gradients[0].bytes == 4 * 3 * 3 * 3 * 32
