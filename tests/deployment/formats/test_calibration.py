"""int8 by calibration with ONNX Runtime and OpenVINO, of a network trained in float."""

import subprocess
import sys

import numpy as np
import pytest
import toy_training
from conftest import ROOT

from deployment import formats
from deployment.config_flags import SettingError
from deployment.formats import (
    checking,
    exporting,
    freezing,
    onnx_calibration,
    openvino_calibration,
)
from deployment.formats.base import ExportOptions
from tf_slim_compat import tf

IMAGES = toy_training.IMAGES
METHODS = {
    "onnx_int8": tuple(onnx_calibration.METHODS),
    "openvino_int8": tuple(openvino_calibration.METHODS),
}
CASES = [(name, method) for name, methods in METHODS.items() for method in methods]


def preprocess(image, height, width):
    return tf.cast(image, tf.float32)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """The configuration and the frozen model of a trained network."""
    folder = tmp_path_factory.mktemp("float")
    toy_training.train(folder, 60, seed=1)
    spec = toy_training.make_spec(image_size=8, use_grayscale=True)
    config = freezing.ExportConfig(toy_training.network_in_evaluation, preprocess, spec)
    return config, freezing.freeze(config, str(folder))


@pytest.fixture(scope="module")
def exported(frozen, tmp_path_factory):
    """(format, method) -> path and row of the comparison."""
    config, model = frozen
    samples = checking.Samples(
        IMAGES, np.array([b""] * len(IMAGES), object), toy_training.LABELS
    )
    found = {}
    for name, method in CASES:
        out = str(tmp_path_factory.mktemp(f"{name}_{method}"))
        options = ExportOptions(preprocess, IMAGES, method)
        paths = exporting.export(model, out, [name], options)
        _, row = checking.check(config, model, paths, samples)
        found[name, method] = paths[name], row
    return found


@pytest.mark.parametrize(("name", "method"), CASES)
def test_answers_are_those_of_the_checkpoint(name, method, exported, frozen):
    path, row = exported[name, method]
    assert row.comparison.agreement >= 0.95
    assert row.verdict.failure is None
    with formats.open_predictor(path) as predictor:
        assert predictor.spec == frozen[1].spec
        assert predictor.batch_size is None
        scores = predictor.predict(IMAGES)
    # Probabilities of a softmax in 8 bits would be taken for logits.
    assert 0 < row.comparison.difference < 0.1
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_onnx_has_integer_weights_by_channel(exported):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(exported["onnx_int8", "minmax"][0]).graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    sources = {name: node for node in graph.node for name in node.output}
    layers = [n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    assert len(layers) == 2
    for layer in layers:
        assert sources[layer.input[0]].op_type == "DequantizeLinear"
        integers, scales, *_ = (stored[n] for n in sources[layer.input[1]].input)
        assert integers.dtype == np.int8
        channels = 8 if layer.op_type == "Conv" else toy_training.NUM_CLASSES
        assert scales.shape == (channels,)
    (softmax,) = (n for n in graph.node if n.op_type == "Softmax")
    after = [n.op_type for n in graph.node if softmax.output[0] in n.input]
    assert "QuantizeLinear" not in after


def test_openvino_has_integer_weights(exported):
    openvino = pytest.importorskip("openvino")
    path, _ = exported["openvino_int8", "minmax"]
    model = openvino.Core().read_model(f"{path}/model.xml")
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    kinds = [op.get_element_type().to_string() for op in constants]
    assert kinds.count("i8") == 2
    types = [op.get_type_name() for op in model.get_ops()]
    assert types.count("FakeQuantize") >= 2


def test_ranges_come_from_the_images(frozen, tmp_path):
    _, model = frozen
    for factor in (1.0, 0.05):  # Larger values than those seen are cut off.
        out = str(tmp_path / str(factor))
        options = ExportOptions(preprocess, (IMAGES * factor).astype(np.float32))
        paths = exporting.export(model, out, ["onnx_int8", "openvino_int8"], options)
        for path in paths.values():
            with formats.open_predictor(path) as predictor:
                accuracy = np.mean(
                    predictor.predict(IMAGES).argmax(axis=1) == toy_training.LABELS
                )
            assert accuracy > 0.9 if factor == 1 else accuracy < 0.9


def test_a_method_that_a_format_lacks():
    formats.check_formats(["frozen", "onnx_int8"], "percentile")
    with pytest.raises(SettingError, match="percentile is not a method of tflite_int8"):
        formats.check_formats(["onnx_int8", "tflite_int8"], "percentile")
    known = formats.list_calibration_methods()
    assert known == ["entropy", "histogram", "minmax", "percentile"]


def test_without_nncf(monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    formats.check_formats(["openvino"])
    said = "openvino_int8 needs the package 'nncf', .*pip install openvino nncf"
    with pytest.raises(ValueError, match=said):
        formats.check_formats(["openvino_int8"])


def test_what_cannot_be_quantized_is_one_sentence(frozen):
    wrong = np.zeros([2, 5, 5, 1], np.float32)  # Of another size than the input's.
    with pytest.raises(ValueError, match=r"^ONNX Runtime cannot quantize [^\n]*\.$"):
        options = ExportOptions(preprocess, wrong)
        formats.get_format("onnx_int8").write(frozen[1], "unused", options)
    with pytest.raises(ValueError, match=r"^NNCF cannot quantize [^\n]*\.$"):
        formats.get_format("openvino_int8").write(frozen[1], "unused", options)


def test_nncf_sends_nothing():
    # pytest itself turns it off, so another process looks.
    program = (
        "from deployment import formats\n"
        "formats.check_formats(['openvino_int8'])\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "print(type(telemetry).__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.split() == ["MagicMock"], result.stdout + result.stderr
