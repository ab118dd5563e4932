"""A TFLite file as a classifier, with floating-point or 8-bit input and output."""

import os
import warnings

import numpy as np

from deployment import quiet
from deployment.predict import classifying
from tf_slim_compat import tf


class TFLiteClassifier(classifying.Classifier):
    """A TFLite file as a `Classifier`.

    Images are quantised, and scores converted back, as the file's parameters say
    (Jacob et al. 2018, arXiv:1712.05877). Batches are of any size where the model
    can be resized, else of its own.

    Args:
      path: the file.
      output: the name of the output tensor; None takes the only one.

    Raises:
      ValueError: if it cannot be read, or has no such output.
    """

    def __init__(self, path, output=None):
        try:
            # Notes on how it computes, and on a package that is to come.
            with warnings.catch_warnings(), quiet.stderr_held_back():
                warnings.simplefilter("ignore")
                self._interpreter = tf.lite.Interpreter(
                    path, num_threads=os.cpu_count()
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise ValueError(
                f"{path!r} cannot be loaded as a TFLite file: {reason}."
            ) from error
        self._input = self._find_input(path)
        self._output = self._find_output(path, output)
        _, height, width, self.channels = map(int, self._input["shape"])
        signature = self._input.get("shape_signature", self._input["shape"])
        # An open size stands as 1, until the input is resized.
        sizes = zip(signature[1:3], (height, width), strict=True)
        self.image_size = tuple(None if s < 0 else size for s, size in sizes)
        names = [t["name"] for t in self._interpreter.get_tensor_details()]
        self.scopes = sorted({name.split("/")[0] for name in names})
        if None not in self.image_size and not self._can_resize():
            self.batch_size = int(self._input["shape"][0])

    def close(self):
        self._interpreter = None

    def _score(self, inputs):
        self._resize(inputs.shape)
        self._interpreter.set_tensor(
            self._input["index"], _quantize(inputs, self._input)
        )
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._output["index"])
        return _dequantize(scores, self._output)

    def _is_normalized(self, scores):
        # Each class may be rounded by half a unit of 8 bits, whatever its type here.
        tolerance = max(1e-3, 0.5 / 256 * scores.shape[1])
        return classifying.are_probabilities(scores, tolerance)

    def _resize(self, shape):
        now = self._interpreter.get_input_details()[0]["shape"]
        if list(now) != list(shape):
            self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()

    def _can_resize(self):
        """Whether the model works on two images at a time; it is left as it was."""
        shape = [int(size) for size in self._input["shape"]]
        try:
            scores = self._score(np.zeros([2, *shape[1:]], np.float32))
            return len(scores) == 2
        except (RuntimeError, ValueError):
            return False
        finally:
            self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()

    def _find_input(self, path):
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4:
            shapes = ", ".join(str(list(map(int, i["shape"]))) for i in inputs)
            raise ValueError(
                f"{path!r} should take one batch of images [batch, height, width, "
                f"channels]; its inputs have the shapes {shapes}."
            )
        _check_type(inputs[0], path)
        return inputs[0]

    def _find_output(self, path, name):
        outputs = {o["name"]: o for o in self._interpreter.get_output_details()}
        if name is None and len(outputs) == 1:
            (name,) = outputs
        if name not in outputs:
            what = f"has no output {name!r}" if name else "has no single output"
            raise ValueError(
                f"{path!r} {what}: choose with --output_node one of "
                f"{', '.join(sorted(outputs))}."
            )
        _check_type(outputs[name], path)
        return outputs[name]


def _check_type(tensor, path):
    """Raises ValueError unless a tensor is float32, or of 8 or 16 bits with a scale."""
    dtype, (scale, _) = np.dtype(tensor["dtype"]), tensor["quantization"]
    is_quantized = dtype in (np.int8, np.uint8, np.int16) and scale > 0
    if dtype != np.float32 and not is_quantized:
        raise ValueError(
            f"The tensor {tensor['name']!r} of {path!r} is {dtype.name} without a "
            "scale: it should be float32, or quantised."
        )


def _quantize(values, tensor):
    dtype, (scale, zero_point) = tensor["dtype"], tensor["quantization"]
    if dtype == np.float32:
        return np.asarray(values, np.float32)
    limits = np.iinfo(dtype)
    rounded = np.round(values / scale + zero_point)
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def _dequantize(values, tensor):
    if values.dtype == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * scale
