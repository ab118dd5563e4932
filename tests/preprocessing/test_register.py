"""Preprocessing of one's own, registered by name."""

import types

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import preprocessing_factory, random_ops, vgg_preprocessing
from tf_slim_compat import tf


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Restores the registry afterwards."""
    families = dict(preprocessing_factory.FAMILIES)
    monkeypatch.setattr(preprocessing_factory, "FAMILIES", families)


def shift(image, height, width, is_training):
    """Crops the upper left; adds a random number in training."""
    image = tf.cast(image[:height, :width], tf.float32)
    if is_training:
        image += random_ops.uniform("shift", [], 1.0, 9.0)
    return image


def test_a_function():
    preprocessing_factory.register("shift", shift)
    assert "shift" in preprocessing_factory.list_names()
    image = noise_image()
    for use_grayscale in False, True:
        evaluation = preprocessing_factory.get_preprocessing(
            "shift", use_grayscale=use_grayscale
        )
        training = preprocessing_factory.get_preprocessing("shift", True, use_grayscale)
        seeded = [training.with_seed(seed) for seed in [(1, 2), (1, 2), (1, 3)]]
        fns = [evaluation, *seeded]
        results = evaluate(lambda fns=fns: [fn(image, 20, 30) for fn in fns])
        plain, first, again, other = results[0]
        assert plain.shape == (20, 30, 1 if use_grayscale else 3)
        if not use_grayscale:
            np.testing.assert_array_equal(plain, image[:20, :30])
        np.testing.assert_array_equal(first, again)
        shifts = [np.unique(np.round(r - plain, 3)).tolist() for r in (first, other)]
        assert [len(values) for values in shifts] == [1, 1] and shifts[0] != shifts[1]


def test_a_function_has_no_window():
    preprocessing_factory.register("shift", shift)
    fn = preprocessing_factory.get_preprocessing("shift")
    assert fn.crop_window(tf.constant([40, 50, 3]), 20, 30) is None
    image = noise_image()
    (result,) = evaluate(lambda: fn.finish(image, 20, 30))
    np.testing.assert_array_equal(result, image[:20, :30])


def test_a_function_with_augmentations():
    preprocessing_factory.register("shift", shift)
    fn = preprocessing_factory.get_preprocessing("shift", True, augment="flip_lr")
    image = np.stack([np.arange(8, dtype=np.uint8)] * 8)[..., None]
    results = evaluate(lambda: fn(tf.constant(image), 8, 8), times=40)
    slopes = {float(r[0, 1, 0] - r[0, 0, 0]) for r in results}
    assert {round(slope) for slope in slopes} == {1, -1}


def test_a_module():
    preprocessing_factory.register("my_vgg", vgg_preprocessing)
    own = preprocessing_factory.get_preprocessing("my_vgg", True).with_seed((1, 2))
    known = preprocessing_factory.get_preprocessing("vgg", True).with_seed((1, 2))
    image = noise_image(60, 70)

    def build():
        shape = tf.constant([60, 70, 3])
        return [
            result
            for fn in (own, known)
            for result in (fn(image, 32, 32), fn.crop_window(shape, 32, 32))
        ]

    image_own, window_own, image_known, window_known = evaluate(build)[0]
    np.testing.assert_array_equal(image_own, image_known)
    np.testing.assert_array_equal(window_own, window_known)


def test_an_object_with_preprocess_image():
    functions = types.SimpleNamespace(
        preprocess_image=lambda image, height, width, **options: tf.zeros([1, 1, 1])
    )
    preprocessing_factory.register("zeros", functions)
    fn = preprocessing_factory.get_preprocessing("zeros")
    assert evaluate(lambda: fn(noise_image(), 1, 1))[0].tolist() == [[[0]]]


def test_a_registered_name_comes_before_patterns():
    preprocessing_factory.register("resnet_mine", shift)
    assert preprocessing_factory.get_family("resnet_mine") == "resnet_mine"
    assert preprocessing_factory.get_family("resnet_other") == "vgg"


def test_what_cannot_be_registered():
    with pytest.raises(ValueError, match="already a preprocessing 'vgg'"):
        preprocessing_factory.register("vgg", shift)
    with pytest.raises(ValueError, match="'x' is 7: register a function"):
        preprocessing_factory.register("x", 7)
