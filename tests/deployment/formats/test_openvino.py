"""OpenVINO files: of this project and of others."""

import signal
import sys

import numpy as np
import pytest
from exported_models import SIZE

from deployment import formats
from deployment.formats import openvino, signal_stack


def test_a_file_contains_its_specification(exported):
    path = exported.paths["openvino"]
    for found in (path, f"{path}/model.xml"):
        with formats.open_predictor(found) as opened:
            assert opened.image_size == (SIZE, SIZE) and opened.channels == 3
            assert opened.spec == exported.model.spec
            assert opened.batch_size is None
            (scope,) = {s for s in opened.scopes if s != "input"}
            assert scope
    with pytest.raises(ValueError, match="has no output 'here': choose"):
        formats.open_predictor(path, "here")


def test_it_computes_in_float32_unless_told(exported):
    pixels = exported.samples.pixels
    with formats.open_predictor(exported.paths["frozen"]) as frozen:
        expected = frozen.predict(pixels)
    with formats.open_predictor(exported.paths["openvino"]) as opened:
        found = opened.predict(pixels)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(opened.predict(pixels[:1]), found[:1], atol=1e-5)
        if "bfloat16" in opened.precisions:
            with opened.reopen("bfloat16") as other:
                lower = other.predict(pixels)
            assert 0 < np.abs(lower - found).max() < 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of Linux")
def test_signals_are_handled_on_the_stack_of_before(exported):
    def stack():
        found = signal_stack.read()
        return found.address, found.size

    before, handled = stack(), []
    for _ in range(2):
        with formats.open_predictor(exported.paths["openvino"]) as opened:
            opened.predict(exported.samples.pixels)
            assert stack() == before
    previous = signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert handled


def test_without_its_package(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ValueError, match="format openvino needs .*pip install openvino"
    ):
        formats.check_formats(["openvino"])
    with pytest.raises(ValueError, match="An OpenVINO file needs .*pip install open"):
        formats.open_predictor(exported.paths["openvino"])


def write(path, kind, shape):
    """Writes a file that returns its input."""
    import openvino as package
    from openvino import opset13 as ops

    images = ops.parameter(shape, kind, "x")
    model = package.Model([ops.relu(images)], [images], "model")
    package.save_model(model, str(path))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "shape", "fits"),
    [
        (np.float32, [-1, SIZE, SIZE, 3], True),
        (np.float32, [2, -1, -1, 1], True),
        (np.float32, [1, 3, SIZE, SIZE], False),  # Channels first.
        (np.float32, [1, SIZE, SIZE], False),
        (np.uint8, [1, SIZE, SIZE, 3], False),
    ],
)
def test_files_of_others(kind, shape, fits, tmp_path):
    path = write(tmp_path / "net.xml", kind, shape)
    assert formats.find_file_type(path)[0] is openvino.FILE_TYPE
    if not fits:
        with pytest.raises(ValueError, match="should take one batch of images, f32"):
            formats.open_predictor(path)
        return
    with formats.open_predictor(path) as opened:
        assert opened.spec is None and opened.channels == shape[3]
        sizes = [size if size > 0 else None for size in shape[:3]]
        assert [opened.batch_size, *opened.image_size] == sizes


def test_a_damaged_file(tmp_path):
    path = tmp_path / "words.xml"
    path.write_bytes(b"words")
    said = f"^'{path}' cannot be loaded as OpenVINO: [^\n]*$"
    with pytest.raises(ValueError, match=said):
        formats.open_predictor(str(path))
