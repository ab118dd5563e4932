"""Tests of cifarnet_preprocessing beyond those over all families."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import cifarnet_preprocessing as cifarnet
from tf_slim_compat import tf


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("use_grayscale", [True, False])
def test_images_are_standardized(is_training, use_grayscale):
    results = evaluate(
        lambda: cifarnet.preprocess_image(
            tf.constant(noise_image(32, 32)),
            32,
            32,
            is_training,
            use_grayscale=use_grayscale,
        ),
        times=5,
    )
    for result in results:
        assert result.shape == (32, 32, 1 if use_grayscale else 3)
        assert abs(result.mean()) < 1e-4
        assert abs(result.std() - 1) < 1e-3


def test_training_windows_reach_into_the_padding_and_no_further():
    # One bright pixel in the middle shows where the window was cut.
    image = np.zeros((32, 32, 1), np.uint8)
    image[16, 16] = 255
    results = evaluate(
        lambda: cifarnet.preprocess_for_train(tf.constant(image), 32, 32), times=300
    )
    places = [np.unravel_index(np.argmax(r[..., 0]), (32, 32)) for r in results]
    rows, columns = np.array(places).T
    assert set(rows) == set(range(12, 21))
    assert set(columns) <= set(range(11, 21)) and len(set(columns)) >= 9


def test_padding_is_an_argument():
    image = noise_image(32, 32, 1)
    results = evaluate(
        lambda: cifarnet.preprocess_for_train(tf.constant(image), 32, 32, padding=0),
        times=10,
    )
    # Without padding only mirror, brightness and contrast are left, which the
    # standardisation undoes.
    (expected,) = evaluate(lambda: cifarnet.preprocess_for_eval(image, 32, 32))
    for result in results:
        assert any(
            np.allclose(result, candidate, atol=1e-3)
            for candidate in (expected, expected[:, ::-1])
        )


def test_a_image_of_one_color_is_zero():
    image = np.full((32, 32, 3), 77, np.uint8)
    (result,) = evaluate(lambda: cifarnet.preprocess_for_eval(image, 32, 32))
    np.testing.assert_allclose(result, 0, atol=1e-3)


def test_summaries_are_added_unless_they_are_not_wanted():
    for is_training in (True, False):
        for wanted in (True, False):
            with tf.Graph().as_default():
                cifarnet.preprocess_image(
                    noise_image(), 32, 32, is_training, add_image_summaries=wanted
                )
                assert bool(tf.get_collection(tf.GraphKeys.SUMMARIES)) == wanted
