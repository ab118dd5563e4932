"""TFLite files: of this project, and of others."""

import numpy as np
import pytest
import tiny_models
from tiny_models import IMAGES, SIZE, WEIGHTS

from deployment import formats
from deployment.formats import tflite
from tf_slim_compat import tf


def write(path, batch_size=1, quantized=False, flat=False):
    """Writes a file with TensorFlow's converter."""
    with tf.Graph().as_default(), tf.Session() as session:
        source = tf.placeholder(tf.float32, [batch_size, SIZE, SIZE, 3], "input")
        pooled = tf.nn.avg_pool2d(source, SIZE, SIZE, "VALID")
        output = tf.nn.softmax(tf.matmul(tf.reshape(pooled, [-1, 3]), WEIGHTS))
        output = tf.reshape(output, [-1]) if flat else output
        converter = tf.lite.TFLiteConverter.from_session(session, [source], [output])
        if quantized:
            random = np.random.RandomState(1)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [random.uniform(-1, 1, [1, SIZE, SIZE, 3]).astype("f")]
                for _ in range(20)
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            if quantized == "outside":
                converter.inference_input_type = tf.int8
                converter.inference_output_type = tf.uint8
        path.write_bytes(converter.convert())
    return str(path)


@pytest.mark.parametrize(
    "options, batch_size",
    [({}, None), ({"batch_size": None}, None), ({"flat": True}, 1)],
)
def test_files_of_others(options, batch_size, tmp_path):
    path = write(tmp_path / "model.tflite", **options)
    with tflite.TFLitePredictor(path) as predictor:
        assert predictor.image_size == (SIZE, SIZE)
        assert predictor.batch_size == batch_size
        assert predictor.spec is None
        tiny_models.check(predictor)
        for count in (5, 2):
            found = predictor.predict(IMAGES[:count])
            expected = tiny_models.compute_scores(IMAGES)[:count]
            np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="has no output 'here': choose"):
        tflite.TFLitePredictor(path, "here")


@pytest.mark.parametrize("quantized", ["inside", "outside"])
def test_quantized_files(quantized, tmp_path):
    path = write(tmp_path / "model.tflite", quantized=quantized)
    with tflite.TFLitePredictor(path) as predictor:
        tiny_models.check(predictor, atol=0.02)


@pytest.mark.parametrize("name", ["tflite", "tflite_float16", "tflite_int8"])
def test_the_specification_is_in_the_metadata(name, exported):
    with formats.open_predictor(
        exported.paths[name], spec=tiny_models.make_spec()
    ) as predictor:
        assert predictor.spec == exported.model.spec


def test_metadata_of_others_is_kept(tmp_path):
    from tensorflow.lite.python import schema_py_generated as schema

    path = tmp_path / "model.tflite"
    write(path)
    content = path.read_bytes()

    def list_metadata(content):
        model = schema.Model.GetRootAs(content)
        return [model.Metadata(i).Name() for i in range(model.MetadataLength())]

    changed = tflite._add_spec(content, tiny_models.make_spec())
    assert list_metadata(changed) == [*list_metadata(content), b"model_spec"]
    path.write_bytes(changed)
    with tflite.TFLitePredictor(str(path)) as predictor:
        assert predictor.spec == tiny_models.make_spec()
        tiny_models.check(predictor)


@pytest.mark.parametrize("content", [b"\x18\0\0\0TFL3" + bytes(9), b"words", None])
def test_damaged_files(content, tmp_path):
    path = tmp_path / "model.tflite"
    if content is None:
        write(path)
        content = path.read_bytes()[:200]
    path.write_bytes(content)
    said = f"^'{path}' cannot be loaded as a TFLite file[^\n]*$"
    with pytest.raises(ValueError, match=said):
        tflite.TFLitePredictor(str(path))
