"""SavedModels: of this project, and of others."""

import io
import subprocess
import sys

import exported_models
import numpy as np
import pytest
import tiny_models
from exported_models import CLASSES
from PIL import Image
from tiny_models import IMAGES, SIZE

from deployment import formats
from deployment.formats import exporting, freezing, saved_model
from deployment.formats.base import ExportOptions
from tf_slim_compat import tf


def image_bytes():
    files = tf.placeholder(tf.string, [None])
    images = tf.map_fn(
        lambda f: tf.cast(tf.io.decode_png(f, 3), tf.float32) / 255, files, tf.float32
    )
    names = tf.constant(["a", "b", "c", "d"])
    outputs = {"probabilities": tiny_models.build(images), "names": names}
    return {"image_bytes": files}, outputs


def test_encoded_images_and_pixels(tmp_path):
    path = tiny_models.write_saved_model(
        tmp_path / "model", {"pixels": tiny_models.pixels, "image_bytes": image_bytes}
    )
    stored = np.round((IMAGES + 1) * 127.5).astype(np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        files = np.array([session.run(tf.io.encode_png(i)) for i in stored], "O")
    with saved_model.SavedModelPredictor(path) as predictor:
        assert predictor.takes_files
        tiny_models.check(predictor, files, tiny_models.compute_scores(stored / 255))
        assert predictor.spec.output_names == ("a", "b", "c", "d")
    # The run card knows the rest, but its names may be others.
    known = tiny_models.make_spec(5, output_names=tuple("vwxyz"))
    with saved_model.SavedModelPredictor(path, spec=known) as predictor:
        predictor.predict(files)
        assert predictor.spec == tiny_models.make_spec(output_names=tuple("abcd"))
    with saved_model.SavedModelPredictor(path, signature="pixels") as predictor:
        assert not predictor.takes_files and predictor.image_size == (SIZE, SIZE)
        tiny_models.check(predictor)
    with pytest.raises(ValueError, match="no 'pixel': choose with --signature of"):
        saved_model.SavedModelPredictor(path, signature="pixel")


def test_models_of_others(tmp_path):
    def serve():
        source = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3])
        return {"input_1": source}, {"dense": tiny_models.build(source)}

    def serve_function():
        source = tf.placeholder(tf.float32, [None, None, None, 3])
        inner = tf.function(lambda x: tiny_models.build(x, softmax=False))
        inner = inner.get_concrete_function(tf.TensorSpec([None, None, None, 3]))
        return {"input_1": source}, {"output_0": inner(source)}

    def examples():
        serialized = tf.placeholder(tf.string, [None], "input_example_tensor")
        return {"inputs": serialized}, {"scores": tf.ones([1, 2])}

    def boxes():
        source = tf.placeholder(tf.uint8, [None, SIZE, SIZE, 3])
        return {"image": source}, {"scores": tf.ones([1, 2])}

    for i, make in enumerate((serve, serve_function)):
        path = tiny_models.write_saved_model(
            tmp_path / f"good{i}", {"serving_default": make}
        )
        with saved_model.SavedModelPredictor(path) as predictor:
            tiny_models.check(predictor)
            assert predictor.spec is None
    for i, make in enumerate((examples, boxes)):
        path = tiny_models.write_saved_model(
            tmp_path / f"bad{i}", {"serving_default": make}
        )
        with pytest.raises(ValueError, match="it should take one batch"):
            saved_model.SavedModelPredictor(path)
    path = tiny_models.write_saved_model(
        tmp_path / "two", {"this": serve, "that": serve}
    )
    with pytest.raises(ValueError, match="--signature of that, this"):
        saved_model.SavedModelPredictor(path)


def run_signature(path, signature_name, inputs):
    """Returns the outputs of a signature's only input, by name."""
    with tf.Graph().as_default(), tf.Session() as session:
        signatures = tf.saved_model.loader.load(session, ["serve"], path).signature_def
        assert set(signatures) == {"pixels", "serving_default", "image_bytes"}
        signature = signatures[signature_name]
        fetches = {key: info.name for key, info in signature.outputs.items()}
        (source,) = signature.inputs.values()
        return session.run(fetches, {source.name: list(inputs)})


def test_the_signature_of_encoded_images_returns_top_classes(exported):
    found = run_signature(
        exported.paths["saved_model"], "image_bytes", exported.samples.encoded
    )
    assert set(found) == {
        "probabilities",
        "class_names",
        "top_probabilities",
        "top_names",
    }
    assert [n.decode() for n in found["class_names"][2]] == list(CLASSES)
    order = np.argsort(-found["probabilities"], axis=1)
    assert (found["top_names"] == np.array(CLASSES, bytes)[order]).all()
    np.testing.assert_array_equal(
        found["top_probabilities"],
        np.take_along_axis(found["probabilities"], order, axis=1),
    )


def test_the_signature_of_pixels_returns_logits(exported):
    found = run_signature(
        exported.paths["saved_model"], "pixels", exported.samples.pixels
    )
    assert set(found) == {"logits", "probabilities"}
    shifted = np.exp(found["logits"])
    np.testing.assert_allclose(
        found["probabilities"], shifted / shifted.sum(axis=1, keepdims=True), atol=1e-6
    )


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_exif_orientation_is_applied(exported):
    """A JPEG with an EXIF orientation predicts the same as its rotated pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(exported_models.draw_mosaic(np.random.RandomState(2)))
    photo = encode(image, "JPEG", exif=exif)
    with tf.Graph().as_default(), tf.Session() as session:
        stored = session.run(tf.io.decode_image(photo))
    pixels = [Image.fromarray(values) for values in (np.rot90(stored, -1), stored)]
    files = [photo, *(encode(image, "PNG") for image in pixels)]
    with formats.open_predictor(
        exported.paths["saved_model"], signature="image_bytes"
    ) as predictor:
        found, upright, unrotated = predictor.predict(np.array(files, object))
    np.testing.assert_allclose(found, upright, atol=1e-6)
    assert np.abs(found - unrotated).max() > 1e-3


def test_weights_are_stored_once(exported):
    def measure(path):
        return len(open(path, "rb").read())

    size = measure(exported.paths["frozen"])
    assert measure(f"{exported.paths['saved_model']}/saved_model.pb") < 1.3 * size


def test_the_specification_is_in_the_model(exported):
    for signature in ("pixels", "image_bytes"):
        with formats.open_predictor(
            exported.paths["saved_model"], signature=signature
        ) as predictor:
            assert predictor.spec == exported.model.spec


@pytest.mark.parametrize(
    ("task", "state", "outputs"),
    [
        (
            "multilabel",
            {"thresholds": [0.5, 0.4, 0.5, 0.6, 0.5]},
            {"probabilities", "thresholds", "label_names", "is_predicted"},
        ),
        (
            "regression",
            {"mean": [10.0, 0, 0, 0, 1], "scale": [2.0, 1, 1, 1, 5]},
            {"values", "target_names"},
        ),
    ],
)
def test_other_tasks_answer_in_the_users_units(task, state, outputs, tmp_path):
    name = "softmax_regression"
    path = exported_models.save_checkpoint(tmp_path / "model.ckpt", name, (24, 24, 3))
    config = exported_models.make_config(
        name, task=task, task_state=state, image_size=24
    )
    model = freezing.freeze(config, path)
    samples = exported_models.read_samples(config, model, 3)
    options = ExportOptions(config.preprocessing_fn)
    paths = exporting.export(model, str(tmp_path), ["saved_model"], options)
    found = run_signature(paths["saved_model"], "image_bytes", samples.encoded)
    assert set(found) == outputs
    by_pixels = run_signature(paths["saved_model"], "pixels", samples.pixels)
    logits = by_pixels.pop("logits")
    ((key, scores),) = by_pixels.items()
    expected = (
        logits * state["scale"] + state["mean"]
        if task == "regression"
        else 1 / (1 + np.exp(-logits))
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[key], scores, rtol=1e-4, atol=1e-5)
    with formats.open_predictor(paths["saved_model"]) as predictor:
        np.testing.assert_allclose(
            predictor.predict(samples.encoded), scores, rtol=1e-4, atol=1e-5
        )
        assert predictor.spec == config.spec


@pytest.mark.slow
def test_it_loads_in_tensorflow_2(exported, tmp_path):
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "files = tf.constant([open(sys.argv[2], 'rb').read()] * 2)\n"
        "by_files = model.signatures['image_bytes'](image_bytes=files)\n"
        "pixels = tf.constant(np.load(sys.argv[3]))\n"
        "by_pixels = model.signatures['serving_default'](pixels=pixels)\n"
        "np.testing.assert_allclose(by_files['probabilities'][:1],\n"
        "    by_pixels['probabilities'], atol=1e-6)\n"
    )
    (tmp_path / "image.png").write_bytes(exported.samples.encoded[0])
    np.save(tmp_path / "pixels.npy", exported.samples.pixels[:1])
    arguments = exported.paths["saved_model"], tmp_path / "image.png"
    subprocess.run(
        [sys.executable, "-c", code, *arguments, tmp_path / "pixels.npy"], check=True
    )


def test_a_damaged_file(tmp_path):
    path = tiny_models.write_saved_model(
        tmp_path / "saved", {"pixels": tiny_models.pixels}
    )
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"words")
    with pytest.raises(ValueError, match=f"^'{path}' cannot be loaded as[^\n]*$"):
        saved_model.SavedModelPredictor(path)


def test_a_network_for_grayscale_images(tmp_path):
    path = exported_models.save_checkpoint(
        tmp_path / "model.ckpt", "lenet", (28, 28, 1)
    )
    config = exported_models.make_config("lenet", image_size=28)
    model = freezing.freeze(config, path)
    assert model.image_shape == (28, 28, 1) and model.decoded_channels == 1
    samples = exported_models.read_samples(config, model, 3, channels=1)
    options = ExportOptions(config.preprocessing_fn)
    paths = exporting.export(model, str(tmp_path), ["saved_model"], options)
    with formats.open_predictor(paths["saved_model"]) as by_files:
        found = by_files.predict(samples.encoded)
    with formats.open_predictor(paths["saved_model"], signature="pixels") as by_pixels:
        assert by_pixels.channels == 1
        np.testing.assert_allclose(found, by_pixels.predict(samples.pixels), atol=1e-5)
