"""A SavedModel as a classifier, of this project's writing or anybody's."""

import os

from google.protobuf.message import DecodeError

from deployment.predict import classifying
from tf_slim_compat import tf

# Signatures in the order of choice: what contains the preprocessing goes first.
_SIGNATURES = ("image_bytes", "pixels", "serving_default")
_OUTPUTS = ("probabilities", "predictions", "scores", "logits")
_NAMES = ("class_names", "names", "classes")


class SavedModelClassifier(classifying.GraphClassifier):
    """A SavedModel as a `Classifier`.

    The signature's only input is a batch of encoded pictures, string [n], or of
    preprocessed images, float32 [n, height, width, channels].

    Args:
      path: the folder with `saved_model.pb`.
      output: the key of the signature's output; None takes the first of probabilities,
        predictions, scores and logits, or the only one that is floating point.
      signature: the signature's key; None takes the first of image_bytes, pixels and
        serving_default, or the only one.

    Raises:
      ValueError: if it cannot be read, or has no such signature or output.
    """

    def __init__(self, path, output=None, signature=None):
        session = classifying.build_session(tf.Graph())
        meta_graph = _load(session, path)
        signatures = {
            key: value
            for key, value in meta_graph.signature_def.items()
            if value.inputs and value.outputs
        }
        key = _choose(signature, signatures, _SIGNATURES, path, "--signature")
        chosen = signatures[key]
        source = _find_input(session.graph, chosen, key, path)
        tensors = {
            name: session.graph.get_tensor_by_name(info.name)
            for name, info in chosen.outputs.items()
        }
        scores = {n: t for n, t in tensors.items() if t.dtype.is_floating}
        output = _choose(output, scores, _OUTPUTS, path, "--output_node")
        super().__init__(session, source, scores[output])
        self.takes_files = source.dtype == tf.string
        texts = (tensors[name] for name in _NAMES if name in tensors)
        self._names = next((t for t in texts if t.dtype == tf.string), None)

    def _score(self, inputs):
        if self._names is not None:
            # One row for all pictures, or the same for each; not the best of each.
            names = self._session.run(self._names, {self._input: inputs[:1]})
            if names.size > 1:
                names = names.reshape(-1)
                self.class_names = tuple(n.decode(errors="replace") for n in names)
            self._names = None
        return super()._score(inputs)


def _load(session, path):
    """Loads a SavedModel into the session; returns its MetaGraphDef."""
    try:
        with session.graph.as_default():
            return tf.saved_model.loader.load(session, ["serve"], path)
    except (DecodeError, OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        lines = getattr(error, "message", str(error)).strip().split("\n")
        raise ValueError(
            f"{path!r} cannot be loaded as a SavedModel: {lines[0].rstrip('.')}."
        ) from error


def _choose(wanted, there, preferred, path, flag):
    """The key that is wanted, else the first preferred one, else the only one."""
    if wanted is None:
        keys = [key for key in preferred if key in there] or list(there)
        if keys and (len(there) == 1 or keys[0] in preferred):
            return keys[0]
    elif wanted in there:
        return wanted
    names = ", ".join(sorted(there)) or "none that fits"
    what = f"has no {wanted!r}" if wanted else "does not tell which one is meant"
    raise ValueError(f"The SavedModel {path!r} {what}: choose with {flag} of {names}.")


def _find_input(graph, signature, key, path):
    """The tensor for the pictures; ValueError if the signature has none."""
    (name, info), *others = signature.inputs.items()
    if not others:
        tensor = graph.get_tensor_by_name(info.name)
        rank = tensor.shape.rank
        is_example = "example" in f"{name} {info.name}".lower()
        if tensor.dtype == tf.float32 and rank == 4:
            return tensor
        if tensor.dtype == tf.string and rank in (None, 1) and not is_example:
            return tensor
    inputs = (
        f"{name} ({tf.as_dtype(info.dtype).name} {tf.TensorShape(info.tensor_shape)})"
        for name, info in signature.inputs.items()
    )
    raise ValueError(
        f"The signature {key!r} of the SavedModel {os.path.basename(path)!r} takes "
        f"{', '.join(inputs)}: it should take one batch of encoded pictures (string) "
        "or of images (float32, [batch, height, width, channels]); another one can be "
        "chosen with --signature."
    )
