"""ONNX files, written by tf2onnx and run by ONNX Runtime, two optional packages.

They take preprocessed images, float32 [n, height, width, channels], and return scores,
float32 [n, num_outputs]. Their metadata contain the model's specification and the top
scopes of its nodes.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from deployment import files
from deployment.formats import base
from deployment.formats.freezing import FrozenModel
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
# A file begins with the version of the format (a varint, field 1), followed by the
# name of its producer (field 2) or the graph (field 7).
_START = re.compile(rb"\x08[\x03-\x1f][\x12:]")


class OnnxPredictor(predictor.Predictor):
    """An ONNX file as a `Predictor`.

    Args:
      path: the file.
      output: name of the output; None for the only one.
      spec: the model's specification, if the file contains none.

    Raises:
      ValueError: if it cannot be read, has no such output or no single input of
        images, or ONNX Runtime is not installed.
    """

    def __init__(
        self, path: str, output: str | None = None, spec: ModelSpec | None = None
    ):
        runtime = base.import_package("onnxruntime", _PACKAGES, "An ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        try:
            self._session = runtime.InferenceSession(path, options)
        except Exception as error:  # ONNX Runtime's errors have no common base class.
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"{path!r} cannot be loaded as ONNX: {reason}.") from error
        self._input = self._find_input(path)
        names = [output.name for output in self._session.get_outputs()]
        self._output = base.choose_output(output, names, path)
        # A variable size is None or a name.
        sizes = [s if isinstance(s, int) else None for s in self._input.shape]
        self.batch_size, self.channels = sizes[0], sizes[3] or 3
        self.image_size = tuple(sizes[1:3])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.scopes = tuple(json.loads(metadata.get(_SCOPES_KEY, "[]")))
        self.spec = _read_spec(metadata, spec)

    def close(self) -> None:
        self._session = None

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        return self._session.run([self._output], {self._input.name: inputs})[0]

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
    tf2onnx = base.import_package("tf2onnx", _PACKAGES, "The format onnx")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
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
    scopes = sorted({op.name.split("/")[0] for op in graph.get_operations()})
    converted.metadata_props.add(key=_SPEC_KEY, value=model.spec.to_json())
    converted.metadata_props.add(key=_SCOPES_KEY, value=json.dumps(scopes))
    files.write_bytes(path, converted.SerializeToString())


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes the first fields of an ONNX file, or the ending of its name."""
    is_named = path.endswith(".onnx") and tf.gfile.Exists(path)
    return path if is_named or _START.match(head) else None


def _read_spec(metadata: Mapping[str, str], spec: ModelSpec | None) -> ModelSpec | None:
    """Returns the specification in a file's metadata; `spec` if there is none."""
    if _SPEC_KEY in metadata:
        with contextlib.suppress(ValueError):
            return ModelSpec.from_json(metadata[_SPEC_KEY])
    names = json.loads(metadata.get(_CLASS_NAMES_KEY, "[]"))
    return base.with_names(spec, names) if names else spec


def _is_batch(value: Any) -> bool:
    """Returns whether an input is a batch of images with the channels last."""
    if value.type != "tensor(float)" or len(value.shape) != 4:
        return False
    channels = value.shape[3]
    return not isinstance(channels, int) or channels in (1, 3)


FILE_TYPE = base.FileType(
    name="ONNX file",
    recognize=recognize,
    open_predictor=lambda path, output, _, spec: OnnxPredictor(path, output, spec),
    endings=(".onnx",),
    formats=(base.Format("onnx", "model.onnx", write, packages=_PACKAGES),),
)
