"""Random erasing: how often, how much, in what shape, with what."""

import numpy as np
import pytest

from preprocessing import augmentations
from tf_slim_compat import tf


def erase_many(text, shape, count=200):
    """Returns masks of what was erased from a gray image, and the values there."""
    image = np.full(shape, 128, np.uint8)
    augment = augmentations.parse(text)
    with tf.Graph().as_default(), tf.Session() as session:
        seed = tf.placeholder_with_default(np.int64([5, 0]), [2])
        result = augment(
            tf.placeholder_with_default(image, [None, None, shape[2]]), seed
        )
        found = [session.run(result, {seed: [5, i]}) for i in range(count)]
    masks = [(result != 128).any(-1) for result in found]
    values = [result[mask] for result, mask in zip(found, masks, strict=True)]
    return masks, np.concatenate(values)


@pytest.mark.parametrize("channels", [1, 3])
def test_rectangles_are_those_of_the_paper(channels):
    shape = (60, 90, channels)
    masks, values = erase_many("erase(0.4)", shape)
    boxes = []
    for mask in filter(np.any, masks):
        (top, left), (bottom, right) = (
            np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1,
        )  # fmt: skip
        # Noise may have the value of the background.
        assert mask[top:bottom, left:right].mean() > 0.97
        boxes.append((top, left, bottom, right))
    assert 55 < len(boxes) < 105
    top, left, bottom, right = np.array(boxes).T
    areas = (bottom - top) * (right - left) / (60 * 90)
    ratios = (bottom - top) / (right - left)
    assert areas.min() > 0.015 and 0.25 < areas.max() < 0.42
    assert 0.25 < ratios.min() < 0.6 and 1.5 < ratios.max() < 3.8
    assert top.min() < 6 and bottom.max() > 54 and left.min() < 9 and right.max() > 81
    assert values.min() == 0 and values.max() == 255 and 120 < values.mean() < 136


def test_what_does_not_fit_is_not_erased():
    masks, _ = erase_many("erase(1, 1, 1)", (9, 9, 1), 5)
    assert not np.any(masks)
    masks, _ = erase_many("erase(0)", (9, 9, 1), 20)
    assert not np.any(masks)
