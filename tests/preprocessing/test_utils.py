"""Tests of preprocessing_utils: channels, crops, flips and resizing."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf


def test_channels_that_are_known():
    for given, kept in ((1, 1), (2, 1), (3, 3), (4, 3)):
        image = noise_image(channels=given)
        (result,) = evaluate(lambda image=image: utils.with_known_channels(image))
        np.testing.assert_array_equal(result, image[:, :, :kept])


def test_channels_that_are_unknown_become_three():
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.placeholder(tf.uint8, None)
        result = utils.with_known_channels(image)
        assert result.shape.as_list() == [None, None, 3]
        for channels in (1, 3, 4):
            value = noise_image(channels=channels)
            expected = np.broadcast_to(value[:, :, :3], (40, 50, 3))
            np.testing.assert_array_equal(session.run(result, {image: value}), expected)


@pytest.mark.parametrize("shape", [(2, 40, 50, 3), (40, 50), (40, 50, 5), (40, 50, 0)])
def test_other_shapes_are_an_error_that_names_the_shape(shape):
    with pytest.raises(ValueError, match="1 to 4 channels") as error:
        utils.with_known_channels(np.zeros(shape, np.uint8))
    assert f"({', '.join(map(str, shape))})" in str(error.value)


def test_crop_is_a_slice_with_static_channels():
    image = noise_image()
    with tf.Graph().as_default(), tf.Session() as session:
        window = tf.placeholder(tf.int32, [4])
        cropped = utils.crop(tf.constant(image), window)
        assert cropped.shape.as_list() == [None, None, 3]
        result = session.run(cropped, {window: [3, 5, 20, 31]})
    np.testing.assert_array_equal(result, image[3:23, 5:36])


def test_half_of_the_images_are_mirrored():
    image = noise_image()
    results = evaluate(lambda: utils.random_flip(tf.constant(image)), times=400)
    mirrored = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    kept = sum(np.array_equal(result, image) for result in results)
    assert mirrored + kept == 400
    assert 150 < mirrored < 250  # five standard deviations


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("size", [(7, 9), (40, 50), (90, 70)])
def test_resizing_is_the_legacy_kernel_for_every_dtype(dtype, size):
    # (7, 9) takes the path of big integer images, (90, 70) that of small ones.
    image = noise_image()
    result, expected = evaluate(
        lambda: (
            utils.resize_bilinear(tf.constant(image.astype(dtype)), *size),
            tf.image.resize_bilinear(image[None].astype(np.float32), size)[0],
        )
    )[0]
    assert result.dtype == np.float32 and result.shape == (*size, 3)
    np.testing.assert_allclose(result, expected, atol=1e-4)
