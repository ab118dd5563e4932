"""TFLite files in float32, with float16 weights, or in 8-bit integers.

All take preprocessed images, float32 [1, height, width, channels], and return scores,
float32 [1, num_outputs]. float16 files store their weights in float16; int8 files
compute in integers, as described in B. Jacob et al., "Quantization and training of
neural networks for efficient integer-arithmetic-only inference", 2018,
arXiv:1712.05877. The metadata entry `model_spec` is the model's specification.
"""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from deployment import files
from deployment.formats import base, fake_quantized
from deployment.formats.freezing import FrozenModel
from deployment.models import graph_guard
from deployment.models.spec import ModelSpec
from deployment.predict import predictor
from tf_slim_compat import stderr_held_back, tf

_MARK = b"TFL3"
_MARK_START = 4  # Position in the file.
_SPEC_NAME = "model_spec"


class TFLitePredictor(predictor.Predictor):
    """A TFLite file with floating-point or quantized input and output.

    Images are quantized and scores dequantized with the file's parameters. Batches
    have any size if the model can be resized, else its own.

    Args:
      path: the file.
      output: name of the output tensor; None for the only one.
      spec: the model's specification, if the file contains none.
      trust: whether it may contain operations that TFLite itself does not have.

    Raises:
      ValueError: if it cannot be read or run, has no such output, or has operations of
        others without being trusted.
    """

    def __init__(
        self,
        path: str,
        output: str | None = None,
        spec: ModelSpec | None = None,
        trust: bool = False,
    ):
        self._path = path
        with tf.gfile.Open(path, "rb") as file:
            content = file.read()
        self._interpreter = self._open(content, trust)
        self.spec = _read_spec(content) or spec
        self._input = self._find_input(path)
        self._output = self._find_output(path, output)
        _, height, width, self.channels = map(int, self._input["shape"])
        signature = self._input.get("shape_signature", self._input["shape"])
        # A variable size is 1 until the input is resized.
        sizes = zip(signature[1:3], (height, width), strict=True)
        self.image_size = tuple(None if s < 0 else size for s, size in sizes)
        names = [t["name"] for t in self._interpreter.get_tensor_details()]
        self.scopes = tuple(sorted({name.split("/")[0] for name in names}))
        if None not in self.image_size and not self._can_resize():
            self.batch_size = int(self._input["shape"][0])

    def close(self) -> None:
        self._interpreter = None

    def _open(self, content: bytes, trust: bool) -> tf.lite.Interpreter:
        # Of log messages of the interpreter, and a notice of deprecation.
        with (
            warnings.catch_warnings(),
            stderr_held_back(),
            self._named_errors("loaded"),
        ):
            warnings.simplefilter("ignore")
            # Only a model that is given by its content is verified: a damaged one would
            # otherwise end the process.
            interpreter = tf.lite.Interpreter(
                model_content=content, num_threads=os.cpu_count()
            )
            foreign = [] if trust else _list_foreign_operations(content)
            if not foreign:
                interpreter.allocate_tensors()
        if foreign:
            raise ValueError(graph_guard.refuse(self._path, foreign))
        return interpreter

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        with self._named_errors("run"):
            self._resize(inputs.shape)
            self._interpreter.set_tensor(
                self._input["index"], _quantize(inputs, self._input)
            )
            self._interpreter.invoke()
            scores = self._interpreter.get_tensor(self._output["index"])
        return _dequantize(scores, self._output)

    @contextlib.contextmanager
    def _named_errors(self, what: str) -> Iterator[None]:
        """Turns errors of the interpreter into a ValueError that names the file."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise ValueError(
                f"{self._path!r} cannot be {what} as a TFLite file: {reason}."
            ) from error

    def _is_normalized(self, scores: np.ndarray) -> bool:
        # Each score may be rounded by half a unit of 8 bits, whatever its type here.
        tolerance = max(1e-3, 0.5 / 256 * scores.shape[1])
        return predictor.are_probabilities(scores, tolerance)

    def _resize(self, shape: tuple[int, ...]) -> None:
        current = self._interpreter.get_input_details()[0]["shape"]
        if list(current) != list(shape):
            self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()

    def _can_resize(self) -> bool:
        """Returns whether the model works on two images at a time."""
        shape = [int(size) for size in self._input["shape"]]
        try:
            scores = self._score(np.zeros([2, *shape[1:]], np.float32))
            return len(scores) == 2
        except ValueError:
            return False
        finally:
            self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()

    def _find_input(self, path: str) -> Mapping[str, Any]:
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4:
            shapes = ", ".join(str(list(map(int, i["shape"]))) for i in inputs)
            raise ValueError(
                f"{path!r} should take one batch of images [batch, height, width, "
                f"channels]; its inputs have the shapes {shapes}."
            )
        _check_type(inputs[0], path)
        return inputs[0]

    def _find_output(self, path: str, name: str | None) -> Mapping[str, Any]:
        outputs = {o["name"]: o for o in self._interpreter.get_output_details()}
        name = base.choose_output(name, outputs, path)
        _check_type(outputs[name], path)
        return outputs[name]


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes the mark of a TFLite file, or the ending of its name."""
    is_marked = head[_MARK_START:].startswith(_MARK)
    is_named = path.endswith(".tflite") and tf.gfile.Exists(path)
    return path if is_marked or is_named else None


def write_float32(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes a float32 TFLite file."""
    del options
    _write(model, path, "tflite", _build_converter(model))


def write_float16(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes a TFLite file with float16 weights."""
    del options
    converter = _build_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    _write(model, path, "tflite_float16", converter)


def write_int8(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an int8 TFLite file, calibrated on the range of each activation.

    A model that was trained with fake quantization has its ranges from there.
    Operations without an 8-bit implementation remain in floating point.
    """
    if model.spec.quantize:
        converter = _build_quantized_converter(model, options, tf.float32)
        _write(model, path, "tflite_int8", converter)
        return
    opsets = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    for extra in ([], [tf.lite.OpsSet.TFLITE_BUILTINS]):
        converter = _build_calibrated_converter(model, options)
        converter.target_spec.supported_ops = [*opsets, *extra]
        try:
            _write(model, path, "tflite_int8", converter)
            return
        except ValueError as error:
            if extra:
                raise
            logging.warning("%s Such operations remain in floating point.", error)


def write_int8_io(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes an int8 TFLite file with int8 input and output, for integer devices."""
    if model.spec.quantize:
        converter = _build_quantized_converter(model, options, tf.int8)
    else:
        converter = _build_calibrated_converter(model, options)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    _write(model, path, "tflite_int8_io", converter)


def _build_calibrated_converter(
    model: FrozenModel, options: base.ExportOptions
) -> tf.lite.TFLiteConverter:
    converter = _build_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [image[None]] for image in options.calibration_images
    )
    return converter


def _build_quantized_converter(
    model: FrozenModel, options: base.ExportOptions, io_type: tf.DType
) -> Any:
    """Returns the converter of a graph with fake quantization.

    Args:
      model: a model that was trained with fake quantization.
      options: the images whose range is the input's.
      io_type: type of input and output; float32 adds a conversion at either end.
    """
    graph_def = fake_quantized.make_convertible(model.graph_def)
    model = dataclasses.replace(model, graph_def=graph_def)
    graph, images, scores = model.build_graph(batch_size=1)
    with tf.Session(graph=graph) as session:
        converter = tf.compat.v1.lite.TFLiteConverter.from_session(
            session, [images], [scores]
        )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_type = tf.int8
    converter.inference_input_type = converter.inference_output_type = io_type
    stats = fake_quantized.choose_input_stats(options.calibration_images)
    converter.quantized_input_stats = {images.op.name: stats}
    return converter


def _build_converter(model: FrozenModel) -> tf.lite.TFLiteConverter:
    graph, images, scores = model.build_graph(batch_size=1)
    with graph.as_default():
        return tf.lite.TFLiteConverter(graph.as_graph_def(), [images], [scores])


def _write(
    model: FrozenModel, path: str, name: str, converter: tf.lite.TFLiteConverter
) -> None:
    """Converts and writes a model; ValueError if an operation cannot be converted."""
    # Imported here, because tf_slim_compat loads TensorFlow without its log messages.
    from tensorflow.lite.python.convert import ConverterError

    try:
        with stderr_held_back():  # The converter's log messages.
            content = converter.convert()
    except (ConverterError, RuntimeError) as error:
        lines = [line for line in str(error).splitlines() if "error" in line.lower()]
        reason = (lines or str(error).splitlines() or ["no reason given"])[0].strip()
        raise ValueError(
            f"The network cannot be converted to {name}: {reason.rstrip('.')}."
        ) from error
    files.write_bytes(path, _add_spec(content, model.spec))


def _add_spec(content: bytes, spec: ModelSpec) -> bytes:
    """Adds a specification to a TFLite file's metadata."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(spec.to_json().encode(), np.uint8)
    entry.name, entry.buffer = _SPEC_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return flatbuffer_utils.convert_object_to_bytearray(model)


def _list_foreign_operations(content: bytes) -> list[str]:
    """Lists the operations of a valid TFLite file that TFLite does not have itself."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    names = (
        (code.CustomCode() or b"").decode(errors="replace") or "without a name"
        for code in codes
        if schema.BuiltinOperator.CUSTOM
        in (code.BuiltinCode(), code.DeprecatedBuiltinCode())
    )
    return [f"the custom operation {name}" for name in names]


def _read_spec(content: bytes) -> ModelSpec | None:
    """Returns the specification in a valid TFLite file; None if there is none."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == _SPEC_NAME.encode():
            text = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            with contextlib.suppress(ValueError):
                return ModelSpec.from_json(text.decode(errors="replace"))
    return None


def _check_type(tensor: Mapping[str, Any], path: str) -> None:
    """Raises ValueError unless a tensor is float32, or an integer with a scale."""
    dtype, (scale, _) = np.dtype(tensor["dtype"]), tensor["quantization"]
    is_quantized = dtype in (np.int8, np.uint8, np.int16) and scale > 0
    if dtype != np.float32 and not is_quantized:
        raise ValueError(
            f"The tensor {tensor['name']!r} of {path!r} is {dtype.name} without a "
            "scale: it should be float32, or quantized."
        )


def _quantize(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    dtype, (scale, zero_point) = tensor["dtype"], tensor["quantization"]
    if dtype == np.float32:
        return np.asarray(values, np.float32)
    limits = np.iinfo(dtype)
    rounded = np.round(values / scale + zero_point)
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def _dequantize(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * scale


FILE_TYPE = base.FileType(
    name="TFLite file",
    recognize=recognize,
    open_predictor=lambda path, output, _, spec, trust: TFLitePredictor(
        path, output, spec, trust
    ),
    is_guarded=True,
    endings=(".tflite",),
    formats=(
        base.Format("tflite", "model.tflite", write_float32),
        base.Format(
            "tflite_float16",
            "model_float16.tflite",
            write_float16,
            tolerance=base.SameAnswers(),
        ),
        base.Format(
            "tflite_int8",
            "model_int8.tflite",
            write_int8,
            tolerance=base.SameAnswers(),
            calibration_methods=("minmax",),
        ),
        base.Format(
            "tflite_int8_io",
            "model_int8_io.tflite",
            write_int8_io,
            tolerance=base.SameAnswers(),
            calibration_methods=("minmax",),
        ),
    ),
)
