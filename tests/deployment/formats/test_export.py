"""Export: every format does what the checkpoint does, whole or not at all."""

import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import probe_weights
import pytest
from PIL import Image

from deployment.formats import (
    export_check,
    model_export,
    model_files,
    opening,
    tflite_export,
)
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import slim, tf

SIZE, CLASSES = 64, ("a", "b", "c", "d", "e")


def save_checkpoint(
    path, name="mobilenet_v1_025", shape=(SIZE, SIZE, 3), decay=None, seed=0
):
    """A network with probe weights; the averages differ from them."""
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn = nets_factory.get_network_fn(name, len(CLASSES))
        network_fn(tf.zeros([2, *shape]))
        if decay:
            averages = tf.train.ExponentialMovingAverage(decay)
            averages.apply(slim.get_model_variables())
        probe_weights.initialize(session, seed)
        return tf.train.Saver().save(session, str(path), write_meta_graph=False)


def make_config(name="mobilenet_v1_025", **changes):
    values = {
        "network_fn": nets_factory.get_network_fn(name, len(CLASSES)),
        "preprocessing_fn": preprocessing_factory.get_preprocessing(name),
        "image_size": SIZE,
        "class_names": CLASSES,
    }
    return model_export.ExportConfig(**{**values, **changes})


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def draw_mosaic(rng, channels=3):
    """A picture of 4 by 5 large tiles."""
    tiles = rng.randint(0, 256, [4, 5, channels]).astype(np.uint8)
    return tiles.repeat(10, axis=0).repeat(10, axis=1)


def draw_pictures(count=6, channels=3, labels=None):
    """Builds stored pictures."""
    rng = np.random.RandomState(1)
    images = np.stack([[draw_mosaic(rng, channels)] for _ in range(count)])
    labels = np.zeros([count, 1], np.int64) if labels is None else labels[:, None]
    return lambda: tf.data.Dataset.from_tensor_slices((images, labels))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt")


@pytest.fixture(scope="module")
def model(checkpoint):
    return model_export.freeze(make_config(), checkpoint)


@pytest.fixture(scope="module")
def pictures(model):
    return export_check.read_pictures(
        draw_pictures(), model, make_config().preprocessing_fn, 100
    )


@pytest.fixture(scope="module")
def exported(model, pictures, tmp_path_factory):
    """(folder, paths) of all formats."""
    folder = tmp_path_factory.mktemp("exported")
    paths = model_export.export(
        model,
        str(folder),
        list(model_export.FILE_NAMES),
        make_config().preprocessing_fn,
        pictures.pixels,
    )
    return folder, paths


def test_all_formats_agree(exported, checkpoint, model, pictures):
    assert len(pictures) == 6 and pictures.pixels.shape == (6, SIZE, SIZE, 3)
    with opening.open_model(*model_files.find_kind(exported[1]["frozen"])) as frozen:
        probe_weights.assert_varied(frozen.classify(pictures.pixels))
    rows = export_check.check(make_config(), model, exported[1], pictures)
    assert [row.format for row in rows] == [
        "checkpoint",
        "frozen",
        "saved_model, pixels",
        "saved_model, image_bytes",
        "tflite",
        "tflite_float16",
        "tflite_int8",
        "onnx",
    ]
    by_name = {row.format: row for row in rows}
    exact = ("frozen", "saved_model, pixels", "saved_model, image_bytes", "tflite")
    for name in (*exact, "onnx"):
        assert by_name[name].difference < 1e-5, name
        assert by_name[name].agreement == 1
    assert 0 < by_name["tflite_float16"].difference < 1e-2
    assert by_name["tflite_int8"].difference < 0.1
    assert by_name["tflite_int8"].size < by_name["tflite"].size / 2
    assert all(row.size > 0 and row.millisecs > 0 for row in rows)
    export_check.raise_failures(rows)
    table = export_check.format_table(rows).split("\n")
    assert len({len(line) for line in table}) == 1 and len(table) == len(rows) + 1


def test_labels_are_written_beside(exported):
    text = (exported[0] / "labels.txt").read_text()
    assert text.split("\n") == ["0:a", "1:b", "2:c", "3:d", "4:e", ""]
    assert not [name for name in os.listdir(exported[0]) if name.startswith(".")]


def test_the_signature_of_files_names_the_best(exported, pictures):
    path = exported[1]["saved_model"]
    with tf.Graph().as_default(), tf.Session() as session:
        signatures = tf.saved_model.loader.load(session, ["serve"], path).signature_def
        assert set(signatures) == {"pixels", "serving_default", "image_bytes"}
        signature = signatures["image_bytes"]
        found = session.run(
            {key: info.name for key, info in signature.outputs.items()},
            {signature.inputs["image_bytes"].name: list(pictures.encoded)},
        )
    assert [n.decode() for n in found["class_names"][2]] == list(CLASSES)
    order = np.argsort(-found["probabilities"], axis=1)
    assert (found["top_names"] == np.array(CLASSES, bytes)[order]).all()
    np.testing.assert_array_equal(
        found["top_probabilities"],
        np.take_along_axis(found["probabilities"], order, axis=1),
    )


def test_the_signature_of_files_turns_photographs_upright(exported):
    """A JPEG that EXIF says is turned, and the same pixels turned for good."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(draw_mosaic(np.random.RandomState(2)))
    photograph = encode(image, "JPEG", exif=exif)
    with tf.Graph().as_default(), tf.Session() as session:
        lying = session.run(tf.io.decode_image(photograph))
    pixels = [Image.fromarray(values) for values in (np.rot90(lying, -1), lying)]
    files = [photograph, *(encode(image, "PNG") for image in pixels)]
    paths = model_files.find_kind(exported[1]["saved_model"])
    with opening.open_model(*paths, signature="image_bytes") as classifier:
        found, upright, unturned = classifier.classify(np.array(files, object))
    np.testing.assert_allclose(found, upright, atol=1e-6)
    assert np.abs(found - unturned).max() > 1e-3


def test_weights_are_in_a_saved_model_once(exported):
    size = os.path.getsize(exported[1]["frozen"])
    assert os.path.getsize(f"{exported[1]['saved_model']}/saved_model.pb") < 1.3 * size


@pytest.mark.slow
def test_a_saved_model_loads_in_tensorflow_2(exported, pictures, tmp_path):
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
    (tmp_path / "picture.png").write_bytes(pictures.encoded[0])
    np.save(tmp_path / "pixels.npy", pictures.pixels[:1])
    arguments = exported[1]["saved_model"], tmp_path / "picture.png"
    subprocess.run(
        [sys.executable, "-c", code, *arguments, tmp_path / "pixels.npy"], check=True
    )


def load_plainly(path):
    """As programs of TensorFlow 1 load a frozen graph."""
    graph_def = tf.GraphDef()
    with open(path, "rb") as file:
        graph_def.ParseFromString(file.read())
    tf.import_graph_def(graph_def, name="")


def test_a_frozen_graph_has_its_nodes_and_no_others(exported, pictures):
    with tf.Graph().as_default() as graph, tf.Session() as session:
        load_plainly(exported[1]["frozen"])
        kinds = {op.type for op in graph.get_operations()}
        assert not kinds & {
            "FusedBatchNormV3",
            "Identity",
            "RandomUniform",
            "VarHandleOp",
        }
        logits, probabilities = session.run(
            [
                "MobilenetV1/Logits/SpatialSqueeze:0",
                "MobilenetV1/Predictions/Reshape_1:0",
            ],
            {"input:0": pictures.pixels},
        )
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        probabilities, shifted / shifted.sum(axis=1, keepdims=True), atol=1e-6
    )


@pytest.mark.slow
def test_a_frozen_inception_in_a_plain_loader(tmp_path):
    path = save_checkpoint(tmp_path / "model.ckpt", "inception_v3", (107, 107, 3))
    config = make_config("inception_v3", image_size=107)
    model = model_export.freeze(config, path)
    model_export.export(model, str(tmp_path), ["frozen"], config.preprocessing_fn)
    with tf.Graph().as_default(), tf.Session() as session:
        load_plainly(tmp_path / "frozen_graph.pb")
        logits = session.run(
            "InceptionV3/Logits/SpatialSqueeze:0",
            {"input:0": np.zeros([2, 107, 107, 3])},
        )
    assert logits.shape == (2, len(CLASSES))


def test_moving_averages_are_exported(tmp_path):
    name = "softmax_regression"
    path = save_checkpoint(tmp_path / "model.ckpt", name, decay=0.5)
    results = []
    for decay in (None, 0.5):
        config = make_config(name, moving_average_decay=decay)
        model = model_export.freeze(config, path)
        pictures = export_check.read_pictures(
            draw_pictures(), model, config.preprocessing_fn, 3
        )
        paths = model_export.export(
            model, str(tmp_path / str(decay)), ["frozen"], config.preprocessing_fn
        )
        _, row = export_check.check(config, model, paths, pictures)
        assert row.difference < 1e-5
        results.append(model.graph_def.SerializeToString())
    assert results[0] != results[1]


def test_a_network_without_predictions_gets_probabilities(tmp_path):
    def network_fn(images):
        flat = slim.flatten(images)
        return slim.fully_connected(flat, len(CLASSES), None, scope="fc"), {}

    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, SIZE, SIZE, 3]))
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, f"{tmp_path}/model.ckpt")
    config = make_config(network_fn=network_fn, class_names=None)
    model = model_export.freeze(config, path)
    assert model.class_names == ("0", "1", "2", "3", "4") and model.predictions is None
    pictures = export_check.read_pictures(
        draw_pictures(), model, config.preprocessing_fn, 3
    )
    formats = ["frozen", "saved_model", "tflite"]
    paths = model_export.export(model, str(tmp_path), formats, config.preprocessing_fn)
    rows = export_check.check(config, model, paths, pictures)
    assert max(row.difference for row in rows) < 1e-5


def test_a_network_for_grey_pictures(tmp_path):
    path = save_checkpoint(tmp_path / "model.ckpt", "lenet", (28, 28, 1))
    config = make_config("lenet", image_size=28)
    model = model_export.freeze(config, path)
    assert model.image_shape == (28, 28, 1) and model.picture_channels == 1
    pictures = export_check.read_pictures(
        draw_pictures(channels=1), model, config.preprocessing_fn, 3
    )
    paths = model_export.export(
        model, str(tmp_path), ["saved_model"], config.preprocessing_fn
    )
    rows = export_check.check(config, model, paths, pictures)
    assert max(row.difference for row in rows) < 1e-5


def test_export_checkpoint_replaces_the_older_export(tmp_path, monkeypatch):
    name = "softmax_regression"
    checkpoint = save_checkpoint(tmp_path / "model.ckpt", name)
    folder = tmp_path / "export" / "best"
    model_export.export_checkpoint(make_config(name), checkpoint, str(folder))
    names = {"frozen_graph.pb", "labels.txt", "saved_model"}
    assert {path.name for path in folder.iterdir()} == names
    changed = make_config(name, class_names=tuple("vwxyz"))
    model_export.export_checkpoint(changed, checkpoint, str(folder))
    assert "0:v" in (folder / "labels.txt").read_text()

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(model_export.saved_model_export, "write", fail)
    with pytest.raises(OSError, match="the disk is full"):
        model_export.export_checkpoint(make_config(name), checkpoint, str(folder))
    assert "0:v" in (folder / "labels.txt").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


def test_a_difference_is_a_failure(exported, model, pictures, tmp_path):
    other = save_checkpoint(tmp_path / "model.ckpt", seed=1)
    rows = export_check.check(
        make_config(),
        dataclasses.replace(model, path=other),
        {"frozen": exported[1]["frozen"]},
        pictures,
    )
    with pytest.raises(ValueError, match="frozen: probabilities differ by .*1e-04"):
        export_check.raise_failures(rows)


def make_row(found, expected, labels, title="tflite_int8"):
    pictures = export_check.Pictures(None, None, np.array(labels))
    found, expected = np.eye(5)[found], np.eye(5)[expected]
    return export_check._compare(title, 1, found, expected, 1.0, pictures)


def test_integers_are_judged_by_accuracy():
    right = [0] * 100
    assert make_row([0] * 98 + [1] * 2, right, right).failure is None
    assert "3.0% less right" in make_row([0] * 97 + [1] * 3, right, right).failure
    assert make_row([1] + [0] * 19, right[:20], right[:20]).failure is None
    unknown = [-1] * 100
    assert make_row([0] * 90 + [1] * 10, right, unknown).failure is None
    assert "11.0%" in make_row([0] * 89 + [1] * 11, right, unknown).failure
    assert make_row([0], [0], [0]).accuracy == 1
    assert make_row([0], [0], [-1]).accuracy is None


def test_what_is_not_a_number_fails():
    pictures = export_check.Pictures(None, None, np.array([0]))
    nan = np.full([1, 5], np.nan)
    for title in ("frozen", "tflite_float16", "tflite_int8"):
        row = export_check._compare(title, 1, nan, np.eye(5)[:1], 1.0, pictures)
        assert row.failure, title


@pytest.mark.parametrize("name", ["frozen", "saved_model", "tflite"])
def test_a_damaged_file_is_one_sentence(name, exported, model, pictures, tmp_path):
    file_name = model_export.FILE_NAMES[name]
    path = tmp_path / file_name
    if name == "saved_model":
        path.mkdir()
        path /= "saved_model.pb"
    path.write_bytes(b"no model")
    paths = {name: str(tmp_path / file_name)}
    with pytest.raises(ValueError, match="^[^\n]*$"):
        export_check.check(make_config(), model, paths, pictures)


def test_mistakes(checkpoint, model, tmp_path):
    with pytest.raises(ValueError, match="--formats has 'froze'"):
        model_export.export(model, str(tmp_path), ["froze"], None)
    with pytest.raises(ValueError, match="--formats is empty"):
        model_export.check_formats([])
    with pytest.raises(ValueError, match="names for 2"):
        model_export.freeze(make_config(class_names=("a", "b")), checkpoint)
    with pytest.raises(ValueError, match="shape"):
        other = nets_factory.get_network_fn("mobilenet_v1_025", 7)
        model_export.freeze(make_config(network_fn=other), checkpoint)
    with pytest.raises(ValueError, match="no moving averages"):
        model_export.freeze(make_config(moving_average_decay=0.9), checkpoint)
    with pytest.raises(ValueError, match="needs images"):
        tflite_export.convert(model, "tflite_int8")
    with pytest.raises(ValueError, match="no picture"):
        fn = make_config().preprocessing_fn
        export_check.read_pictures(draw_pictures(), model, fn, 0)
    assert os.listdir(tmp_path) == []


def test_onnx_tells_what_it_is(exported, pictures):
    kind, path = model_files.find_kind(exported[1]["onnx"])
    with opening.open_model(kind, path) as classifier:
        assert classifier.image_size == (SIZE, SIZE) and classifier.channels == 3
        assert classifier.class_names == ("a", "b", "c", "d", "e")
        assert classifier.batch_size is None
        assert classifier.classify(pictures.pixels[:4]).shape == (4, 5)
        (scope,) = {s for s in classifier.scopes if s != "input"}
        assert scope
    with pytest.raises(ValueError, match="has no output 'here': choose"):
        opening.open_model(kind, path, "here")


def test_onnx_without_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ValueError, match="pip install tf2onnx onnxruntime"):
        model_export.check_formats(["frozen", "onnx"])
