"""Tests of vgg_preprocessing beyond those over all families."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import preprocessing_factory
from preprocessing import vgg_preprocessing as vgg
from tf_slim_compat import tf

MEAN = np.array([123.68, 116.78, 103.94], np.float32)


def sample_windows(shape, *arguments, times=400):
    return np.array(
        evaluate(lambda: vgg.random_window(tf.constant(shape), *arguments), times)
    ).T


def test_windows_have_the_sizes_that_resizing_first_reads():
    y, x, h, w = sample_windows([512, 1024, 3], 224, 192, 256, 512)
    # The smaller side, 512, is resized to 256 to 512: 448 to 224 pixels are read.
    assert h.min() >= 224 and h.max() <= 448
    assert h.min() < 240 and h.max() > 430
    assert np.all(np.abs(w - h * 192 / 224) <= 1)
    for begin, size, side in ((y, h, 512), (x, w, 1024)):
        assert np.all((begin >= 0) & (begin + size <= side))
        place = begin / (side - size)
        assert place.min() < 0.02 and place.max() > 0.98
        assert abs(place.mean() - 0.5) < 0.08


def test_the_resized_side_is_uniform():
    _, _, h, _ = sample_windows([4096, 4096, 3], 256, 256, 256, 512, times=1000)
    sides = 4096 * 256 / h
    assert sides.min() > 255.9 and sides.max() < 512.1
    assert abs(sides.mean() - 384) < 12  # five standard deviations
    assert abs(sides.std() - 74.2) < 6


def test_a_window_is_what_resizing_first_and_cropping_gives():
    # 128 resized to 256 and cropped by 64 is a window of exactly 32.
    image = noise_image(128, 160)

    def build():
        y, x, h, w = tf.unstack(
            vgg.crop_window(tf.constant(image.shape), 64, 64, is_training=True)
        )
        window = tf.image.crop_to_bounding_box(image, y, x, h, w)
        result = vgg.finish(window, 64, 64, is_training=True)
        resized = tf.image.resize_bilinear(image[None].astype(np.float32), [256, 320])
        return result, resized[0, 2 * y : 2 * y + 64, 2 * x : 2 * x + 64] - MEAN

    original = vgg.RESIZE_SIDE_MAX
    vgg.RESIZE_SIDE_MAX = 256
    try:
        results = evaluate(build, times=10)
    finally:
        vgg.RESIZE_SIDE_MAX = original
    for result, expected in results:
        # The last row and column are between two pixels, one of which is cut off.
        inner = expected[:-1, :-1]
        matches = [
            np.allclose(inner, candidate, atol=1e-3)
            for candidate in (result[:-1, :-1], result[:-1, :0:-1])
        ]
        assert any(matches)


@pytest.mark.parametrize("size", [(300, 299), (20, 530), (600, 600)])
@pytest.mark.parametrize("is_training", [True, False])
def test_outputs_larger_than_the_resized_side(size, is_training):
    image = noise_image(90, 100)
    (result,) = evaluate(lambda: vgg.preprocess_image(image, *size, is_training))
    assert result.shape == (*size, 3)


@pytest.mark.parametrize("is_training", [True, False])
def test_values_keep_their_scale(is_training):
    image = noise_image(64, 80)
    for result in evaluate(lambda: vgg.preprocess_image(image, 32, 32, is_training), 5):
        assert np.all(result >= -MEAN - 1e-3) and np.all(result <= 255 - MEAN + 1e-3)
        assert abs(result.mean()) < 30 and result.std() > 20


def test_a_gray_image_is_repeated():
    image = noise_image(64, 80, 1)
    (result,) = evaluate(lambda: vgg.preprocess_image(image, 32, 32))
    values = result + MEAN
    np.testing.assert_allclose(values[..., 0], values[..., 1], atol=1e-4)
    np.testing.assert_allclose(values[..., 0], values[..., 2], atol=1e-4)


def test_the_training_window_needs_the_size_and_evaluation_has_none():
    shape = tf.constant([300, 300, 3])
    train = preprocessing_factory.get_preprocessing("vgg", is_training=True)
    with pytest.raises(ValueError, match="output_height is None"):
        train.crop_window(shape)
    evaluate = preprocessing_factory.get_preprocessing("vgg")
    assert evaluate.crop_window(shape) is None
    assert evaluate.crop_window(shape, 224, 224) is None


def test_functions_that_users_code_calls():
    image = noise_image(20, 30)

    def build():
        resized = vgg._aspect_preserving_resize(image, 10)
        central = vgg._central_crop([resized, resized[..., :1]], 8, 12)
        both = tf.concat([image.astype(np.float32)] * 2, 2)
        cropped = vgg._random_crop([both[..., :3], both[..., 3:]], 5, 6)
        means = [vgg._R_MEAN, vgg._G_MEAN, vgg._B_MEAN]
        return resized, central, cropped, vgg._mean_image_subtraction(image, means)

    resized, central, cropped, centered = evaluate(build)[0]
    assert resized.shape == (10, 15, 3)
    np.testing.assert_array_equal(central[0], resized[1:9, 1:13])
    np.testing.assert_array_equal(central[1], resized[1:9, 1:13, :1])
    assert cropped[0].shape == (5, 6, 3)
    np.testing.assert_array_equal(*cropped)
    np.testing.assert_allclose(centered, image - MEAN, atol=1e-4)
    with pytest.raises(ValueError, match="as many channels as there are means, 2"):
        vgg._mean_image_subtraction(tf.zeros([4, 4, 3]), [1, 2])
    with pytest.raises(ValueError, match="no images to crop"):
        vgg._random_crop([], 5, 6)
