"""Mixup and CutMix: images, targets, weights, and that the seed decides them."""

import numpy as np
import pytest
from scipy import special

from deployment.train import mixing
from tf_slim_compat import tf

BATCH, HEIGHT, WIDTH, CLASSES = 4, 9, 14, 6
BOTH = {"mixup_alpha": 0.4, "cutmix_alpha": 1.0}


@pytest.fixture(scope="module")
def mix():
    """Returns a function of options and seeds to mixed batches, one per seed.

    Image n of the batch is n everywhere, in all of its 3 channels, and of class n.
    """
    sessions = {}

    def build(options):
        with tf.Graph().as_default():
            seed = tf.placeholder(tf.int64, [2])
            # Height and width are unknown until it runs.
            images = tf.placeholder_with_default(images_in(), [BATCH, None, None, 3])
            targets = tf.one_hot(tf.range(BATCH), CLASSES)
            mixed = mixing.mix(images, targets, seed=seed, **options)
            assert mixed[0].shape.as_list() == [BATCH, None, None, 3]
            assert mixed[1].shape.as_list() == [BATCH, CLASSES]
            return tf.Session(), mixed, seed

    def run(options, seeds):
        key = tuple(sorted(options.items()))
        if key not in sessions:
            sessions[key] = build(options)
        session, mixed, seed = sessions[key]
        return [session.run(mixed, {seed: value}) for value in seeds]

    yield run
    for session, _, _ in sessions.values():
        session.close()


def images_in():
    numbers = np.arange(BATCH, dtype=np.float32).reshape(-1, 1, 1, 1)
    return np.broadcast_to(numbers, [BATCH, HEIGHT, WIDTH, 3]).copy()


def seeds_of(count):
    return [(7, step) for step in range(count)]


def is_pasted(images):
    """Whether every pixel is from one image, not a mean of two."""
    return np.array_equal(images, np.round(images))


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}, BOTH])
def test_targets_match_the_images(mix, options):
    for images, targets in mix(options, seeds_of(20)):
        assert images.dtype == targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
        # The sum over the batch does not change.
        np.testing.assert_allclose(targets.sum(0), [1] * BATCH + [0] * 2, rtol=1e-6)
        np.testing.assert_allclose(images.sum(0), images_in().sum(0), rtol=1e-5)
        # Image n has the value n, so its mean must equal the mean class.
        means = images.mean((1, 2, 3))
        np.testing.assert_allclose(means, targets @ np.arange(CLASSES), rtol=1e-5)
        # Each image is mixed with the previous one.
        for row, target in enumerate(targets):
            assert set(np.flatnonzero(target)) <= {row, (row - 1) % BATCH}


def test_mixup_is_a_weighted_mean(mix):
    weights = []
    for images, targets in mix({"mixup_alpha": 0.4}, seeds_of(50)):
        weight = targets[1, 1]
        weights.append(weight)
        np.testing.assert_allclose(images[1], weight, rtol=1e-6)
        np.testing.assert_allclose(images[0], 3 * (1 - weight), rtol=1e-5, atol=1e-6)
    # Beta(0.4, 0.4) has mean 0.5 and standard deviation 0.37.
    assert 0.3 < np.mean(weights) < 0.7
    assert 0.25 < np.std(weights) < 0.5


def test_cutmix_pastes_a_box_whose_area_is_the_weight(mix):
    areas = []
    for images, targets in mix({"cutmix_alpha": 1.0}, seeds_of(50)):
        pasted = images != images_in()
        np.testing.assert_array_equal(pasted[..., :1] & True, pasted[..., 1:2])
        np.testing.assert_array_equal(*np.broadcast_arrays(pasted, pasted[:1]))
        pasted = pasted[0, :, :, 0]
        box = np.outer(pasted.any(1), pasted.any(0))
        np.testing.assert_array_equal(pasted, box)
        for row in range(BATCH):
            np.testing.assert_array_equal(images[row][pasted], (row - 1) % BATCH)
        area = pasted.sum() / (HEIGHT * WIDTH)
        assert targets[2, 1] == np.float32(1 - np.float32(1 - area))
        assert targets[2, 2] == np.float32(1 - area)
        areas.append(area)
    assert min(areas) < 0.1 and max(areas) > 0.5
    assert len(set(areas)) > 20


def test_with_both_each_batch_uses_one(mix):
    found = [is_pasted(images) for images, _ in mix(BOTH, seeds_of(40))]
    assert 10 < sum(found) < 30


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}, BOTH])
def test_the_seed_decides_the_mix(mix, options):
    first, other = mix(options, [(1, 2), (1, 3)])
    (again,) = mix(options, [(1, 2)])
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha):
    def sample(seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        return mixing._build_beta(alpha, seeds)

    count = 5000
    with tf.Graph().as_default(), tf.Session() as session:
        seeds = tf.constant(seeds_of(count), tf.int64)
        found = np.sort(session.run(tf.map_fn(sample, seeds, tf.float64)))
    # Kolmogorov-Smirnov: the largest distance of the distributions, at the 1 % level.
    distances = special.betainc(alpha, alpha, found) - np.linspace(0, 1, count)
    assert np.abs(distances).max() < 1.63 / np.sqrt(count)


def test_tiny_alphas_leave_images_unmixed(mix):
    for images, targets in mix({"mixup_alpha": 1e-4}, seeds_of(30)):
        assert np.isfinite(images).all() and np.isfinite(targets).all()
        np.testing.assert_allclose(targets.max(1), 1, atol=1e-3)


def test_without_alphas_nothing_is_added():
    with tf.Graph().as_default():
        images, targets = tf.zeros([2, 3, 3, 1]), tf.zeros([2, 5])
        size = len(tf.get_default_graph().get_operations())
        assert mixing.mix(images, targets, seed=None) == (images, targets)
        assert len(tf.get_default_graph().get_operations()) == size


def test_videos_are_mixed_by_mixup():
    with tf.Graph().as_default(), tf.Session() as session:
        videos = tf.reshape(tf.range(2.0), [2, 1, 1, 1, 1]) * tf.ones([2, 3, 4, 4, 1])
        mixed, targets = mixing.mix(
            videos, tf.one_hot([0, 1], 2), mixup_alpha=1.0, seed=tf.constant([1, 2])
        )
        videos, targets = session.run([mixed, targets])
        assert videos.shape == (2, 3, 4, 4, 1)
        np.testing.assert_allclose(videos.mean((1, 2, 3, 4)), targets[:, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "said"),
    [
        ([2, 4, 4, 3], tf.float32, {"mixup_alpha": -1.0}, "mixup_alpha must be 0 or"),
        ([2, 4, 4, 3], tf.float32, {"cutmix_alpha": -1.0}, "cutmix_alpha must be 0"),
        ([2, 8, 4, 4, 3], tf.float32, {"cutmix_alpha": 1.0}, "use mixup_alpha instead"),
        ([2, 4, 4, 3], tf.uint8, {"mixup_alpha": 1.0}, "are uint8 and float32"),
    ],
)
def test_unsupported_inputs_are_errors(shape, dtype, options, said):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=said):
        mixing.mix(tf.zeros(shape, dtype), tf.zeros([2, 5]), seed=None, **options)
