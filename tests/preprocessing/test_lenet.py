"""Tests of lenet_preprocessing beyond those over all families."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import lenet_preprocessing as lenet


@pytest.mark.parametrize("is_training", [True, False])
def test_values_are_shifted_and_scaled(is_training):
    image = noise_image(28, 28, 1)
    (result,) = evaluate(lambda: lenet.preprocess_image(image, 28, 28, is_training))
    np.testing.assert_array_equal(result, (image - np.float32(128)) / 128)


def test_the_center_is_cut_and_small_images_are_padded_with_black():
    image = noise_image(40, 20, 1)
    (result,) = evaluate(lambda: lenet.preprocess_image(image, 28, 28, False))
    expected = np.full((28, 28, 1), -1, np.float32)
    expected[:, 4:24] = (image[6:34] - np.float32(128)) / 128
    np.testing.assert_array_equal(result, expected)


def test_grayscale():
    image = noise_image(28, 28)
    (result,) = evaluate(lambda: lenet.preprocess_image(image, 28, 28, False, True))
    expected = (image @ np.array([[0.2989], [0.5870], [0.1140]]) - 128) / 128
    np.testing.assert_allclose(result, expected, atol=1e-5)
