"""The registry of formats: names, recognition, and formats of users."""

import logging

import numpy as np
import pytest
import tiny_models

from deployment import formats
from deployment.formats import base
from deployment.predict import predictor
from tf_slim_compat import tf


def test_formats_are_listed():
    assert formats.list_formats()[:10] == [
        "frozen",
        "saved_model",
        "tflite",
        "tflite_float16",
        "tflite_int8",
        "tflite_int8_io",
        "onnx",
        "onnx_int8",
        "openvino",
        "openvino_int8",
    ]
    with pytest.raises(
        ValueError, match="Unknown format 'onx'. Nearest: onnx. All: frozen, "
    ):
        formats.get_format("onx")
    with pytest.raises(ValueError, match="formats is empty: choose from frozen, "):
        formats.check_formats([])


def test_packages_do_not_change_who_writes_the_log(tmp_path, monkeypatch):
    (tmp_path / "greedy.py").write_text("import logging; logging.root.handlers.clear()")
    monkeypatch.syspath_prepend(tmp_path)
    handlers = logging.root.handlers[:]
    assert handlers
    base.import_package("greedy", ("greedy",), "The format greedy")
    assert logging.root.handlers == handlers


def test_models_are_recognized_by_their_content(tmp_path):
    frozen = tiny_models.write_frozen(tmp_path / "frozen.pb")
    saved = tiny_models.write_saved_model(
        tmp_path / "saved", {"pixels": tiny_models.pixels}
    )
    run = tmp_path / "run"
    run.mkdir()
    tiny_models.save_checkpoint(run, 2)
    (tmp_path / "model.onnx").write_bytes(b"words")
    (tmp_path / "exchange").write_bytes(b"\x08\x07\x12\x07tf2onnx")
    (tmp_path / "lite").write_bytes(b"\x18\0\0\0TFL3" + bytes(9))
    (tmp_path / "words.tflite").write_bytes(b"words")
    (tmp_path / "net").write_bytes(b'<?xml version="1.0"?>\n<net name="x">')
    (tmp_path / "words.xml").write_bytes(b"words")
    openvino = tmp_path / "openvino"
    openvino.mkdir()
    (openvino / "model.xml").write_bytes(b"words")
    old = tmp_path / "old"
    old.mkdir()
    tiny_models.save_checkpoint(old, version=tf.train.SaverDef.V1)
    prefix, v1 = str(run / "model.ckpt-7"), str(old / "model.ckpt-7")
    for path, name, found in (
        (frozen, "frozen graph", frozen),
        (saved, "SavedModel", saved),
        (f"{saved}/", "SavedModel", f"{saved}/"),
        (f"{saved}/saved_model.pb", "SavedModel", saved),
        (str(run), "checkpoint", str(run)),
        (prefix, "checkpoint", prefix),
        (f"{prefix}.index", "checkpoint", prefix),
        (v1, "checkpoint", v1),
        (f"{tmp_path}/model.onnx", "ONNX file", f"{tmp_path}/model.onnx"),
        (f"{tmp_path}/exchange", "ONNX file", f"{tmp_path}/exchange"),
        (f"{tmp_path}/lite", "TFLite file", f"{tmp_path}/lite"),
        (f"{tmp_path}/words.tflite", "TFLite file", f"{tmp_path}/words.tflite"),
        (f"{tmp_path}/net", "OpenVINO file", f"{tmp_path}/net"),
        (f"{tmp_path}/words.xml", "OpenVINO file", f"{tmp_path}/words.xml"),
        (str(openvino), "OpenVINO file", str(openvino)),
    ):
        file_type, to_open = formats.find_file_type(path)
        assert (file_type.name, to_open) == (name, found)
    with pytest.raises(ValueError, match="its folder contains frozen.pb"):
        formats.find_file_type(str(tmp_path / "frozn.pb"))
    with pytest.raises(ValueError, match="its folder contains model.onnx"):
        formats.find_file_type(str(tmp_path / "modl.onnx"))
    with pytest.raises(ValueError, match="its folder does not exist either"):
        formats.find_file_type("/nowhere/frozen.pb")
    with pytest.raises(ValueError, match="is a checkpoint: it needs its network"):
        formats.open_predictor(prefix)


class Constant(predictor.Predictor):
    def __init__(self, path, output, signature, spec):
        self.spec, self._scores = spec, np.load(path)

    def _score(self, inputs):
        return np.stack([self._scores] * len(inputs))


def test_a_format_of_a_user(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_registered", [])
    numpy_type = base.FileType(
        "NumPy file",
        lambda path, head: path if head.startswith(b"\x93NUMPY") else None,
        Constant,
        formats=(base.Format("numpy", "model.npy", lambda *_: None),),
    )
    formats.register(numpy_type)
    assert formats.list_formats()[-1] == "numpy"
    formats.check_formats(["numpy"])
    with open(tmp_path / "model", "wb") as file:
        np.save(file, np.array([0.25, 0.75]))
    with formats.open_predictor(
        str(tmp_path / "model"), spec=tiny_models.make_spec(2)
    ) as opened:
        assert opened.spec.num_outputs == 2
        assert opened.predict(np.zeros([3, 1, 1, 1]))[2].tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match="There is a format 'NumPy file' already"):
        formats.register(numpy_type)
    frozen = base.FileType("other", None, None, formats=(formats.get_format("frozen"),))
    with pytest.raises(ValueError, match="There is a format 'frozen' already"):
        formats.register(frozen)


def test_a_missing_package(monkeypatch):
    needy = base.Format("needy", "model", None, packages=("not_there", "json"))
    monkeypatch.setattr(formats, "get_format", {"needy": needy}.get)
    with pytest.raises(ValueError, match="needy .*'not_there'.*pip install not_there"):
        formats.check_formats(["needy"])
