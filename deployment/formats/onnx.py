"""ONNX files, written by tf2onnx and run by ONNX Runtime, two optional packages.

They compute in float32 or, after ONNX Runtime's calibration, in 8-bit integers. They
take preprocessed images, float32 [n, height, width, channels], and return scores,
float32 [n, num_outputs]. Their metadata contain the model's specification and the top
scopes of its nodes.
"""

import contextlib
import dataclasses
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

import checked_json
from deployment import files
from deployment.formats import (
    base,
    calibrating,
    fake_quantized,
    onnx_calibration,
    onnx_weights,
)
from deployment.formats.freezing import FrozenModel
from deployment.models import graph_guard
from deployment.models.spec import ModelSpec
from deployment.predict import predictor
from tf_slim_compat import tf

# Keys of the metadata, whose values are JSON. They have a prefix, because other
# programs' files use the plain names in other ways.
_SPEC_KEY = "slim_image_classifier.model_spec"
_SCOPES_KEY = "slim_image_classifier.scopes"
_CLASS_NAMES_KEY = "slim_image_classifier.class_names"  # Of older files.
_PACKAGES = ("tf2onnx", "onnxruntime")
_OPSET = 17
# Of ONNX Runtime's own operations; others come in libraries.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_READERS = ("EPContext",)  # Reads compiled code from a file.
# A file begins with the version of the format (a varint, field 1), followed by the
# name of its producer (field 2) or the graph (field 7).
_START = re.compile(rb"\x08[\x03-\x1f][\x12:]")


class OnnxPredictor(predictor.Predictor):
    """An ONNX file as a `Predictor`.

    Args:
      path: the file.
      output: name of the output; None for the only one.
      spec: the model's specification, if the file contains none.
      trust: whether it may contain operations of others and read any other file.

    Raises:
      ValueError: if it cannot be read or run, has no such output or no single input of
        images, would do more than compute without being trusted, or ONNX Runtime is
        not installed.
    """

    def __init__(
        self,
        path: str,
        output: str | None = None,
        spec: ModelSpec | None = None,
        trust: bool = False,
    ):
        runtime = base.import_package("onnxruntime", _PACKAGES, "An ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        options.log_severity_level = 4  # Errors are raised as well.
        if not trust:
            _check(path)
        self._path = path
        with self._named_errors("loaded"):
            self._session = runtime.InferenceSession(path, options)
        self._input = self._find_input(path)
        names = [output.name for output in self._session.get_outputs()]
        self._output = base.choose_output(output, names, path)
        # A variable size is None or a name.
        sizes = [s if isinstance(s, int) else None for s in self._input.shape]
        self.batch_size, self.channels = sizes[0], sizes[3] or 3
        self.image_size = tuple(sizes[1:3])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.scopes = _read_names(metadata, _SCOPES_KEY, path)
        self.spec = _read_spec(metadata, spec, path)

    def close(self) -> None:
        self._session = None

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        with self._named_errors("run"):
            return self._session.run([self._output], {self._input.name: inputs})[0]

    @contextlib.contextmanager
    def _named_errors(self, what: str) -> Iterator[None]:
        """Turns errors of ONNX Runtime into a ValueError that names the file."""
        try:
            yield
        except Exception as error:  # They have no common base class.
            reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
            raise ValueError(
                f"{self._path!r} cannot be {what} as ONNX: {reason}."
            ) from error

    def _find_input(self, path: str) -> Any:
        inputs = self._session.get_inputs()
        if not (len(inputs) == 1 and _is_batch(inputs[0])):
            found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
            raise ValueError(
                f"{path!r} should take one batch of images, float [batch, height, "
                f"width, channels] with 1 or 3 channels; its inputs are {found}."
            )
        return inputs[0]


def write(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an ONNX file; ValueError if an operation cannot be converted."""
    del options
    _save(_convert(model), model, path)


def write_int8(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an int8 ONNX file, with calibrated ranges.

    A model that was trained with fake quantization has its ranges from there.
    """
    converted = calibrating.calibrate(
        _convert(model),
        model,
        options,
        onnx_calibration.METHODS,
        onnx_calibration.quantize,
    )
    _save(converted, model, path)


def _convert(model: FrozenModel) -> Any:
    """Returns the ONNX model; ValueError if an operation cannot be converted."""
    tf2onnx = base.import_package("tf2onnx", _PACKAGES, "The format onnx")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    weights = []
    if model.spec.quantize:  # tf2onnx would round weights to the full range.
        weights = fake_quantized.list_weights(model.graph_def)
        graph_def = fake_quantized.fold_weights(model.graph_def)
        model = dataclasses.replace(model, graph_def=graph_def)
    graph, images, scores = model.build_graph()
    try:
        converted, _ = tf2onnx.convert.from_graph_def(
            graph.as_graph_def(),
            input_names=[images.name],
            output_names=[scores.name],
            opset=_OPSET,
        )
    except (KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The network cannot be converted to onnx: {str(error).splitlines()[0]}."
        ) from error
    onnx_weights.quantize(converted, weights)
    return converted


def _save(converted: Any, model: FrozenModel, path: str) -> None:
    """Writes an ONNX model with the specification and the scopes of its origin."""
    scopes = sorted({node.name.split("/")[0] for node in model.graph_def.node})
    converted.metadata_props.add(key=_SPEC_KEY, value=model.spec.to_json())
    converted.metadata_props.add(key=_SCOPES_KEY, value=json.dumps(scopes))
    files.write_bytes(path, converted.SerializeToString())


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes the first fields of an ONNX file, or the ending of its name."""
    is_named = path.endswith(".onnx") and tf.gfile.Exists(path)
    return path if is_named or _START.match(head) else None


def _check(path: str) -> None:
    """Raises ValueError if a file may do more than compute.

    ONNX Runtime's own operations only compute. Others come in libraries, and the values
    of constants may come from other files, which must be in the model's folder.
    """
    onnx = base.import_package("onnx", _PACKAGES, "An ONNX file")
    with tf.gfile.Open(path, "rb") as file:
        content = file.read()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(
            f"{path!r} cannot be loaded as ONNX: it was cut short or damaged."
        ) from error
    own = {(function.domain, function.name) for function in model.functions}
    reasons = {}
    for message in _walk(model):
        if isinstance(message, onnx.NodeProto):
            kind = (message.domain, message.op_type)
            is_known = message.domain in _DOMAINS and message.op_type not in _READERS
            if not is_known and kind not in own:
                name = f"{message.domain}.{message.op_type}".lstrip(".")
                reasons[f"the custom operation {name}"] = None
        elif isinstance(message, onnx.TensorProto):
            for entry in message.external_data:
                if entry.key == "location" and not _is_inside(entry.value, path):
                    reasons[f"weights read from {entry.value!r}"] = None
    if reasons:
        raise ValueError(graph_guard.refuse(path, reasons))


def _walk(message: Message) -> Iterator[Message]:
    """Generates a message and all messages in it."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                is_list = not isinstance(value, Message)
                waiting.extend(value if is_list else [value])


def _is_inside(location: str, path: str) -> bool:
    """Returns whether a file named by a model is in the model's folder."""
    folder = os.path.realpath(os.path.dirname(path))
    found = os.path.realpath(os.path.join(folder, location))
    # ONNX Runtime takes a name with asterisks for an address in memory.
    return "*" not in location and os.path.commonpath([folder, found]) == folder


def _read_spec(
    metadata: Mapping[str, str], spec: ModelSpec | None, path: str
) -> ModelSpec | None:
    """Returns the specification in a file's metadata; `spec` if there is none."""
    if _SPEC_KEY in metadata:
        with contextlib.suppress(ValueError):
            return ModelSpec.from_json(metadata[_SPEC_KEY])
    names = _read_names(metadata, _CLASS_NAMES_KEY, path)
    return base.with_names(spec, names) if names else spec


def _read_names(metadata: Mapping[str, str], key: str, path: str) -> tuple[str, ...]:
    try:
        found = checked_json.parse(metadata.get(key, "[]"))
        return checked_json.check(found, checked_json.Names, key)
    except ValueError as error:
        raise ValueError(
            f"The metadata of {path!r} are damaged ({error}): export the model again."
        ) from error


def _is_batch(value: Any) -> bool:
    """Returns whether an input is a batch of images with the channels last."""
    if value.type != "tensor(float)" or len(value.shape) != 4:
        return False
    channels = value.shape[3]
    return not isinstance(channels, int) or channels in (1, 3)


FILE_TYPE = base.FileType(
    name="ONNX file",
    recognize=recognize,
    open_predictor=lambda path, output, _, spec, trust: OnnxPredictor(
        path, output, spec, trust
    ),
    is_guarded=True,
    endings=(".onnx",),
    formats=(
        base.Format("onnx", "model.onnx", write, packages=_PACKAGES),
        base.Format(
            "onnx_int8",
            "model_int8.onnx",
            write_int8,
            tolerance=base.SameAnswers(),
            packages=_PACKAGES,
            calibration_methods=tuple(onnx_calibration.METHODS),
        ),
    ),
)
