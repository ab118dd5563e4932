"""Geometric operations: compared with Pillow's, and `affine` with Keras'."""

import math

import numpy as np
import pytest
from noise_images import evaluate, noise_image
from PIL import Image
from scipy import ndimage

from preprocessing import augmentations
from preprocessing.augment import geometry
from tf_slim_compat import tf


def transform_with_pillow(image, matrix, fill=geometry.FILL):
    return np.array(
        Image.fromarray(image).transform(
            image.shape[1::-1],
            Image.Transform.AFFINE,
            matrix,
            Image.Resampling.NEAREST,
            fillcolor=(fill,) * 3,
        )
    )


@pytest.mark.parametrize("amount", [0.0, 0.27, -0.27])
def test_equal_to_pillow(amount):
    image = noise_image(60, 71)
    functions = (
        geometry.shear_x,
        geometry.shear_y,
        geometry.translate_x,
        geometry.translate_y,
        geometry.rotate,
    )
    # No shift by half a pixel, which may be rounded either way.
    scales = (1, 1, 51, 51, 100)

    def build():
        raw = tf.placeholder_with_default(image, [None, None, 3])
        return [
            function(raw, tf.constant(amount * scale))
            for function, scale in zip(functions, scales, strict=True)
        ]

    expected = [
        transform_with_pillow(image, matrix)
        for matrix in (
            (1, amount, 0, 0, 1, 0),
            (1, 0, 0, amount, 1, 0),
            (1, 0, amount * 51, 0, 1, 0),
            (1, 0, 0, 0, 1, amount * 51),
        )
    ]
    rotated = Image.fromarray(image).rotate(amount * 100, fillcolor=(128,) * 3)
    expected.append(np.array(rotated))
    for result, wanted in zip(evaluate(build)[0], expected, strict=True):
        assert result.dtype == np.uint8
        # Pixels half way between two others may take either.
        assert (result != wanted).any(-1).mean() < 0.01


def test_bilinear_and_fill_modes():
    image = np.uint8([10, 20, 30, 41])[None, :, None].repeat(3, axis=0)
    shift = (1.0, 0.0, 1.5, 0.0, 1.0, 0.0)
    wanted = {
        "NEAREST": [25, 36, 41, 41],
        "REFLECT": [25, 36, 41, 36],
        "WRAP": [25, 36, None, 15],
    }
    results = evaluate(
        lambda: [
            geometry.transform(tf.constant(image), shift, "BILINEAR", mode)
            for mode in wanted
        ]
    )[0]
    for row, result in zip(wanted.values(), results, strict=True):
        for value, found in zip(row, result[1, :, 0], strict=True):
            assert value is None or value == found


def sample(text, image, count=40):
    """Returns the image augmented under several seeds."""
    augment = augmentations.parse(text)
    with tf.Graph().as_default(), tf.Session() as session:
        seed = tf.placeholder_with_default(np.int64([1, 0]), [2])
        result = augment(tf.constant(image), seed)
        return [session.run(result, {seed: [1, i]}) for i in range(count)]


def transform_as_keras(image, theta=0, tx=0, ty=0, shear=0, zx=1, zy=1):
    """Returns what `apply_affine_transform` of Keras 3 does, with x before y."""
    theta, shear = math.radians(theta), math.radians(shear)
    height, width = image.shape[:2]
    center = np.array([[1, 0, width / 2 - 0.5], [0, 1, height / 2 - 0.5], [0, 0, 1]])
    rotation = [
        [math.cos(theta), -math.sin(theta), 0],
        [math.sin(theta), math.cos(theta), 0],
        [0, 0, 1],
    ]
    shift = [[1, 0, tx], [0, 1, ty], [0, 0, 1]]
    sheared = [[1, -math.sin(shear), 0], [0, math.cos(shear), 0], [0, 0, 1]]
    zoom = np.diag([zx, zy, 1])
    matrix = np.linalg.multi_dot(
        [center, rotation, shift, sheared, zoom, np.linalg.inv(center)]
    )
    # scipy counts rows before columns.
    matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    channels = (
        ndimage.affine_transform(
            channel, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest"
        )
        for channel in np.moveaxis(image.astype(np.float32), -1, 0)
    )
    return np.stack(list(channels), -1)


def test_affine_composes_as_keras_does():
    smooth = np.array(Image.fromarray(noise_image(8, 9)).resize((50, 42)))
    values = {"theta": 25, "tx": 3.5, "ty": -5.25, "shear": 20, "zx": 1.2, "zy": 0.7}
    cases = [*({name: value} for name, value in values.items()), values]

    def build():
        results = []
        for options in cases:
            linear, shift = geometry._compose(
                tf.constant(math.radians(options.get("theta", 0))),
                (options.get("tx", 0), options.get("ty", 0)),
                tf.constant(math.radians(options.get("shear", 0))),
                (options.get("zx", 1), options.get("zy", 1)),
            )
            matrix = geometry._about_center(smooth, linear, shift)
            results.append(
                geometry.transform(tf.constant(smooth), matrix, "BILINEAR", "NEAREST")
            )
        return results

    for options, result in zip(cases, evaluate(build)[0], strict=True):
        wanted = transform_as_keras(smooth, **options)
        assert np.abs(result - wanted).max() <= 1, options


def test_rescale_is_explained(caplog):
    caplog.set_level("INFO")
    image = noise_image(6, 8)
    for result in sample("affine(rescale=1./255)", image, 2):
        assert np.array_equal(result, image)
    assert "has no effect: the preprocessing scales images" in caplog.text


def test_ranges_of_affine():
    image = np.zeros((41, 41, 1), np.uint8)
    image[20, 20] = 255
    found = [
        np.argwhere(result[..., 0] == 255)
        for result in sample("affine(width_shift_range=7)", image)
    ]
    columns = [int(places[0, 1]) - 20 for places in found]
    assert all(len(places) == 1 and places[0, 0] == 20 for places in found)
    assert min(columns) < -3 and max(columns) > 3 and max(map(abs, columns)) <= 6
    found = sample("affine(height_shift_range=[4, 9])", image)
    rows = {int(np.argwhere(result[..., 0] == 255)[0, 0]) - 20 for result in found}
    assert rows == {-9, -4, 4, 9}
    found = sample("affine(height_shift_range=0.1)", image)
    rows = [
        (result[..., 0] * np.arange(41)[:, None]).sum() / result.sum()
        for result in found
    ]
    assert 2 < np.abs(np.subtract(rows, 20)).max() <= 4.1 + 0.1
    square = np.zeros((41, 41, 1), np.uint8)
    square[10:31, 10:31] = 255
    areas = [
        (result == 255).sum() for result in sample("affine(zoom_range=0.5)", square)
    ]
    assert min(areas) < 21 * 21 < max(areas)
    corner = np.zeros((41, 41, 1), np.uint8)
    corner[:5, :9] = 255
    kinds = {
        result.tobytes()
        for result in sample("affine(horizontal_flip=True)|vertical_flip", corner)
    }
    flips = (corner, corner[::-1], corner[:, ::-1], corner[::-1, ::-1])
    assert kinds == {flip.tobytes() for flip in flips}
