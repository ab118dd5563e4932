"""Every kind of model file as a classifier, on a network reckoned by hand."""

import numpy as np
import pytest

from deployment.formats import (
    model_files,
    onnx_classifier,
    saved_model_classifier,
    tflite_classifier,
)
from deployment.predict import classifying
from tf_slim_compat import slim, tf

SIZE, CLASSES = 8, 4
WEIGHTS = np.array([[2, -1, 0.5, 0], [0, 1, -2, 0.3], [1, 0.1, 0, -1]], np.float32)


def reckon(images):
    """The probabilities that every model of this file should give."""
    logits = images.mean(axis=(1, 2)) @ WEIGHTS
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).uniform(-1, 1, [5, SIZE, SIZE, 3]).astype("f")


def build(images, softmax=True):
    logits = tf.matmul(tf.reduce_mean(images, [1, 2]), WEIGHTS, name="logits")
    return tf.nn.softmax(logits, name="Predictions") if softmax else logits


def network_fn(images, num_classes=CLASSES):
    weights = slim.model_variable(
        "Tiny/weights", [3, num_classes], initializer=tf.zeros_initializer()
    )
    scale = slim.model_variable("Tiny/scale", [], initializer=tf.ones_initializer())
    return tf.matmul(tf.reduce_mean(images * scale, [1, 2]), weights), {}


def get_network_fn(num_classes):
    return lambda images: network_fn(images, num_classes)


def write_frozen(path, batch_size=None, softmax=True):
    with tf.Graph().as_default() as graph:
        build(tf.placeholder(tf.float32, [batch_size, SIZE, SIZE, 3], "input"), softmax)
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def write_saved_model(path, signatures):
    """Signatures: a dict from key to a function that builds (inputs, outputs)."""
    with tf.Graph().as_default(), tf.Session() as session:
        builder = tf.saved_model.builder.SavedModelBuilder(str(path))
        definitions = {
            key: tf.saved_model.predict_signature_def(*make())
            for key, make in signatures.items()
        }
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map=definitions
        )
        builder.save()
    return str(path)


def pixels():
    images = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3])
    logits = build(images, softmax=False)
    return {"pixels": images}, {"logits": logits, "probabilities": build(images)}


def image_bytes():
    files = tf.placeholder(tf.string, [None])
    images = tf.map_fn(
        lambda f: tf.cast(tf.io.decode_png(f, 3), tf.float32) / 255, files, tf.float32
    )
    names = tf.constant(["a", "b", "c", "d"])
    return {"image_bytes": files}, {"probabilities": build(images), "names": names}


def write_tflite(path, batch_size=1, quantized=False, fixed=False):
    with tf.Graph().as_default(), tf.Session() as session:
        source = tf.placeholder(tf.float32, [batch_size, SIZE, SIZE, 3], "input")
        pooled = tf.nn.avg_pool2d(source, SIZE, SIZE, "VALID")
        output = tf.nn.softmax(tf.matmul(tf.reshape(pooled, [-1, 3]), WEIGHTS))
        output = tf.reshape(output, [-1]) if fixed else output
        converter = tf.lite.TFLiteConverter.from_session(session, [source], [output])
        if quantized:
            random = np.random.RandomState(1)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [random.uniform(-1, 1, [1, SIZE, SIZE, 3]).astype("f")]
                for _ in range(20)
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            if quantized == "outside":
                converter.inference_input_type = tf.int8
                converter.inference_output_type = tf.uint8
        path.write_bytes(converter.convert())
    return str(path)


@pytest.mark.parametrize("batch_size", [None, 1, 3, 8])
@pytest.mark.parametrize("softmax", [True, False])
def test_frozen_graphs(batch_size, softmax, images, tmp_path):
    path = write_frozen(tmp_path / "frozen.pb", batch_size, softmax)
    with classifying.FrozenClassifier(path) as classifier:
        assert classifier.image_size == (SIZE, SIZE) and classifier.channels == 3
        assert "Predictions" in classifier.scopes or not softmax
        np.testing.assert_allclose(
            classifier.classify(images), reckon(images), atol=1e-6
        )


def check_dataset(classifier, inputs, expected):
    """A dataset's images must give the same, with their indices."""
    results = list(
        classifier.classify_all(
            lambda: tf.data.Dataset.from_tensor_slices(
                (inputs, np.arange(5) * 10)
            ).batch(2)
        )
    )
    assert [index for index, _ in results] == [0, 10, 20, 30, 40]
    found = np.stack([probabilities for _, probabilities in results])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 2, 3])
def test_images_of_a_dataset(batch_size, images, tmp_path):
    path = write_frozen(tmp_path / "frozen.pb", batch_size)
    with classifying.FrozenClassifier(path) as classifier:
        for _ in range(2):
            check_dataset(classifier, images, reckon(images))


def test_saved_models_of_this_project(images, tmp_path):
    path = write_saved_model(
        tmp_path / "model", {"pixels": pixels, "image_bytes": image_bytes}
    )
    bytes_images = np.round((images + 1) * 127.5).astype(np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        files = np.array([session.run(tf.io.encode_png(i)) for i in bytes_images], "O")
    with saved_model_classifier.SavedModelClassifier(path) as classifier:
        assert classifier.takes_files
        found = classifier.classify(files)
        np.testing.assert_allclose(found, reckon(bytes_images / 255), atol=1e-5)
        assert classifier.class_names == ("a", "b", "c", "d")
        check_dataset(classifier, files, reckon(bytes_images / 255))
    with saved_model_classifier.SavedModelClassifier(
        path, signature="pixels"
    ) as classifier:
        assert not classifier.takes_files and classifier.image_size == (SIZE, SIZE)
        np.testing.assert_allclose(
            classifier.classify(images), reckon(images), atol=1e-6
        )
    with pytest.raises(ValueError, match="no 'pixel': choose with --signature of"):
        saved_model_classifier.SavedModelClassifier(path, signature="pixel")


def test_saved_models_of_others(images, tmp_path):
    def serve():
        source = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3])
        return {"input_1": source}, {"dense": build(source)}

    def serve_function():
        source = tf.placeholder(tf.float32, [None, None, None, 3])
        inner = tf.function(lambda x: build(x, softmax=False)).get_concrete_function(
            tf.TensorSpec([None, None, None, 3])
        )
        return {"input_1": source}, {"output_0": inner(source)}

    def examples():
        serialized = tf.placeholder(tf.string, [None], "input_example_tensor")
        return {"inputs": serialized}, {"scores": tf.ones([1, 2])}

    def boxes():
        source = tf.placeholder(tf.uint8, [None, SIZE, SIZE, 3])
        return {"image": source}, {"scores": tf.ones([1, 2])}

    for i, make in enumerate((serve, serve_function)):
        path = write_saved_model(tmp_path / f"good{i}", {"serving_default": make})
        with saved_model_classifier.SavedModelClassifier(path) as classifier:
            check_dataset(classifier, images, reckon(images))
            np.testing.assert_allclose(
                classifier.classify(images), reckon(images), atol=1e-6
            )
    for i, make in enumerate((examples, boxes)):
        path = write_saved_model(tmp_path / f"bad{i}", {"serving_default": make})
        with pytest.raises(ValueError, match="it should take one batch"):
            saved_model_classifier.SavedModelClassifier(path)
    path = write_saved_model(tmp_path / "two", {"this": serve, "that": serve})
    with pytest.raises(ValueError, match="--signature of that, this"):
        saved_model_classifier.SavedModelClassifier(path)


@pytest.mark.parametrize(
    "options, batch_size",
    [({}, None), ({"batch_size": None}, None), ({"fixed": True}, 1)],
)
def test_tflite_files(options, batch_size, images, tmp_path):
    path = write_tflite(tmp_path / "model.tflite", **options)
    with tflite_classifier.TFLiteClassifier(path) as classifier:
        assert classifier.image_size == (SIZE, SIZE)
        assert classifier.batch_size == batch_size
        check_dataset(classifier, images, reckon(images))
        for count in (5, 2):
            found = classifier.classify(images[:count])
            np.testing.assert_allclose(found, reckon(images)[:count], atol=1e-6)


@pytest.mark.parametrize("quantized", ["inside", "outside"])
def test_quantized_tflite_files(quantized, images, tmp_path):
    path = write_tflite(tmp_path / "model.tflite", quantized=quantized)
    with tflite_classifier.TFLiteClassifier(path) as classifier:
        found = classifier.classify(images)
    np.testing.assert_allclose(found, reckon(images), atol=0.02)


def save_checkpoint(folder, num_classes):
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, SIZE, SIZE, 3]), num_classes)
        session.run(tf.global_variables_initializer())
        (weights,) = slim.get_variables("Tiny/weights")
        session.run(weights.assign(np.resize(WEIGHTS, [3, num_classes])))
        tf.train.Saver().save(session, str(folder / "model.ckpt"), 7)
    return str(folder)


def test_checkpoints(images, tmp_path):
    folder = save_checkpoint(tmp_path, CLASSES)
    # The background may have no name, or only a name.
    for num_classes in (CLASSES, CLASSES - 1, CLASSES + 1):
        with classifying.CheckpointClassifier(
            folder, get_network_fn, num_classes, [SIZE, SIZE, 3]
        ) as classifier:
            check_dataset(classifier, images, reckon(images))
            np.testing.assert_allclose(
                classifier.classify(images), reckon(images), atol=1e-6
            )
    with pytest.raises(ValueError, match=r"the shape \[3, 9\], but \[3, 4\]"):
        classifying.CheckpointClassifier(folder, get_network_fn, 9, [SIZE, SIZE, 3])
    (data,) = tmp_path.glob("*.data-*")
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(ValueError, match="is not whole"):
        classifying.CheckpointClassifier(folder, get_network_fn, 4, [SIZE, SIZE, 3])


def test_names_may_lack_the_background():
    names = {0: "a", 1: "b", 2: "c"}
    assert classifying.name_classes(names, 3) == ("a", "b", "c")
    assert classifying.name_classes(names, 4) == ("class 0", "a", "b", "c")
    assert classifying.name_classes(names, 2) == ("b", "c")
    assert classifying.name_classes(None, 2) == ("class 0", "class 1")
    with pytest.raises(ValueError, match="5 classes apart, but there are names for 3"):
        classifying.name_classes(names, 5)


def test_kinds_are_told_by_what_is_there(tmp_path):
    frozen = write_frozen(tmp_path / "frozen.pb")
    saved = write_saved_model(tmp_path / "saved", {"pixels": pixels})
    run = tmp_path / "run"
    run.mkdir()
    save_checkpoint(run, 2)
    (tmp_path / "model.onnx").write_bytes(b"words")
    (tmp_path / "lite").write_bytes(b"\x18\0\0\0TFL3" + bytes(9))
    v1 = tmp_path / "old.ckpt"
    with tf.Graph().as_default(), tf.Session() as session:
        network_fn(tf.zeros([1, SIZE, SIZE, 3]))
        session.run(tf.global_variables_initializer())
        tf.train.Saver(write_version=1).save(session, str(v1))
    prefix = str(run / "model.ckpt-7")
    for path, expected in {
        frozen: (model_files.FROZEN_GRAPH, frozen),
        saved: (model_files.SAVED_MODEL, saved),
        f"{saved}/saved_model.pb": (model_files.SAVED_MODEL, saved),
        str(run): (model_files.CHECKPOINT, str(run)),
        prefix: (model_files.CHECKPOINT, prefix),
        f"{prefix}.index": (model_files.CHECKPOINT, prefix),
        str(v1): (model_files.CHECKPOINT, str(v1)),
        str(tmp_path / "model.onnx"): (model_files.ONNX, str(tmp_path / "model.onnx")),
        str(tmp_path / "lite"): (model_files.TFLITE, str(tmp_path / "lite")),
    }.items():
        assert model_files.find_kind(path) == expected
    with pytest.raises(ValueError, match="its folder holds frozen.pb"):
        model_files.find_kind(str(tmp_path / "frozn.pb"))
    with pytest.raises(ValueError, match="its folder does not exist either"):
        model_files.find_kind("/nowhere/frozen.pb")


@pytest.mark.parametrize(
    ("kind", "shape", "fits"),
    [
        ("FLOAT", [None, SIZE, SIZE, 3], True),
        ("FLOAT", [2, "height", "width", 1], True),
        ("FLOAT", [1, 3, SIZE, SIZE], False),  # Channels first.
        ("FLOAT", [1, SIZE, SIZE], False),
        ("UINT8", [1, SIZE, SIZE, 3], False),
    ],
)
def test_onnx_files_of_others(kind, shape, fits, tmp_path):
    from onnx import TensorProto, helper

    path = str(tmp_path / "model.onnx")
    kind = getattr(TensorProto, kind)
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    model.metadata_props.add(key="class_names", value="cat; dog")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    if not fits:
        with pytest.raises(ValueError, match="should take one batch of images, float"):
            onnx_classifier.OnnxClassifier(path)
        return
    with onnx_classifier.OnnxClassifier(path) as classifier:
        assert classifier.class_names is None and classifier.channels == shape[3]
        sizes = [s if isinstance(s, int) else None for s in shape[:3]]
        assert [classifier.batch_size, *classifier.image_size] == sizes


def test_damaged_files_are_one_sentence(tmp_path):
    frozen = tmp_path / "frozen.pb"
    write_frozen(frozen)
    data = frozen.read_bytes()
    lite = tmp_path / "model.tflite"
    write_tflite(lite)
    saved = tmp_path / "saved"
    write_saved_model(saved, {"pixels": pixels})
    frozen_class = classifying.FrozenClassifier
    lite_class = tflite_classifier.TFLiteClassifier
    saved_class = saved_model_classifier.SavedModelClassifier
    onnx_class = onnx_classifier.OnnxClassifier
    for path, contents, read, said in (
        (frozen, data[: len(data) // 2], frozen_class, "holds no binary GraphDef"),
        (frozen, b"words, words", frozen_class, "holds no binary GraphDef"),
        (frozen, b"", frozen_class, "is empty"),
        (lite, b"\x18\0\0\0TFL3" + bytes(9), lite_class, "cannot be loaded as"),
        (lite, lite.read_bytes()[:200], lite_class, "cannot be loaded as"),
        (lite, b"words", lite_class, "cannot be loaded as a TFLite file"),
        (saved / "saved_model.pb", b"words", saved_class, "cannot be loaded as"),
        (tmp_path / "model.onnx", b"words", onnx_class, "cannot be loaded as ONNX"),
    ):
        path.write_bytes(contents)
        name = str(saved if read is saved_class else path)
        with pytest.raises(ValueError, match=said) as caught:
            read(name)
        assert "\n" not in str(caught.value) and name in str(caught.value)
