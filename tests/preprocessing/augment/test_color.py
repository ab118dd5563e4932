"""Color operations: equal to Pillow's up to one unit, for rounding."""

import functools

import numpy as np
import pytest
from noise_images import evaluate, noise_image
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from preprocessing.augment import color
from tf_slim_compat import tf

FACTORS = (0.0, 0.55, 1.0, 1.9)
OPERATIONS = {
    "brightness": (
        color.enhance_brightness,
        FACTORS,
        lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    ),
    "contrast": (
        color.enhance_contrast,
        FACTORS,
        lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    ),
    "color": (
        color.enhance_color,
        FACTORS,
        lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    ),
    "sharpness": (
        color.enhance_sharpness,
        FACTORS,
        lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    ),
    "posterize": (
        color.posterize,
        (0, 1, 3.6, 4, 7),
        lambda image, dropped: ImageOps.posterize(image, 8 - int(dropped)),
    ),
    "solarize": (
        color.solarize,
        (0, 1, 100.7, 230, 256),
        lambda image, count: ImageOps.solarize(image, 256 - int(count)),
    ),
    "autocontrast": (
        lambda image, _: color.autocontrast(image),
        (None,),
        lambda image, _: ImageOps.autocontrast(image),
    ),
    "equalize": (
        lambda image, _: color.equalize(image),
        (None,),
        lambda image, _: ImageOps.equalize(image),
    ),
    "gray": (
        lambda image, _: color.to_gray(image),
        (None,),
        lambda image, _: ImageOps.grayscale(image).convert(image.mode),
    ),
}


@functools.cache
def make_images():
    """Returns images of several kinds: noise, dull, of few values, of one color."""
    noise = noise_image(40, 50)
    ramp = np.arange(60, 110, dtype=np.uint8)[None, :, None] // np.uint8([1, 2, 3])
    dull = np.repeat(ramp, 40, axis=0)
    two = np.where(noise < 100, 20, 240).astype(np.uint8)
    images = [noise, noise // 3 + 50, dull, two, np.full((9, 8, 3), 77, np.uint8)]
    return [*images, noise[:, :, :1], dull[:, :, :1], noise[:1, :2]]


def to_pillow(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


@pytest.mark.parametrize("name", OPERATIONS)
def test_equal_to_pillow(name):
    function, amounts, expected = OPERATIONS[name]
    cases = [(image, amount) for image in make_images() for amount in amounts]

    def build():
        results = []
        for image, amount in cases:
            raw = tf.placeholder_with_default(image, [None, None, image.shape[-1]])
            if amount is not None:
                amount = tf.placeholder_with_default(np.float32(amount), [])
            results.append(function(raw, amount))
        return results

    for (image, amount), result in zip(cases, evaluate(build)[0], strict=True):
        assert result.dtype == np.uint8 and result.shape == image.shape
        wanted = np.array(expected(to_pillow(image), amount)).reshape(image.shape)
        difference = np.abs(result.astype(int) - wanted)
        exact = name in ("posterize", "solarize", "equalize")
        assert difference.max() <= (0 if exact else 1), (name, amount, image.shape)
        # Products that are whole numbers may lie just below them. Pillow rounds the
        # grayscale image before it blends.
        most = 0.5 if name == "color" else 0.03
        assert (difference > 0).mean() < most, (name, amount, image.shape)


def test_hue_goes_around_the_circle():
    red = np.full((2, 2, 3), (200, 20, 20), np.uint8)
    gray = np.full((2, 2, 1), 99, np.uint8)
    green, blue, same = evaluate(
        lambda: [
            color.shift_hue(tf.constant(red), 1 / 3),
            color.shift_hue(tf.constant(red), -1 / 3),
            color.shift_hue(tf.constant(gray), 0.2),
        ]
    )[0]
    assert np.abs(green[0, 0].astype(int) - (20, 200, 20)).max() <= 1
    assert np.abs(blue[0, 0].astype(int) - (20, 20, 200)).max() <= 1
    assert np.array_equal(same, gray)


def test_blur_is_gaussian():
    image = noise_image(30, 41)
    sigmas = (0.1, 0.8, 2.0)
    results = evaluate(
        lambda: [color.smooth(tf.constant(image), sigma) for sigma in sigmas]
    )[0]
    for sigma, result in zip(sigmas, results, strict=True):
        radius = int(np.ceil(3 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
        margins = ((radius, radius), (radius, radius), (0, 0))
        wanted = np.pad(image.astype(float), margins, mode="edge")
        for axis in (0, 1):
            wanted = np.apply_along_axis(np.convolve, axis, wanted, kernel, "valid")
        assert np.abs(result - wanted).max() < 0.51
    # Pillow approximates the kernel by boxes, and treats borders differently.
    wanted = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)), int)
    assert np.abs(results[-1] - wanted)[6:-6, 6:-6].max() <= 3
