"""The window and letterbox: which part of an image is used, and how it is fitted."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import augmentations, preprocessing_factory
from preprocessing import preprocessing_utils as utils
from preprocessing.augment import framing
from tf_slim_compat import tf

FAMILIES = ["cifarnet", "inception", "lenet", "vgg"]
GRAY = framing.FILL


def sample_windows(text, height, width, count=300):
    augment = augmentations.parse(text)
    with tf.Graph().as_default(), tf.Session() as session:
        seed = tf.placeholder_with_default(np.int64([3, 0]), [2])
        window = augment.sample_window(tf.constant([height, width, 3]), seed)
        return np.array([session.run(window, {seed: [3, i]}) for i in range(count)]).T


def test_windows_are_uniform_in_area():
    y, x, height, width = sample_windows("random_resized_crop(0.25, 0.75)", 200, 300)
    areas = height * width / (200 * 300)
    ratios = width / height
    assert 0.245 < areas.min() < 0.28 and 0.7 < areas.max() < 0.755
    # Large windows do not fit as often as small ones.
    assert 0.43 < areas.mean() < 0.53
    assert 0.74 < ratios.min() < 0.8 and 1.26 < ratios.max() < 1.35
    assert y.min() == 0 and x.min() == 0
    assert (y + height).max() == 200 and (x + width).max() == 300


def test_the_largest_central_window_where_none_fits():
    y, x, height, width = sample_windows("random_resized_crop(1, 1)", 100, 400, 3)
    assert set(height) == {100} and set(width) == {133} and set(y) == {0}
    assert set(x) == {(400 - 133) // 2}
    y, x, height, width = sample_windows(
        "random_resized_crop(1, 1, ratio=(1, 1))", 90, 30, 3
    )
    assert set(height) == {30} and set(y) == {30} and set(x) == {0}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_window_replaces_the_distortions_of_the_family(family):
    image = np.zeros((60, 90, 3), np.uint8)
    image[..., 0] = np.arange(90)
    image[..., 1] = np.arange(60)[:, None]
    fn = preprocessing_factory.get_preprocessing(
        family, True, augment="random_resized_crop(0.1, 0.2)"
    ).with_seed((1, 5))
    plain = preprocessing_factory.get_preprocessing(family, False)

    def build():
        window = fn.crop_window(tf.shape(image), 32, 32)
        cropped = utils.crop(tf.constant(image), window)
        fitted = framing.stretch(cropped, 32, 32)
        convert = getattr(plain._module, "convert", None)
        expected = (
            plain._call("convert", fitted, 32, 32)
            if convert
            else plain.finish(fitted, 32, 32)
        )
        return fn(image, 32, 32), fn.finish(cropped, 32, 32), expected, window

    whole, cropped, expected, window = evaluate(build)[0]
    assert whole.shape == (32, 32, 3) and 500 < window[2] * window[3] < 1200
    np.testing.assert_array_equal(whole, cropped)
    np.testing.assert_array_equal(whole, expected)


def scale_back(family, values):
    """Returns the values that a family has made in evaluation, from 0 to 255."""
    if family == "vgg":
        return values + (123.68, 116.779, 103.939)
    return (values + 1) * 127.5 if family == "inception" else values * 128 + 128


@pytest.mark.parametrize("family", ["inception", "lenet", "vgg"])
@pytest.mark.parametrize("shape", [(30, 120), (120, 30), (64, 64), (7, 500)])
def test_letterbox_keeps_the_whole_image(family, shape):
    image = np.full((*shape, 3), 250, np.uint8)
    image[: shape[0] // 2, : shape[1] // 2] = 5
    fn = preprocessing_factory.get_preprocessing(f"letterbox+{family}")
    result = scale_back(family, evaluate(lambda: fn(image, 64, 48))[0])
    assert result.shape == (64, 48, 3)
    scale = min(64 / shape[0], 48 / shape[1])
    height, width = (max(1, int(side * scale + 0.5)) for side in shape)
    top, left = (64 - height) // 2, (48 - width) // 2
    inside = np.zeros((64, 48), bool)
    inside[top : top + height, left : left + width] = True
    np.testing.assert_allclose(result[~inside], GRAY, atol=0.6)
    assert abs(result[top, left] - 5).max() < 0.6
    bottom = result[top + height - 1, left + width - 1]
    assert height == 1 or abs(bottom - 250).max() < 0.6


def test_letterbox_of_cifarnet_standardizes_the_padded_image():
    image = noise_image(20, 60)
    fn = preprocessing_factory.get_preprocessing("letterbox+cifarnet")
    result, fitted = evaluate(
        lambda: [fn(image, 32, 32), framing.letterbox(tf.constant(image), 32, 32)]
    )[0]
    wanted = (fitted - fitted.mean()) / fitted.std()
    np.testing.assert_allclose(result, wanted, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_letterbox_in_training(family):
    """The whole image, or the window that the augmentations choose, is fitted."""
    image = np.full((30, 90, 3), 200, np.uint8)
    whole = preprocessing_factory.get_preprocessing(family, True, augment="letterbox")
    assert whole.letterbox and whole == preprocessing_factory.get_preprocessing(
        f"letterbox+{family}", True, augment="letterbox"
    )
    assert whole.crop_window(tf.constant([30, 90, 3]), 32, 32) is None
    window = preprocessing_factory.get_preprocessing(
        family, True, augment="letterbox|random_resized_crop(0.1, 0.2)|erase(0)"
    )
    results = evaluate(
        lambda: [fn.with_seed((1, 2))(image, 32, 32) for fn in (whole, window)]
    )[0]
    # Cropped windows leave less to fill than the wide image.
    filled = [(result == result[0, 0]).all(-1).mean() for result in results]
    assert 0.6 < filled[0] < 0.7 and filled[1] < 0.4


def test_names_with_letterbox():
    get = preprocessing_factory.get_full_name
    assert get("vgg") == get("vgg", "flip|erase(1)") == "vgg"
    assert get("vgg", "letterbox|flip") == "letterbox+vgg"
    assert get("letterbox+vgg", "letterbox") == "letterbox+vgg"
    assert get("letterbox+vgg") == "letterbox+vgg"
    assert preprocessing_factory.get_family("letterbox+resnet_v1_50") == "vgg"
    evaluation = preprocessing_factory.get_preprocessing(
        "vgg", augment="letterbox|flip"
    )
    assert evaluation == preprocessing_factory.get_preprocessing("letterbox+vgg")
    assert evaluation != preprocessing_factory.get_preprocessing("vgg")
    with pytest.raises(ValueError, match=r"no preprocessing 'vvg'.*letterbox\+"):
        preprocessing_factory.get_preprocessing("letterbox+vvg")
    with pytest.raises(ValueError, match="uint8"), tf.Graph().as_default():
        evaluation(noise_image().astype(np.float32), 32, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flip|letterbox", "letterbox replaces the crop.* must come first"),
        ("flip|random_resized_crop(0.3, 1)", "random_resized_crop replaces the crop"),
        ("random_resized_crop|letterbox", "letterbox before random_resized_crop"),
        ("random_resized_crop|random_resized_crop", "must come first"),
        ("letterbox(3)", "do not fit.*letterbox has no parameters"),
    ],
)
def test_chains_that_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        augmentations.parse(text)
