"""Seeded random numbers: functions of the seed, distributed as unseeded ones."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import inception_preprocessing as inception
from preprocessing import preprocessing_factory, random_ops
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

RANDOM_FAMILIES = ["cifarnet", "inception", "vgg"]
NUM_SAMPLES = 600


def sample_many(build, is_seeded, num_samples=NUM_SAMPLES, run_seed=5):
    """Returns `build(seed)` under the seeds (run_seed, 0), (run_seed, 1) and so on.

    Unseeded: under None each time. All are sampled in one graph.
    """

    def element(index):
        seed = tf.stack([run_seed, index]) if is_seeded else None
        with random_ops.seeded(seed):
            return build(seed)

    def build_all():
        dataset = tf.data.Dataset.range(num_samples).map(element, num_parallel_calls=2)
        batch = dataset.batch(num_samples)
        return tf.data.make_one_shot_iterator(batch).get_next()

    return evaluate(build_all)[0]


def assert_same_distribution(first, second):
    """The two-sample test of Kolmogorov and Smirnov, column by column, at 0.1 %."""
    for a, b in zip(np.atleast_2d(first.T), np.atleast_2d(second.T), strict=True):
        values = np.concatenate([a, b])
        ranks = [np.searchsorted(np.sort(x), values, "right") / len(x) for x in (a, b)]
        distance = np.abs(ranks[0] - ranks[1]).max()
        assert distance < 1.95 * np.sqrt(1 / len(a) + 1 / len(b))


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32])
def test_uniform_samples_have_the_same_distribution(dtype):
    def build(_):
        return random_ops.uniform("side", [2], 3, 9, dtype)

    seeded, stateful = sample_many(build, True), sample_many(build, False)
    assert seeded.dtype == stateful.dtype == dtype.as_numpy_dtype
    assert seeded.min() >= 3 and seeded.max() < 9
    assert_same_distribution(seeded, stateful)
    assert abs(np.corrcoef(seeded.T)[0, 1]) < 0.15


def test_windows_have_the_same_distribution():
    def build(_):
        return inception.random_window(tf.constant([300, 400, 3]))[0]

    assert_same_distribution(sample_many(build, True), sample_many(build, False))


@pytest.mark.parametrize("family", RANDOM_FAMILIES)
def test_images_have_the_same_distribution(family):
    fn = preprocessing_factory.get_preprocessing(family, is_training=True)
    gradient = np.zeros((40, 44, 3)) + np.arange(40)[:, None, None] * 2
    gradient += np.arange(44)[None, :, None] * 3 + np.array([0, 20, 40])
    image = gradient.astype(np.uint8)

    def build(seed):
        corners = fn.with_seed(seed)(tf.constant(image), 32, 32)[::31, ::31]
        return tf.reshape(corners, [-1])

    assert_same_distribution(sample_many(build, True), sample_many(build, False))


def test_samples_for_different_purposes_are_independent():
    def build(_):
        return tf.stack(
            [random_ops.uniform(purpose, [], 0.0, 1.0) for purpose in ("a", "a", "b")]
        )

    together = sample_many(build, True)
    # Also those of the next image, and of a run whose seed is one more.
    columns = [*together.T, np.roll(together[:, 0], 1)]
    columns.append(sample_many(build, True, run_seed=6)[:, 0])
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 0.2


def test_a_sample_does_not_depend_on_others():
    def build(purposes):
        with random_ops.seeded((1, 2)):
            return {
                purpose: random_ops.uniform(purpose, [3], 0, 1) for purpose in purposes
            }

    def values(purposes):
        return evaluate(lambda: build(purposes))[0]

    np.testing.assert_array_equal(values("ab")["b"], values("b")["b"])
    assert not np.array_equal(values("ab")["a"], values("ab")["b"])


def crop_and_finish(fn, image, *size):
    window = fn.crop_window(tf.shape(image), *size)
    return fn.finish(image if window is None else utils.crop(image, window), *size)


@pytest.mark.parametrize("family", sorted(preprocessing_factory.FAMILIES))
def test_the_seed_decides_all(family):
    fn = preprocessing_factory.get_preprocessing(family, is_training=True)
    image = noise_image(60, 70)

    def build():
        seeds = [(1, 2), tf.constant([1, 2], tf.int64), (1, 3), (2, 2)]
        seeded = [fn.with_seed(seed) for seed in seeds]
        whole = [one(image, 32, 32) for one in seeded]
        return [*whole, crop_and_finish(seeded[0], image, 32, 32)]

    first, again = evaluate(build, times=2)
    other_graph = evaluate(build, seed=8)[0]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, other_graph)
    for same in first[1], first[4]:
        np.testing.assert_array_equal(first[0], same)
    if family in RANDOM_FAMILIES:
        assert len({value.tobytes() for value in first}) == 3
    assert fn.seed is None and fn.with_seed((1, 2)) == fn


def test_slow_mode_and_boxes_are_seeded_too():
    fn = preprocessing_factory.get_preprocessing("inception", is_training=True)
    options = {"fast_mode": False, "bbox": np.array([[[0.2, 0.2, 0.9, 0.8]]], "f")}

    def build():
        return [
            fn.with_seed((1, i))(noise_image(), 16, 16, **options) for i in range(3)
        ]

    first, again = evaluate(build, times=2)
    np.testing.assert_array_equal(first, again)
    assert len({value.tobytes() for value in first}) == 3


def test_after_the_context_samples_are_stateful_again():
    def build():
        with random_ops.seeded((1, 2)), random_ops.seeded(None):
            inner = random_ops.uniform("a", [], 0.0, 1.0)
        return inner, random_ops.uniform("a", [], 0.0, 1.0)

    first, again = evaluate(build, times=2)
    assert first[0] != again[0] and first[1] != again[1]
