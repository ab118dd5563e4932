"""A network as a SavedModel: `tf.saved_model.load`, TensorFlow 1 and Serving read it.

The signature `pixels`, which is `serving_default` too:

- takes `pixels`, preprocessed images: float32 [n, height, width, channels];
- gives `logits` and `probabilities`: float32 [n, num_classes].

The signature `image_bytes`, which does everything from decoding on:

- takes `image_bytes`, the content of JPEG, PNG, GIF or BMP files: string [n]; a JPEG is
  turned upright as its EXIF data says;
- gives `probabilities`: float32 [n, num_classes], `class_names`: string of the same
  shape, the same for all pictures, and of the k = 5 best classes, best first,
  `top_probabilities` and `top_names`: float32 and string [n, k].
"""

from deployment.formats import exif_orientation
from tf_slim_compat import tf

TOP_K = 5
_TAGS = ["serve"]


def write(model, path, preprocessing_fn):
    """Writes a SavedModel.

    Args:
      model: a `model_export.FrozenModel`.
      path: the folder, which must not exist.
      preprocessing_fn: see `model_export.ExportConfig`.
    """
    builder = tf.saved_model.builder.SavedModelBuilder(path)
    with tf.Graph().as_default() as graph:
        height, width, channels = model.image_shape
        pixels = tf.placeholder(tf.float32, [None, height, width, channels], "pixels")
        logits, probabilities = model.build(pixels)
        files = tf.placeholder(tf.string, [None], "image_bytes")
        prepare_all = _define_preparation(model, preprocessing_fn)
        _, found = model.build(prepare_all(files), name="image_bytes_network")
        signatures = {
            "pixels": _describe(
                {"pixels": pixels}, {"logits": logits, "probabilities": probabilities}
            ),
            "image_bytes": _describe(
                {"image_bytes": files}, _name_best(found, model.class_names)
            ),
        }
        signatures["serving_default"] = signatures["pixels"]
        with tf.Session(graph=graph) as session:
            builder.add_meta_graph_and_variables(
                session, _TAGS, signatures, clear_devices=True
            )
    builder.save()


def _define_preparation(model, preprocessing_fn):
    height, width, channels = model.image_shape

    def prepare(encoded):
        image = tf.io.decode_image(
            encoded, model.picture_channels, expand_animations=False
        )
        image = exif_orientation.turn_upright(image, encoded)
        image.set_shape([None, None, model.picture_channels])
        image = preprocessing_fn(image, height, width)
        return tf.ensure_shape(image, [height, width, channels])

    # A function, because the loop of today's TensorFlow is built only within one.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def prepare_all(files):
        return tf.map_fn(prepare, files, fn_output_signature=tf.float32)

    return prepare_all


def _name_best(probabilities, class_names):
    names = tf.constant(class_names)
    top, indices = tf.nn.top_k(probabilities, min(TOP_K, len(class_names)))
    shape = tf.shape(probabilities)
    return {
        "probabilities": tf.identity(probabilities),
        "class_names": tf.broadcast_to(names, shape),
        "top_probabilities": top,
        "top_names": tf.gather(names, indices),
    }


def _describe(inputs, outputs):
    return tf.saved_model.signature_def_utils.predict_signature_def(inputs, outputs)
