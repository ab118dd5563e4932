"""Augmentations: the registry, the text that composes them, and their use."""

import numpy as np
import pytest
from noise_images import evaluate, noise_image

from preprocessing import augmentations, preprocessing_factory
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

FAMILIES = ["cifarnet", "inception", "lenet", "vgg"]


@pytest.fixture
def registry(monkeypatch):
    """Restores the registry afterwards."""
    monkeypatch.setattr(augmentations, "_functions", dict(augmentations._functions))


def augment_many(text, image, count=60, static=True):
    """Returns the image augmented under the seeds (1, 0), (1, 1) and so on."""
    augment = augmentations.parse(text)

    def build():
        raw = tf.constant(image)
        if not static:
            raw = tf.placeholder_with_default(raw, [None, None, image.shape[-1]])
        seed = tf.placeholder_with_default(np.int64([1, 0]), [2])
        return augment(raw, seed), seed

    with tf.Graph().as_default(), tf.Session() as session:
        result, seed = build()
        assert result.dtype == tf.uint8
        assert result.shape.as_list()[-1] == image.shape[-1]
        return [session.run(result, {seed: [1, i]}) for i in range(count)]


def find_kinds(results, kinds):
    """Counts how many results equal each of `kinds`, all of which must differ."""
    counts = [sum(np.array_equal(r, kind) for r in results) for kind in kinds]
    assert sum(counts) == len(results)
    return counts


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("static", [True, False])
def test_flips_and_rotations(channels, static):
    image = noise_image(6, 9, channels)
    for text, kinds in {
        "flip_lr": [image, image[:, ::-1]],
        "flip_ud": [image, image[::-1]],
        "rot90": [np.rot90(image, turns) for turns in range(4)],
    }.items():
        counts = find_kinds(augment_many(text, image, static=static), kinds)
        assert min(counts) > 5, text


def test_brightness_shifts_all_values():
    image = np.full((4, 5, 3), 100, np.uint8)
    results = np.array(augment_many("brightness(0.2)", image), int)
    assert (results == results[:, :1, :1, :1]).all()
    shifts = results[:, 0, 0, 0] - 100
    assert shifts.min() < -20 and shifts.max() > 20 and np.abs(shifts).max() <= 51
    white = np.full((4, 5, 3), 250, np.uint8)
    assert max(r.max() for r in augment_many("brightness(0.2)", white)) == 255
    for result in augment_many("brightness(max_delta=0)", image, 3):
        assert np.array_equal(result, image)


def test_steps_of_a_chain_are_independent():
    image = noise_image(6, 9)
    kinds = [image, image[:, ::-1]]
    counts = find_kinds(augment_many("flip_lr | flip_lr", image), kinds)
    assert min(counts) > 10
    kinds = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    counts = find_kinds(augment_many("flip_lr|flip_ud", image), kinds)
    assert min(counts) > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no augmentation"),
        ("flip_lr|", "'' is no augmentation"),
        ("flip lr", "'flip lr' is no augmentation"),
        ("brightness(0.2", "is no augmentation"),
        ("brightness(x)", "is no augmentation"),
        ("tf.image(1)", "is no augmentation"),
        (
            "flip_rl",
            "no augmentation 'flip_rl'; did you mean 'flip_lr'.*It can be affine",
        ),
        ("flip_lr(1)", "arguments of 'flip_lr\\(1\\)' do not fit .*parameters"),
        ("brightness(delta=1)", "do not fit.*has the parameters max_delta=0.125"),
        ("rotation(20)", r"did you mean 'affine\(rotation_range=20\)'"),
        ("randaugmnt", "did you mean 'randaugment'"),
        ("affine(rescale=1/0)", "is no augmentation"),
    ],
)
def test_texts_that_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        augmentations.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brightness(2)", "max_delta=2.: max_delta must be a number from 0 to 1"),
        ("randaugment(2.5)", "n=2.5.: n must be a whole number from 1 to 10"),
        ("randaugment(2, 11)", "m=11.: m must be a number from 0 to 10"),
        ("augmix(depth=0)", "depth must be 1 to 10, or -1"),
        ("erase('x')", "p='x'.: p must be a number from 0 to 1"),
        ("erase(max_area=0.01)", "max_area must be a number from 0.02 to 1"),
        ("affine(zoom_range=(2, 1))", "zoom_range must be two numbers of at least"),
        ("affine(width_shift_range='a')", "must be a number or a list of numbers"),
        ("affine(fill_mode='none')", "must be one of nearest, constant, reflect, wrap"),
        ("color_jitter(hue=1)", "hue must be a number from 0 to 0.5"),
        ("blur(max_sigma=0)", "max_sigma must be a number from 0.1 to 100"),
        ("grayscale(True)", "p=True.: p must be a number"),
    ],
)
def test_arguments_are_checked(text, message):
    with pytest.raises(ValueError, match=message), tf.Graph().as_default():
        augmentations.parse(text)(noise_image(), [1, 2])


def test_equal_texts_are_equal():
    assert augmentations.parse("flip_lr") == augmentations.parse("flip_lr")
    assert augmentations.parse("flip_lr") != augmentations.parse("flip_ud")


def test_an_augmentation_of_ones_own(registry):
    @augmentations.register("invert")
    def invert(image, seed, level=255):
        return level - image

    assert "invert" in augmentations.list_names()
    image = noise_image()
    for result in augment_many("invert|invert(level=255)", image, 2):
        assert np.array_equal(result, image)
    for name in "invert", "flip_lr":
        with pytest.raises(ValueError, match=f"already an augmentation {name!r}"):
            augmentations.register(name)
    with pytest.raises(ValueError, match="'a b' cannot name"):
        augmentations.register("a b")


def test_images_must_be_uint8_throughout(registry):
    augmentations.register("to_float")(lambda image, seed: tf.cast(image, tf.float32))
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="result of step 2 is float32"):
            augmentations.parse("flip_lr|to_float")(noise_image(), [1, 2])
        with pytest.raises(ValueError, match="the image is float32"):
            augmentations.parse("flip_lr")(noise_image().astype(np.float32), [1, 2])


@pytest.mark.parametrize("family", FAMILIES)
def test_cropping_first_changes_nothing(family):
    fn = preprocessing_factory.get_preprocessing(
        family, is_training=True, augment="rot90|flip_ud|brightness(0.1)"
    )
    image = noise_image(60, 70)

    def build():
        results = []
        for seed in ((1, 2), (1, 3)):
            own = fn.with_seed(seed)
            raw = tf.placeholder_with_default(image, [None, None, 3])
            window = own.crop_window(tf.shape(raw), 32, 32)
            cropped = raw if window is None else utils.crop(raw, window)
            results += [own(raw, 32, 32), own.finish(cropped, 32, 32)]
        return results

    first, again, other, other_again = evaluate(build)[0]
    assert first.shape == (32, 32, 3) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(other, other_again)
    assert not np.array_equal(first, other)


# Where the defaults change nothing, or not at random.
_ARGUMENTS = {
    "affine": "(rotation_range=20)",
    "grayscale": "(0.5)",
    "random_resized_crop": "(0.35, 1)",
}


@pytest.mark.parametrize("name", augmentations.list_names())
def test_results_are_functions_of_the_seed(name):
    """So a resumed run, whose graph is another, gets the same images."""
    text = name + _ARGUMENTS.get(name, "")
    fn = preprocessing_factory.get_preprocessing(
        preprocessing_factory.get_full_name("lenet", text), True, augment=text
    )
    image, seeds = noise_image(40, 44), [(1, number) for number in range(12)]

    def run(seeds, graph_seed):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(graph_seed)
            seed = tf.placeholder_with_default(np.int64([0, 0]), [2])
            result = fn.with_seed(seed)(tf.constant(image), 28, 28)
            return [session.run(result, {seed: value}) for value in seeds]

    whole = run(seeds, graph_seed=1)
    np.testing.assert_array_equal(whole, run(seeds[::-1], graph_seed=2)[::-1])
    is_random = name != "letterbox"
    assert (np.ptp(whole, axis=0).max() > 0) == is_random


def test_without_a_seed_each_run_differs():
    fn = preprocessing_factory.get_preprocessing("lenet", True, augment="rot90")
    image = noise_image(28, 28)
    results = evaluate(lambda: fn(tf.constant(image), 28, 28), times=40)
    expected = (image.astype(np.float32) - 128) / 128
    kinds = [np.rot90(expected, turns) for turns in range(4)]
    assert min(find_kinds(results, kinds)) > 1


def test_what_is_done_before_the_familys_own_distortions(registry):
    @augmentations.register("darken")
    def darken(image, seed):
        return image // 2

    fn = preprocessing_factory.get_preprocessing("vgg", True, augment="darken")
    plain = preprocessing_factory.get_preprocessing("vgg", True)
    image = np.full((40, 40, 3), 100, np.uint8)
    dark, light = evaluate(
        lambda: [own.with_seed((1, 2))(image, 32, 32) for own in (fn, plain)]
    )[0]
    np.testing.assert_allclose(light - dark, 50, atol=1e-4)


def test_evaluation_is_not_augmented():
    fn = preprocessing_factory.get_preprocessing("vgg", augment="rot90")
    assert fn == preprocessing_factory.get_preprocessing("vgg")
    with pytest.raises(ValueError, match="no augmentation 'rot45'"):
        preprocessing_factory.get_preprocessing("vgg", augment="rot45")


def test_further_arguments_cannot_be_combined():
    fn = preprocessing_factory.get_preprocessing("inception", True, augment="rot90")
    with (
        pytest.raises(ValueError, match="'fast_mode'.*'rot90'"),
        tf.Graph().as_default(),
    ):
        fn(noise_image(), 32, 32, fast_mode=False)


def test_float_images_are_refused():
    fn = preprocessing_factory.get_preprocessing("vgg", True, augment="rot90")
    with pytest.raises(ValueError, match="uint8.*float32"), tf.Graph().as_default():
        fn(noise_image().astype(np.float32), 32, 32)
