"""ONNX files: of this project, of its older versions, and of others."""

import json
import sys

import pytest
import tiny_models
from exported_models import SIZE

from deployment import formats
from deployment.formats import onnx


def test_a_file_contains_its_specification(exported):
    with formats.open_predictor(exported.paths["onnx"]) as predictor:
        assert predictor.image_size == (SIZE, SIZE) and predictor.channels == 3
        assert predictor.spec == exported.model.spec
        assert predictor.batch_size is None
        assert predictor.predict(exported.samples.pixels[:4]).shape == (4, 5)
        (scope,) = {s for s in predictor.scopes if s != "input"}
        assert scope
    with pytest.raises(ValueError, match="has no output 'here': choose"):
        formats.open_predictor(exported.paths["onnx"], "here")


def test_without_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ValueError, match="pip install tf2onnx onnxruntime"):
        formats.check_formats(["frozen", "onnx"])


def write(path, kind="FLOAT", shape=(None, SIZE, SIZE, 3), **metadata):
    """Writes a file that returns its input."""
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, kind)
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return str(path)


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
def test_files_of_others(kind, shape, fits, tmp_path):
    # Another program's metadata of the same plain name.
    path = write(tmp_path / "model", kind, shape, class_names="cat; dog")
    assert formats.find_file_type(path)[0] is onnx.FILE_TYPE
    if not fits:
        with pytest.raises(ValueError, match="should take one batch of images, float"):
            onnx.OnnxPredictor(path)
        return
    with onnx.OnnxPredictor(path) as predictor:
        assert predictor.spec is None and predictor.channels == shape[3]
        sizes = [s if isinstance(s, int) else None for s in shape[:3]]
        assert [predictor.batch_size, *predictor.image_size] == sizes


def test_files_of_older_versions_contain_names(tmp_path):
    metadata = {
        "slim_image_classifier.class_names": json.dumps(["cat", "dog"]),
        "slim_image_classifier.scopes": json.dumps(["LeNet"]),
    }
    path = write(tmp_path / "model.onnx", **metadata)
    with onnx.OnnxPredictor(path) as predictor:
        assert predictor.spec.output_names == ("cat", "dog")
        assert predictor.scopes == ("LeNet",)
    # The run card knows the rest, but its names may be others.
    known = tiny_models.make_spec(3, output_names=("a", "b", "c"))
    with onnx.OnnxPredictor(path, spec=known) as predictor:
        assert predictor.spec.output_names == ("cat", "dog")
        assert predictor.spec.model_name == "tiny"


def test_a_damaged_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"words")
    with pytest.raises(ValueError, match=f"^'{path}' cannot be loaded as ONNX[^\n]*$"):
        onnx.OnnxPredictor(str(path))
