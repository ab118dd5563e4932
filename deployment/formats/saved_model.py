"""SavedModels, for `tf.saved_model.load`, TensorFlow 1 and TensorFlow Serving.

The signature `pixels`, which is also `serving_default`:

- takes `pixels`, preprocessed images: float32 [n, height, width, channels];
- returns `logits` and the scores, float32 [n, num_outputs]; their name is the first of
  `Task.build_signature`, for classification `probabilities`.

The signature `image_bytes`, which contains the preprocessing:

- takes `image_bytes`, the content of JPEG, PNG, GIF or BMP files: string [n]; the EXIF
  orientation of a JPEG is applied;
- returns the outputs of `Task.build_signature`. For classification: `probabilities`,
  float32 [n, num_classes], and `class_names`, string of the same shape, the same for
  all images; and of the k = 5 top classes, best first, `top_probabilities` and
  `top_names`, float32 and string [n, k].

The constant `model_spec` is the model's specification.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deployment import tasks
from deployment.formats import base, exif_orientation
from deployment.formats.freezing import FrozenModel
from deployment.models import graph_files, meta_graphs
from deployment.models.spec import ModelSpec
from deployment.predict import predictor
from tf_slim_compat import tf

# In order of preference; a signature that contains the preprocessing comes first.
_SIGNATURES = ("image_bytes", "pixels", "serving_default")
_OUTPUTS = ("probabilities", "values", "predictions", "scores", "logits")
_NAMES = ("class_names", "names", "classes")


class SavedModelPredictor(predictor.GraphPredictor):
    """A SavedModel, of this project or any other, as a `Predictor`.

    The signature's only input is a batch of encoded images, string [n], or of
    preprocessed images, float32 [n, height, width, channels].

    Args:
      path: the folder with `saved_model.pb`.
      output: key of the signature's output; None chooses by the usual names, or the
        only one that is floating point.
      signature: the signature's key; None chooses image_bytes, pixels or
        serving_default, or the only one.
      spec: the model's specification, if the SavedModel contains none.
      trust: whether its graph may do more than compute.

    Raises:
      ValueError: if it cannot be read, or has no such signature or output.
    """

    def __init__(
        self,
        path: str,
        output: str | None = None,
        signature: str | None = None,
        spec: ModelSpec | None = None,
        trust: bool = False,
    ):
        meta_graph = meta_graphs.read_saved_model(path)
        signatures = {
            key: value
            for key, value in meta_graph.signature_def.items()
            if value.inputs and value.outputs
        }
        key = _choose(signature, signatures, _SIGNATURES, path, "--signature")
        chosen = signatures[key]
        infos = [*chosen.inputs.values(), *chosen.outputs.values()]
        needed = [info.name for info in infos]
        names = []

        def load(config: tf.ConfigProto) -> predictor.Loaded:
            session = tf.Session(graph=tf.Graph(), config=config)
            meta_graphs.load(session, path, meta_graph, needed, trust)
            source = _find_input(session.graph, chosen, key, path)
            tensors = {
                name: _get_tensor(session.graph, info.name, path)
                for name, info in chosen.outputs.items()
            }
            scores = {n: t for n, t in tensors.items() if t.dtype.is_floating}
            name = _choose(output, scores, _OUTPUTS, path, "--output_node")
            texts = (tensors[name] for name in _NAMES if name in tensors)
            names[:] = [t.name for t in texts if t.dtype == tf.string][:1]
            return predictor.Loaded(session, source, scores[name])

        own_spec = graph_files.find_spec(meta_graph.graph_def)
        super().__init__(load, own_spec or spec)
        self.takes_files = self._loaded.images.dtype == tf.string
        self._names = None if own_spec or not names else names[0]

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        if self._names is not None:
            session, images, _ = self._loaded
            names = session.run(self._names, {images: inputs[:1]})
            if names.size > 1:  # Otherwise it is the name of the top-1 class.
                names = (name.decode(errors="replace") for name in names.reshape(-1))
                self.spec = base.with_names(self.spec, names)
            self._names = None
        return super()._score(inputs)


def write(model: FrozenModel, path: str, options: base.ExportOptions) -> None:
    """Writes a SavedModel; the weights are in it once."""
    builder = tf.saved_model.builder.SavedModelBuilder(path)
    with tf.Graph().as_default() as graph:
        pixels = tf.placeholder(tf.float32, [None, *model.image_shape], "pixels")
        logits, scores = model.build(pixels)
        encoded = tf.placeholder(tf.string, [None], "image_bytes")
        prepare_all = define_preparation(
            model.image_shape, model.decoded_channels, options.preprocessing_fn
        )
        _, found = model.build(prepare_all(encoded), name="image_bytes_network")
        outputs = tasks.get_task(model.spec.task).build_signature(found, model.spec)
        describe = tf.saved_model.signature_def_utils.predict_signature_def
        signatures = {
            "pixels": describe(
                {"pixels": pixels}, {"logits": logits, next(iter(outputs)): scores}
            ),
            "image_bytes": describe({"image_bytes": encoded}, outputs),
        }
        signatures["serving_default"] = signatures["pixels"]
        tf.constant(model.spec.to_json(), name=graph_files.SPEC_NAME)
        with tf.Session(graph=graph) as session:
            builder.add_meta_graph_and_variables(
                session, ["serve"], signatures, clear_devices=True
            )
    builder.save()


def recognize(path: str, head: bytes) -> str | None:
    """Recognizes the folder of a SavedModel, or its `saved_model.pb`."""
    del head
    folder, name = os.path.split(path.rstrip("/"))
    if name in meta_graphs.FILES and tf.gfile.Exists(path):
        return folder or "."
    is_saved_model = any(
        tf.gfile.Exists(os.path.join(path, n)) for n in meta_graphs.FILES
    )
    return path if is_saved_model else None


def define_preparation(
    image_shape: tuple[int, int, int], decoded_channels: int, preprocessing_fn: Callable
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that decodes and preprocesses the content of image files.

    Args:
      image_shape: (height, width, channels) of the result.
      decoded_channels: channels of images before preprocessing: 1 or 3.
      preprocessing_fn: called with an image and the height and width of the result.

    Returns:
      Maps string [n] to float32 [n, height, width, channels].
    """
    height, width, channels = image_shape

    def prepare(encoded):
        image = tf.io.decode_image(encoded, decoded_channels, expand_animations=False)
        image = exif_orientation.apply_orientation(image, encoded)
        image.set_shape([None, None, decoded_channels])
        image = preprocessing_fn(image, height, width)
        return tf.ensure_shape(image, [height, width, channels])

    # TensorFlow builds the efficient loop of map_fn only inside a function.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def prepare_all(encoded):
        return tf.map_fn(prepare, encoded, fn_output_signature=tf.float32)

    return prepare_all


def _get_tensor(graph: tf.Graph, name: str, path: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path!r} cannot be loaded as a SavedModel: its graph has no tensor "
            f"{name!r}."
        ) from error


def _choose(
    wanted: str | None, known: Mapping, preferred: tuple, path: str, flag: str
) -> str:
    """Returns the wanted key, else the first preferred one, else the only one."""
    if wanted is None:
        keys = [key for key in preferred if key in known] or list(known)
        if keys and (len(known) == 1 or keys[0] in preferred):
            return keys[0]
    elif wanted in known:
        return wanted
    names = ", ".join(sorted(known)) or "(there is none of the right type)"
    what = f"has no {wanted!r}" if wanted else "has several"
    raise ValueError(f"The SavedModel {path!r} {what}: choose with {flag} of {names}.")


def _find_input(graph: tf.Graph, signature: Any, key: str, path: str) -> tf.Tensor:
    """Returns the tensor of the images; ValueError if the signature has none."""
    (name, info), *others = signature.inputs.items()
    if not others:
        tensor = _get_tensor(graph, info.name, path)
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
        f"{', '.join(inputs)}: it should take one batch of encoded images (string) or "
        "of images (float32, [batch, height, width, channels]); choose another one "
        "with --signature."
    )


FILE_TYPE = base.FileType(
    name="SavedModel",
    recognize=recognize,
    open_predictor=SavedModelPredictor,
    is_guarded=True,
    formats=(
        base.Format(
            "saved_model",
            "saved_model",
            write,
            runs_in_tensorflow=True,
            signatures=("pixels", "image_bytes"),
        ),
    ),
)
