"""RandAugment, TrivialAugment and AugMix: their tables and how they sample."""

import functools

import numpy as np
import pytest
from noise_images import noise_image
from PIL import Image, ImageEnhance, ImageOps

from preprocessing import augmentations
from preprocessing.augment import policies
from tf_slim_compat import tf

GRAY = (128, 128, 128)


def _affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=GRAY)


def _enhance(kind):
    return lambda image, change: kind(image).enhance(1 + change)


# The operations of all policies, in the order of RandAugment's table.
WITH_PILLOW = (
    lambda image, _: image,
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, degrees: image.rotate(degrees, fillcolor=GRAY),
    lambda image, count: ImageOps.solarize(image, 256 - int(count)),
    lambda image, dropped: ImageOps.posterize(image, 8 - int(dropped)),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image, amount: _affine(image, 1, amount, 0, 0, 1, 0),
    lambda image, amount: _affine(image, 1, 0, 0, amount, 1, 0),
    lambda image, pixels: _affine(image, 1, 0, pixels, 0, 1, 0),
    lambda image, pixels: _affine(image, 1, 0, 0, 0, 1, pixels),
)
WIDTH, HEIGHT = 71, 53
# The amounts at strength 0.9, and which of them have a random sign.
RANDAUGMENT = (
    *(None, None, None, 27, 230.4, 3.6),
    *([0.81] * 4),
    *(0.27, 0.27, 0.9 * 150 / 331 * WIDTH, 0.9 * 150 / 331 * HEIGHT),
)
TRIVIALAUGMENT = (
    *(None, None, None, 121.5, 230.4, 5.4),
    *([0.891] * 4),
    *(0.891, 0.891, 28.8, 28.8),
)
UNSIGNED = (0, 1, 2, 4, 5)
# Places in `WITH_PILLOW` and amounts at strength 0.25.
AUGMIX = {
    1: None,
    2: None,
    5: 5,
    3: 7,
    4: 64,
    10: 0.075,
    11: 0.075,
    12: int(WIDTH / 12),
    13: int(HEIGHT / 12),
}


def apply(operations, image, strengths):
    """Returns for each strength the results of all operations with both signs."""
    with tf.Graph().as_default(), tf.Session() as session:
        raw = tf.placeholder_with_default(image, [None, None, 3])
        strength = tf.placeholder(tf.float32, [])
        results = [
            operation.apply(raw, strength, sign)
            for operation in operations
            for sign in (-1.0, 1.0)
        ]
        return [session.run(results, {strength: value}) for value in strengths]


@pytest.mark.parametrize(
    ("operations", "strength", "places", "amounts"),
    [
        (policies.RANDAUGMENT, 0.9, range(14), RANDAUGMENT),
        (policies.TRIVIALAUGMENT, 0.9, range(14), TRIVIALAUGMENT),
        (policies.AUGMIX, 0.25, AUGMIX, AUGMIX.values()),
    ],
)
def test_tables_are_those_of_the_papers(operations, strength, places, amounts):
    image = noise_image(HEIGHT, WIDTH)
    results = iter(apply(operations, image, [strength])[0])
    assert len(operations) == len(places)
    for place, amount in zip(places, amounts, strict=True):
        for sign in (-1, 1):
            signed = amount if place in UNSIGNED else amount * sign
            wanted = np.array(WITH_PILLOW[place](Image.fromarray(image), signed), int)
            difference = np.abs(next(results).astype(int) - wanted)
            # One unit for rounding, 1 % of the pixels where the nearest is a tie.
            assert (difference > 1).any(-1).mean() < 0.01, (place, sign)


@functools.cache
def run_many(text, count=300):
    """Returns the results of a policy on one image under several seeds."""
    image = noise_image(24, 24)
    augment = augmentations.parse(text)
    with tf.Graph().as_default(), tf.Session() as session:
        seed = tf.placeholder_with_default(np.int64([5, 0]), [2])
        result = augment(tf.constant(image), seed)
        assert result.shape[-1] == 3 and result.dtype == tf.uint8
        return image, [session.run(result, {seed: [5, i]}) for i in range(count)]


def test_every_operation_is_chosen_equally_often():
    image, results = run_many("randaugment(1, 9)")
    alone = [
        result.tobytes() for result in apply(policies.RANDAUGMENT, image, [0.9])[0]
    ]
    counts = np.zeros(14)
    for result in results:
        counts[alone.index(result.tobytes()) // 2] += 1
    assert counts.min() >= 8 and counts.max() <= 40


def test_two_operations_follow_each_other():
    _, once = run_many("randaugment(1, 9)")
    _, twice = run_many("randaugment(2, 9)")
    assert len({r.tobytes() for r in once}) <= 2 * 14
    assert len({r.tobytes() for r in twice}) > 100


def test_trivialaugment_samples_the_strength():
    image, results = run_many("trivialaugment")
    alone = {
        result.tobytes()
        for level in apply(policies.TRIVIALAUGMENT, image, np.float32(range(31)) / 30)
        for result in level
    }
    assert {result.tobytes() for result in results[:60]} <= alone
    assert len({result.tobytes() for result in results}) > 100


def test_augmix_mixes():
    image, results = run_many("augmix", 100)
    assert len({result.tobytes() for result in results}) == 100
    distances = [np.abs(result - image.astype(float)).mean() for result in results]
    # Weights from nearly 0 to nearly 1.
    assert min(distances) < 8 and max(distances) > 30
    _, mild = run_many("augmix(severity=0.1, width=1, depth=1, alpha=2)", 20)
    assert np.median([np.abs(r - image.astype(float)).mean() for r in mild]) < 30


def test_strength_0_changes_nothing():
    image, results = run_many("randaugment(1, 0)")
    same = sum(np.abs(result.astype(int) - image).max() <= 1 for result in results)
    # All but autocontrast and equalize.
    assert same > 0.75 * len(results)
