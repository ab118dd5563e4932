"""Tests of inception_preprocessing beyond those over all families."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import inception_preprocessing as inception
from tf_slim_compat import tf


def test_windows_keep_area_and_aspect_ratio():
    height, width = 300, 400
    windows = np.array(
        evaluate(
            lambda: inception.random_window(tf.constant([height, width, 3]))[0], 500
        )
    )
    y, x, h, w = windows.T
    assert np.all((y >= 0) & (x >= 0) & (y + h <= height) & (x + w <= width))
    area = h * w / (height * width)
    # The whole image is the object, of which a tenth must be covered.
    assert area.min() > 0.09 and area.max() <= 1.0
    assert area.min() < 0.2 and area.max() > 0.8
    ratio = w / h
    assert ratio.min() > 0.73 and ratio.max() < 1.36
    assert ratio.min() < 0.85 and ratio.max() > 1.2
    # All positions are sampled: the mean of the centers is the center of the image.
    assert abs(np.mean(y + h / 2) / height - 0.5) < 0.05
    assert abs(np.mean(x + w / 2) / width - 0.5) < 0.05


def test_windows_cover_a_part_of_the_box():
    bbox = np.array([[[0.8, 0.8, 1.0, 1.0]]], np.float32)
    image = noise_image(100, 100)
    results = evaluate(
        lambda: inception.distorted_bounding_box_crop(
            tf.constant(image), tf.constant(bbox), min_object_covered=0.5
        ),
        times=100,
    )
    for cropped, box in results:
        assert box.shape == (1, 1, 4)
        top, left, bottom, right = np.round(box[0, 0] * 100).astype(int)
        np.testing.assert_array_equal(cropped, image[top:bottom, left:right])
        covered = max(bottom - max(top, 80), 0) * max(right - max(left, 80), 0)
        assert covered / 400 >= 0.45


@pytest.mark.parametrize("fraction", [0.875, 0.5, 1.0])
def test_the_central_window_is_that_of_central_crop(fraction):
    with tf.Graph().as_default(), tf.Session() as session:
        shape = tf.placeholder(tf.int32, [3])
        window = inception.central_window(shape, fraction)
        cropped = tf.shape(tf.image.central_crop(tf.zeros(shape), fraction))
        for side in range(1, 80):
            feed = {shape: [side, 2 * side + 1, 3]}
            (y, x, h, w), expected = session.run([window, cropped], feed)
            assert [h, w] == expected[:2].tolist()
            assert [side - h - y, 2 * side + 1 - w - x] == [y, x]


def test_selector_runs_each_case_about_equally_often():
    results = evaluate(
        lambda: inception.apply_with_random_selector(
            tf.constant(10), lambda x, case: x + case, num_cases=4
        ),
        times=400,
    )
    counts = np.bincount(np.array(results) - 10, minlength=4)
    assert len(counts) == 4 and counts.min() > 60


def test_selector_of_one_case_samples_nothing():
    with tf.Graph().as_default() as graph:
        inception.apply_with_random_selector(tf.constant(1), lambda x, case: x, 1)
        assert len(graph.get_operations()) == 1


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_color_ordering_stays_in_range_and_differs(fast_mode, channels):
    image = (noise_image(channels=channels) / 255.0).astype(np.float32)
    for ordering in range(4):
        first, second = evaluate(
            lambda ordering=ordering: inception.distort_color(
                tf.constant(image), ordering, fast_mode
            ),
            times=2,
        )
        assert first.shape == image.shape and first.dtype == np.float32
        assert first.min() >= 0.0 and first.max() <= 1.0
        assert not np.array_equal(first, second)


@pytest.mark.parametrize("ordering", [-1, 4])
def test_an_unknown_color_ordering_is_an_error(ordering):
    with pytest.raises(ValueError, match=f"0 to 3, but is {ordering}"):
        inception.distort_color(tf.zeros([2, 2, 3]), ordering)


@pytest.mark.parametrize("ordering", [0, 1])
def test_the_ordering_decides_what_comes_first(ordering):
    # Grey shows the brightness, a pale pixel the saturation. The saturation of a full
    # color cannot rise, unless brightness has made it paler before.
    gray, pale, full = (0.5, 0.5, 0.5), (0.4, 0.5, 0.5), (0.0, 0.5, 0.8)
    image = np.array([[gray, pale, full]], np.float32)
    checked = 0
    results = evaluate(
        lambda: inception.distort_color(tf.constant(image), ordering), 60
    )
    for gray, pale, full in (result[0] for result in results):
        brightness = gray[0] - 0.5
        factor = (pale[1] - pale[0]) / 0.1
        if brightness > 0.01 and factor > 1.02:
            checked += 1
            is_raised = full[0] < brightness - 1e-4
            assert is_raised == (ordering == 0)
    assert checked >= 5


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("random_crop", [True, False])
def test_training_images_are_in_range(fast_mode, random_crop):
    image = noise_image(60, 70)
    results = evaluate(
        lambda: inception.preprocess_for_train(
            tf.constant(image), 48, 32, None, fast_mode, random_crop=random_crop
        ),
        times=20,
    )
    for result in results:
        assert result.shape == (48, 32, 3)
        assert result.min() >= -1.0 and result.max() <= 1.0
    assert np.max(results) > 0.5 and np.min(results) < -0.5


@pytest.mark.parametrize(("fast_mode", "expected"), [(True, {1, 2}), (False, {4})])
def test_training_chooses_among_all_resize_methods_and_color_orderings(
    monkeypatch, fast_mode, expected
):
    nums = set()
    apply = inception.apply_with_random_selector

    def record(x, fn, num_cases):
        nums.add(num_cases)
        return apply(x, fn, num_cases)

    monkeypatch.setattr(inception, "apply_with_random_selector", record)
    with tf.Graph().as_default():
        inception.preprocess_for_train(
            noise_image(40, 40), 16, 16, None, fast_mode=fast_mode
        )
    assert nums == expected


def test_training_brightness_is_spread_around_the_image():
    image = np.full((40, 40, 3), 128, np.uint8)
    results = evaluate(
        lambda: inception.preprocess_image(tf.constant(image), 8, 8, True), times=200
    )
    means = np.array([result.mean() for result in results])
    middle, reach = 2 * 128 / 255 - 1, 2 * 32 / 255
    assert np.all(np.abs(means - middle) <= reach + 1e-5)
    assert means.min() < middle - 0.8 * reach and means.max() > middle + 0.8 * reach


def test_evaluation_without_a_size_or_a_crop():
    image = noise_image(40, 56)
    whole, central, cropped = evaluate(
        lambda: (
            inception.preprocess_for_eval(image, None, None, central_crop=False),
            inception.preprocess_for_eval(image, None, None),
            inception.preprocess_image(image, 40, 56, crop_image=False),
        )
    )[0]
    expected = image / 127.5 - 1
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    np.testing.assert_allclose(cropped, expected, atol=1e-6)
    np.testing.assert_allclose(central, expected[2:38, 3:53], atol=1e-6)


def test_summaries_are_added_unless_they_are_not_wanted():
    for wanted in (True, False):
        with tf.Graph().as_default():
            inception.preprocess_image(
                noise_image(), 32, 32, is_training=True, add_image_summaries=wanted
            )
            assert bool(tf.get_collection(tf.GraphKeys.SUMMARIES)) == wanted
