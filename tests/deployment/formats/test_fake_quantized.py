"""Models with fake quantization in formats whose kernels compute in integers."""

import collections
import types

import numpy as np
import pytest
import toy_training

from deployment.formats import (
    checking,
    exporting,
    fake_quantized,
    freezing,
    open_predictor,
)
from deployment.formats.base import ExportOptions
from tf_slim_compat import slim, tf

FORMATS = (
    *("frozen", "tflite_int8", "tflite_int8_io"),
    *("onnx", "onnx_int8", "openvino", "openvino_int8"),
)
IMAGES = toy_training.IMAGES


def network(images, is_training=True):
    with slim.arg_scope(
        [slim.conv2d, slim.separable_conv2d],
        normalizer_fn=slim.batch_norm,
        normalizer_params={"is_training": is_training, "decay": 0.5},
    ):
        net = slim.conv2d(images, 8, 3, scope="Net/Conv")
        net = slim.separable_conv2d(net, None, 3, scope="Net/Depthwise")
        net = slim.conv2d(net, 6, 1, stride=2, scope="Net/Pointwise")
    net = slim.flatten(net)
    logits = slim.fully_connected(net, 3, activation_fn=None, scope="Net/Logits")
    predictions = slim.softmax(logits, scope="Net/Predictions")
    return logits, {"Logits": logits, "Predictions": predictions}


@pytest.fixture(scope="module", params=[False, True], ids=["layers", "channels"])
def exported(request, tmp_path_factory):
    """The table of the comparison with the checkpoint, and the folder of the files."""
    folder = tmp_path_factory.mktemp("quantized")
    options = {"quantize": True, "quantize_per_channel": request.param}
    spec = toy_training.make_spec(**options, image_size=8, use_grayscale=True)
    toy_training.train(
        folder, 60, network, spec=spec, quantize_delay=30,
        quantize_per_channel=request.param, seed=1,
    )  # fmt: skip
    config = freezing.ExportConfig(
        lambda images: network(images, is_training=False),
        lambda image, height, width: tf.cast(image, tf.float32),
        spec,
    )
    model = freezing.freeze(config, str(folder))
    samples = checking.Samples(
        IMAGES, np.array([b""] * len(IMAGES), object), toy_training.LABELS
    )
    out = str(folder / "out")
    paths = exporting.export(
        model, out, FORMATS, ExportOptions(config.preprocessing_fn, IMAGES)
    )
    rows = checking.check(config, model, paths, samples)
    return {row.format: row for row in rows}, paths


def test_answers_are_those_of_the_checkpoint(exported):
    rows, _ = exported
    assert rows["frozen"].comparison.difference < 1e-6
    for name, row in rows.items():
        assert row.comparison.agreement >= 0.95, name
        assert not row.verdict.failure, name


@pytest.mark.parametrize(
    ("name", "floats"), [("tflite_int8", 2), ("tflite_int8_io", 0)]
)
def test_tflite_computes_in_integers(exported, name, floats):
    _, paths = exported
    interpreter = tf.lite.Interpreter(paths[name])
    interpreter.allocate_tensors()
    dtypes = collections.Counter(
        np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()
    )
    assert dtypes.pop("float32", 0) == floats  # The input and the output.
    assert set(dtypes) == {"int8", "int32"}
    (given,) = interpreter.get_input_details()
    if not floats:
        scale, zero_point = given["quantization"]
        low, high = (scale * (q - zero_point) for q in (-128, 127))
        assert low <= IMAGES.min() + scale and high >= IMAGES.max() - scale
        assert high - low < 1.1 * (IMAGES.max() - min(IMAGES.min(), 0))


def test_calibration_leaves_trained_ranges_alone(exported):
    _, paths = exported
    for name in ("onnx", "openvino"):
        scores = []
        for path in (paths[name], paths[f"{name}_int8"]):
            with open_predictor(path) as predictor:
                scores.append(predictor.predict(IMAGES))
        np.testing.assert_array_equal(*scores)


def test_a_method_to_find_ranges_is_refused(tmp_path):
    model = types.SimpleNamespace(spec=toy_training.make_spec(quantize=True))
    options = ExportOptions(None, IMAGES, calibration_method="minmax")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="calibration_method=minmax finds ranges"):
        exporting.export(model, str(out), ["onnx_int8"], options)
    assert not out.exists()


def test_onnx_stores_integers(exported):
    onnx = pytest.importorskip("onnx")
    _, paths = exported
    graph = onnx.load(paths["onnx"]).graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    dequantized = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    }
    layers = [n for n in graph.node if n.op_type in ("Conv", "MatMul", "Gemm")]
    assert len(layers) == 4
    for layer in layers:
        integers = stored[dequantized[layer.input[1]].input[0]]
        assert integers.dtype == np.int8
        assert 100 < np.abs(integers.astype(int)).max() <= 127
    activations = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    assert len(activations) == 4


@pytest.mark.parametrize("name", ["tflite_int8_io", "onnx"])
def test_a_file_is_opened_as_any_other(exported, name):
    _, paths = exported
    with open_predictor(paths[name]) as predictor:
        assert predictor.spec.quantize
        scores = predictor.predict(IMAGES)
    assert np.mean(scores.argmax(axis=1) == toy_training.LABELS) > 0.9


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.0, 1.0, (0.0, 127.0)),
        (-2.0, 1.0, (0.0, 63.5)),
        (0.0, 255.0, (-128.0, 1.0)),
        (-51.0, 204.0, (-77.0, 1.0)),
        (3.0, 51.0, (-128.0, 5.0)),
    ],
)
def test_the_input_has_the_range_of_the_images(low, high, expected):
    images = np.array([low, high, (low + high) / 2], np.float32)
    found = fake_quantized.choose_input_stats(images)
    np.testing.assert_allclose(found, expected)


def test_other_trainings_weights_become_symmetric():
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, 4, 4, 2], name="input")
        weights = tf.constant(np.linspace(-1, 3, 18).reshape(3, 3, 2, 1), tf.float32)
        weights = tf.quantization.fake_quant_with_min_max_vars(
            weights, tf.constant(-1.0), tf.constant(3.0), narrow_range=True
        )
        tf.nn.conv2d(images, weights, 1, "SAME", name="output")
    graph_def = graph.as_graph_def()
    (before,) = fake_quantized.list_weights(graph_def)
    assert before.scales == pytest.approx(4 / 254) and before.zero_points == -63
    symmetric = fake_quantized.make_convertible(graph_def)
    (after,) = fake_quantized.list_weights(symmetric)
    assert after.scales == pytest.approx(3 / 127) and after.zero_points == 0
    np.testing.assert_allclose(after.values, before.values, atol=2 / 127 + 1 / 127)
