"""An ONNX file as a classifier, run by ONNX Runtime, a package of its own."""

import importlib
import json
import os

from deployment.predict import classifying

# What export_model.py writes into the file of the network, each as JSON. Files of
# others may have metadata of the same plain names in another form.
CLASS_NAMES_KEY = "slim_image_classifier.class_names"
SCOPES_KEY = "slim_image_classifier.scopes"


class OnnxClassifier(classifying.Classifier):
    """An ONNX file as a `Classifier`.

    Args:
      path: the file.
      output: the name of the output; None takes the only one.

    Raises:
      ValueError: if it cannot be read, has no such output or no single input of
        images, or ONNX Runtime is missing.
    """

    def __init__(self, path, output=None):
        runtime = import_package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        try:
            self._session = runtime.InferenceSession(path, options)
        except Exception as error:  # Of types of its own, without a common base.
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"{path!r} cannot be loaded as ONNX: {reason}.") from error
        self._input = self._find_input(path)
        self._output = self._find_output(path, output)
        # An open size is None, or a name.
        sizes = [s if isinstance(s, int) else None for s in self._input.shape]
        self.batch_size, self.channels = sizes[0], sizes[3] or 3
        self.image_size = tuple(sizes[1:3])
        notes = self._session.get_modelmeta().custom_metadata_map
        self.scopes = json.loads(notes.get(SCOPES_KEY, "[]"))
        self.class_names = tuple(json.loads(notes.get(CLASS_NAMES_KEY, "[]"))) or None

    def close(self):
        self._session = None

    def _score(self, inputs):
        return self._session.run([self._output], {self._input.name: inputs})[0]

    def _find_input(self, path):
        inputs = self._session.get_inputs()
        if not (len(inputs) == 1 and _is_batch(inputs[0])):
            found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
            raise ValueError(
                f"{path!r} should take one batch of images, float [batch, height, "
                f"width, channels] with 1 or 3 channels; its inputs are {found}."
            )
        return inputs[0]

    def _find_output(self, path, name):
        names = sorted(output.name for output in self._session.get_outputs())
        if name is None and len(names) == 1:
            return names[0]
        if name not in names:
            what = f"has no output {name!r}" if name else "has no single output"
            raise ValueError(
                f"{path!r} {what}: choose with --output_node one of {', '.join(names)}."
            )
        return name


def _is_batch(value):
    """Whether an input is a batch of images whose channels are last, not first."""
    if value.type != "tensor(float)" or len(value.shape) != 4:
        return False
    channels = value.shape[3]
    return not isinstance(channels, int) or channels in (1, 3)


def import_package(name):
    """A package of the extra `onnx`; raises ValueError if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"The format onnx needs the package {name!r}, which cannot be imported "
            f"({error}): pip install tf2onnx onnxruntime."
        ) from error
