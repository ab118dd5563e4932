"""Tests over all families: reference values, names, channels, sizes, randomness."""

import numpy as np
import pytest
from conftest import REFERENCE, needs_reference
from noise_images import evaluate, noise_image

from preprocessing import preprocessing_factory
from preprocessing import preprocessing_utils as utils
from tf_slim_compat import tf

FAMILIES = sorted(preprocessing_factory.FAMILIES)
RANDOM_FAMILIES = ["cifarnet", "inception", "vgg"]
CLASSICS = [
    "lenet5",
    "simple_cnn",
    "softmax_regression",
    "alexnet",
    "overfeat",
    "densenet_121",
    "densenet_161",
    "densenet_169",
    "densenet_201",
]
REFERENCE_ARRAYS = [
    "inception_96",
    "inception_96_grayscale",
    "vgg_96",
    "vgg_224",
    "cifarnet_32",
    "cifarnet_32_grayscale",
    "lenet_28",
]
# Equal to the last bit, apart from the order of scaling and resizing.
TOLERANCES = {"inception": 1e-6}


def crop_and_finish(fn, image, *size):
    window = fn.crop_window(tf.shape(image), *size)
    return fn.finish(image if window is None else utils.crop(image, window), *size)


@needs_reference
def test_every_reference_array_is_tested():
    with np.load(REFERENCE / "preprocessing_eval.npz") as arrays:
        assert sorted(arrays) == sorted([*REFERENCE_ARRAYS, "rgb", "gray"])


@needs_reference
@pytest.mark.parametrize("name", REFERENCE_ARRAYS)
@pytest.mark.parametrize("is_static", [True, False])
def test_evaluation_equals_the_reference(name, is_static):
    family, size, *_ = name.split("_")
    size = int(size)
    with np.load(REFERENCE / "preprocessing_eval.npz") as arrays:
        expected = arrays[name]
        image = arrays["gray" if family == "lenet" else "rgb"]
    fn = preprocessing_factory.get_preprocessing(
        family, use_grayscale=name.endswith("grayscale")
    )

    def build():
        raw = tf.constant(image)
        if not is_static:
            raw = tf.placeholder_with_default(raw, [None, None, None])
            raw.set_shape([None, None, image.shape[-1]])
        return fn(raw, size, size), crop_and_finish(fn, raw, size, size)

    for result in evaluate(build)[0]:
        assert result.dtype == np.float32 and result.shape == expected.shape
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=TOLERANCES.get(family, 0)
        )


def test_grayscale_of_vgg_is_the_luminance_of_its_colors():
    image = noise_image(300, 280)
    for is_training in (False, True):
        color, gray = (
            evaluate(
                lambda gray=gray, is_training=is_training: (
                    preprocessing_factory.get_preprocessing(
                        "vgg", is_training=is_training, use_grayscale=gray
                    )(image, 64, 64)
                )
            )[0]
            for gray in (False, True)
        )
        expected = color @ np.array([[0.2989], [0.5870], [0.1140]])
        np.testing.assert_allclose(gray, expected, atol=1e-4)


def check_jpeg(image, chroma_downsampling):
    """Decodes windows of a JPEG in three ways; returns (exact, bare, whole)."""

    def build():
        contents = tf.image.encode_jpeg(image, chroma_downsampling=chroma_downsampling)
        fn = preprocessing_factory.get_preprocessing("inception", is_training=True)
        y, x, height, width = tf.unstack(fn.crop_window(tf.constant(image.shape)))
        left = tf.maximum(x - 1, 0)
        right = tf.minimum(x + width + 1, image.shape[1])
        wide = tf.image.decode_and_crop_jpeg(
            contents, tf.stack([y, left, height, right - left]), channels=3
        )
        window = tf.stack([y, x, height, width])
        return (
            wide[:, x - left : x - left + width],
            tf.image.decode_and_crop_jpeg(contents, window, channels=3),
            utils.crop(tf.image.decode_jpeg(contents, channels=3), window),
        )

    return evaluate(build, times=60)


@pytest.mark.parametrize("chroma_downsampling", [True, False])
def test_cropping_while_decoding_equals_cropping_after(chroma_downsampling):
    for exact, bare, whole in check_jpeg(noise_image(90, 121), chroma_downsampling):
        np.testing.assert_array_equal(exact, whole)
        np.testing.assert_array_equal(bare[:, 1:-1], whole[:, 1:-1])
        if not chroma_downsampling:
            np.testing.assert_array_equal(bare, whole)


@needs_reference
def test_every_network_has_a_preprocessing():
    names = {path.stem for path in (REFERENCE / "networks").glob("*.json")}
    assert len(names) == 40
    expected = {
        "cifarnet": {"cifarnet", "nasnet_cifar"},
        "lenet": {"lenet"},
        "vgg": {n for n in names if n.startswith(("vgg", "resnet", "alexnet", "over"))},
    }
    expected["inception"] = names.difference(*expected.values())
    found = {family: set() for family in expected}
    for name in names:
        found[preprocessing_factory.get_preprocessing(name).family].add(name)
    assert found == expected


@pytest.mark.parametrize("name", CLASSICS)
def test_the_classics_have_a_preprocessing(name):
    expected = {"lenet5": "lenet", "simple_cnn": "cifarnet"}
    expected["softmax_regression"] = "cifarnet"
    family = preprocessing_factory.get_preprocessing(name).family
    assert family == expected.get(name, "vgg")


def test_listed_names_and_families_are_names():
    names = preprocessing_factory.list_names()
    assert names == sorted(set(names))
    for name in [*names, *FAMILIES]:
        assert preprocessing_factory.get_family(name.rstrip("*")) in FAMILIES
    for family in FAMILIES:
        assert preprocessing_factory.get_family(family) == family


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("rennet_v1_50", "resnet*"),
        ("inceptoin_v3", "inception*"),
        ("mobilnet_v1", "mobilenet*"),
        ("lenet_5", "lenet5"),
        ("Vgg", None),
        ("", None),
        (None, None),
    ],
)
def test_unknown_names_are_an_error_with_the_nearest_and_all_names(name, nearest):
    with pytest.raises(ValueError, match="There is no preprocessing") as error:
        preprocessing_factory.get_preprocessing(name)
    message = str(error.value)
    assert repr(str(name)) in message
    assert all(known in message for known in preprocessing_factory.list_names())
    if nearest:
        assert nearest in message[: message.index("?")]


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("use_grayscale", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_image(family, use_grayscale, is_training):
    fn = preprocessing_factory.get_preprocessing(family, is_training, use_grayscale)
    keeps_gray = family in ("cifarnet", "lenet")
    channels = (1, 3, 4, None)
    with tf.Graph().as_default(), tf.Session() as session:
        raws = [tf.placeholder(tf.uint8, [None, None, n]) for n in channels]
        results = [crop_and_finish(fn, raw, 32, 36) for raw in raws]
        for given, result in zip(channels, results, strict=True):
            expected = 1 if use_grayscale or keeps_gray and given == 1 else 3
            assert result.shape.as_list() == [32, 36, expected]
            assert result.dtype == tf.float32
        # Larger, of the same size, smaller than the output, and one pixel.
        for size in ((70, 50), (32, 36), (20, 90), (11, 9), (1, 1)):
            feed = {
                raw: noise_image(*size, n or 3)
                for n, raw in zip(channels, raws, strict=True)
            }
            for value in session.run(results, feed):
                assert np.all(np.isfinite(value))


@pytest.mark.parametrize("family", FAMILIES)
def test_float_images_give_what_integer_images_give(family):
    image = noise_image(60, 70)
    scale = 255.0 if family == "inception" else 1.0
    for is_training in (False, True):
        fn = preprocessing_factory.get_preprocessing(family, is_training)
        results = [
            evaluate(lambda raw=raw, fn=fn: fn(raw, 32, 32))[0]
            for raw in (image, (image / scale).astype(np.float32), image / scale)
        ]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=2e-4)


@pytest.mark.parametrize("family", RANDOM_FAMILIES)
def test_distortions_differ_and_repeat_under_a_seed(family):
    fn = preprocessing_factory.get_preprocessing(family, is_training=True)
    image = noise_image(60, 70)
    for apply in (fn, lambda *args: crop_and_finish(fn, *args)):
        build = lambda apply=apply: apply(tf.constant(image), 32, 32)  # noqa: E731
        first, again, other = (evaluate(build, 4, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert len({value.tobytes() for value in first}) == 4


@pytest.mark.parametrize("family", RANDOM_FAMILIES)
def test_half_of_the_training_images_are_mirrored(family):
    fn = preprocessing_factory.get_preprocessing(family, is_training=True)
    image = np.zeros((40, 40, 3), np.uint8) + np.arange(40)[None, :, None] * 5
    image = image.astype(np.uint8)
    results = evaluate(lambda: fn(tf.constant(image), 32, 32), times=100)
    mirrored = sum(result[:, 0].mean() > result[:, -1].mean() for result in results)
    assert 25 <= mirrored <= 75


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_the_same_every_time(family):
    fn = preprocessing_factory.get_preprocessing(family)
    first, second = evaluate(lambda: fn(tf.constant(noise_image()), 32, 32), times=2)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_training", [True, False])
def test_it_works_within_a_parallel_map(family, is_training):
    fn = preprocessing_factory.get_preprocessing(family, is_training)
    images = np.stack([noise_image(seed=i) for i in range(4)])

    def build():
        dataset = tf.data.Dataset.from_tensor_slices(images)
        dataset = dataset.map(lambda image: fn(image, 32, 32), num_parallel_calls=2)
        batch = tf.data.make_one_shot_iterator(dataset.batch(4)).get_next()
        assert batch.shape.as_list() == [None, 32, 32, 3]
        assert not tf.get_collection(tf.GraphKeys.SUMMARIES)
        return batch

    (batch,) = evaluate(build, seed=None)
    assert batch.shape == (4, 32, 32, 3) and np.all(np.isfinite(batch))


def test_further_arguments_reach_the_family():
    vgg = preprocessing_factory.get_preprocessing("vgg")
    image = noise_image(64, 64)
    (result,) = evaluate(lambda: vgg(image, 64, 64, resize_side_min=64))
    mean = np.array([123.68, 116.78, 103.94], np.float32)
    np.testing.assert_array_equal(result, image - mean)
    with tf.Graph().as_default():
        inception = preprocessing_factory.get_preprocessing("inception", True)
        inception(image, 32, 32, fast_mode=False, add_image_summaries=True)
        assert tf.get_collection(tf.GraphKeys.SUMMARIES)
