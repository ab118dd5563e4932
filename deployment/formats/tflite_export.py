"""A network as a TFLite file, in float, in float16, or in integers of 8 bits.

All read preprocessed images, float32 [1, height, width, channels], and give
probabilities, float32 [1, num_classes]. In float16 only the weights are; in int8 the
computation is, as B. Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", 2018, arXiv:1712.05877, describe it.
"""

from absl import logging

from deployment import quiet
from tf_slim_compat import tf


def convert(model, kind, calibration_images=None):
    """Converts a network.

    Args:
      model: a `model_export.FrozenModel`.
      kind: "tflite", "tflite_float16" or "tflite_int8".
      calibration_images: float32 [n, height, width, channels], preprocessed real
        images, from which int8 learns the range of each value.

    Returns:
      The file's content, bytes.

    Raises:
      ValueError: if an operation of the network cannot be converted, or int8 has no
        images.
    """
    # Not at the top: it is tf_slim_compat that loads TensorFlow, without its noise.
    from tensorflow.lite.python.convert import ConverterError

    if kind == "tflite_int8" and (
        calibration_images is None or not len(calibration_images)
    ):
        raise ValueError(
            "tflite_int8 needs images to learn the range of values from: give "
            "--dataset_dir or --image_dir, and --calibration_images=100."
        )
    try:
        return _convert(model, kind, calibration_images)
    except (ConverterError, RuntimeError) as error:
        if kind != "tflite_int8":
            raise ValueError(_explain(kind, error)) from error
        logging.warning(
            "%s What has no 8-bit form stays in float.", _explain(kind, error)
        )
    try:
        return _convert(model, kind, calibration_images, has_floats=True)
    except (ConverterError, RuntimeError) as error:
        raise ValueError(_explain(kind, error)) from error


def _convert(model, kind, calibration_images, has_floats=False):
    graph, images, probabilities = model.build_graph(batch_size=1)
    with graph.as_default():
        converter = tf.lite.TFLiteConverter(
            graph.as_graph_def(), [images], [probabilities]
        )
    if kind != "tflite":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "tflite_float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "tflite_int8":
        ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if has_floats:
            ops.append(tf.lite.OpsSet.TFLITE_BUILTINS)
        converter.target_spec.supported_ops = ops
        converter.representative_dataset = lambda: (
            [image[None]] for image in calibration_images
        )
    with quiet.stderr_held_back():  # The converter's own inner workings.
        return converter.convert()


def _explain(kind, error):
    lines = [line for line in str(error).splitlines() if "error" in line.lower()]
    reason = (lines or str(error).splitlines() or ["no reason given"])[0].strip()
    return f"The network cannot be converted to {kind}: {reason.rstrip('.')}."
