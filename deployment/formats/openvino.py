"""OpenVINO files, written and run by the optional package openvino.

A folder with `model.xml`, the graph, and `model.bin`, the weights. They compute in
float32 or, after NNCF's calibration, in 8-bit integers. They take preprocessed images,
float32 [n, height, width, channels], and return scores, float32 [n, num_outputs]. The
model's specification and the top scopes of its nodes are runtime information in the
graph.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

import checked_json
from deployment.formats import base, calibrating, openvino_calibration, signal_stack
from deployment.formats.freezing import FrozenModel
from deployment.models.spec import ModelSpec
from deployment.predict import predictor
from tf_slim_compat import stderr_held_back, tf

_GRAPH_NAME = "model.xml"
_PACKAGES = ("openvino",)
_OWN = "slim_image_classifier"
_SPEC_KEY, _SCOPES_KEY = [_OWN, "model_spec"], [_OWN, "scopes"]
_DEVICE = "CPU"
_TYPES = {predictor.FLOAT32: "f32", "bfloat16": "bf16"}


class OpenvinoPredictor(predictor.Predictor):
    """An OpenVINO file as a `Predictor`.

    Args:
      path: the folder with `model.xml`, or the XML file.
      output: name of the output; None for the only one.
      spec: the model's specification, if the file contains none.

    Raises:
      ValueError: if it cannot be read or run, has no such output or no single input of
        images, or the package is not installed.
    """

    def __init__(
        self, path: str, output: str | None = None, spec: ModelSpec | None = None
    ):
        openvino = base.import_package("openvino", _PACKAGES, "An OpenVINO file")
        self._path, self._core = path, openvino.Core()
        is_folder = tf.gfile.IsDirectory(path)
        with self._named_errors("loaded"), stderr_held_back(), signal_stack.kept():
            self._model = self._core.read_model(
                os.path.join(path, _GRAPH_NAME) if is_folder else path
            )
            if "BF16" in self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"):
                self.precisions = tuple(_TYPES)
        height, width, channels = self._find_image_shape()
        self.image_size, self.channels = (height, width), channels or 3
        outputs = {min(o.get_names() or {"output"}): o for o in self._model.outputs}
        chosen = base.choose_output(output, outputs, path)
        self._output = self._model.outputs.index(outputs[chosen])
        self.scopes = self._read_scopes()
        self.spec = self._read_spec() or spec
        self._start(predictor.FLOAT32)

    def close(self) -> None:
        self._model, self._compiled = None, {}

    def _start(self, name: str) -> None:
        self._hints = {
            "INFERENCE_PRECISION_HINT": _TYPES[name],
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = {}  # A fixed shape is computed faster than a variable one.

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        with self._named_errors("run"):
            if inputs.shape not in self._compiled:
                model = self._model.clone()
                model.reshape(list(inputs.shape))
                self._compiled[inputs.shape] = self._core.compile_model(
                    model, _DEVICE, self._hints
                )
            compiled = self._compiled[inputs.shape]
            return compiled(np.asarray(inputs, np.float32))[self._output]

    @contextlib.contextmanager
    def _named_errors(self, what: str) -> Iterator[None]:
        """Turns errors of OpenVINO into a ValueError that names the file."""
        try:
            yield
        except (RuntimeError, TypeError, ValueError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            # The first lines name places in OpenVINO's own source.
            reasons = [n for n in lines if not n.startswith("Exception from")] or lines
            raise ValueError(
                f"{self._path!r} cannot be {what} as OpenVINO: "
                f"{(reasons or ['no reason given'])[0].strip().rstrip('.')}."
            ) from error

    def _find_image_shape(self) -> list[int | None]:
        """Returns height, width and channels, and sets the batch size."""
        inputs = self._model.inputs
        shapes = [i.get_partial_shape() for i in inputs]
        fits = len(inputs) == 1 and inputs[0].get_element_type().to_string() == "f32"
        if fits and shapes[0].rank.is_static and len(shapes[0]) == 4:
            sizes = [n.get_length() if n.is_static else None for n in shapes[0]]
            if sizes[3] in (None, 1, 3):
                self.batch_size = sizes[0]
                return sizes[1:]
        found = ", ".join(
            f"{i.get_element_type().to_string()} {shape}"
            for i, shape in zip(inputs, shapes, strict=True)
        )
        raise ValueError(
            f"{self._path!r} should take one batch of images, f32 [batch, height, "
            f"width, channels] with 1 or 3 channels; its inputs are {found}."
        )

    def _read_info(self, key: list[str]) -> str | None:
        known = self._model.has_rt_info(key)
        return str(self._model.get_rt_info(key).value) if known else None

    def _read_spec(self) -> ModelSpec | None:
        with contextlib.suppress(ValueError):
            return ModelSpec.from_json(self._read_info(_SPEC_KEY) or "")
        return None

    def _read_scopes(self) -> tuple[str, ...]:
        with contextlib.suppress(ValueError):
            found = checked_json.parse(self._read_info(_SCOPES_KEY) or "")
            return checked_json.check(found, checked_json.Names, "scopes")
        return ()


def write(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an OpenVINO file; ValueError if an operation cannot be converted."""
    del options
    _save(_convert(model), model, path)


def write_int8(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an int8 OpenVINO file, with calibrated ranges.

    A model that was trained with fake quantization has its ranges from there.
    """
    converted = calibrating.calibrate(
        _convert(model),
        model,
        options,
        openvino_calibration.METHODS,
        openvino_calibration.quantize,
    )
    _save(converted, model, path)


def _save(converted: Any, model: FrozenModel, path: str) -> None:
    """Writes an OpenVINO model with the specification and the scopes of its origin."""
    openvino = base.import_package("openvino", _PACKAGES, "The format openvino")
    scopes = sorted({node.name.split("/")[0] for node in model.graph_def.node})
    converted.set_rt_info(model.spec.to_json(), _SPEC_KEY)
    converted.set_rt_info(json.dumps(scopes), _SCOPES_KEY)
    openvino.save_model(
        converted, os.path.join(path, _GRAPH_NAME), compress_to_fp16=False
    )


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes the folder, its `model.xml`, or another XML file with a network."""
    folder, name = os.path.split(path.rstrip("/"))
    if name == _GRAPH_NAME and tf.gfile.Exists(path):
        return folder or "."
    if tf.gfile.Exists(os.path.join(path, _GRAPH_NAME)):
        return path
    is_named = path.endswith(".xml") and tf.gfile.Exists(path)
    return path if is_named or (head.startswith(b"<?xml") and b"<net" in head) else None


def _convert(model: FrozenModel) -> Any:
    """Returns the OpenVINO model; ValueError if an operation cannot be converted."""
    openvino = base.import_package("openvino", _PACKAGES, "The format openvino")
    graph, _, _ = model.build_graph()
    # OpenVINO reads graphs from files.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.pb")
        with open(path, "wb") as file:
            file.write(graph.as_graph_def().SerializeToString())
        try:
            return openvino.Core().read_model(path)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ValueError(
                f"The network cannot be converted to openvino: {lines[-1].strip()}."
            ) from error


FILE_TYPE = base.FileType(
    name="OpenVINO file",
    recognize=recognize,
    open_predictor=lambda path, output, _, spec: OpenvinoPredictor(path, output, spec),
    endings=(".xml",),
    formats=(
        base.Format("openvino", "openvino", write, packages=_PACKAGES),
        base.Format(
            "openvino_int8",
            "openvino_int8",
            write_int8,
            tolerance=base.SameAnswers(),
            packages=openvino_calibration.PACKAGES,
            calibration_methods=tuple(openvino_calibration.METHODS),
        ),
    ),
)
