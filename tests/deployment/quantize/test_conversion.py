"""A network trained with quantization becomes a TFLite model of integers only."""

import numpy as np
import pytest

from deployment import quantize
from tf_slim_compat import slim, tf

PIXELS = np.random.RandomState(0).randint(-128, 128, [8, 8, 8, 3]).astype(np.int8)
INPUT_STEP = 1 / 64
IMAGES = PIXELS.astype(np.float32) * INPUT_STEP


def build_network(images, is_training):
    parameters = {"is_training": is_training, "decay": 0.7}
    with slim.arg_scope(
        [slim.conv2d, slim.separable_conv2d],
        normalizer_fn=slim.batch_norm,
        normalizer_params=parameters,
    ):
        net = slim.conv2d(images, 8, 3, scope="stem")
        linear = slim.conv2d(net, 8, 1, activation_fn=None, scope="before_relu")
        net = tf.nn.relu(net + linear)
        net += slim.separable_conv2d(net, 8, 3, 1, scope="after_relu")
        branches = [slim.conv2d(net, 4, k, scope=f"branch_{k}") for k in (1, 3)]
        net = tf.concat(branches, 3)
    net += 0.2 * slim.conv2d(net, 8, 1, activation_fn=None, scope="scaled")
    net = slim.avg_pool2d(tf.nn.relu(net), 2)
    net = slim.fully_connected(slim.flatten(net), 6, scope="hidden")
    return slim.fully_connected(net, 3, activation_fn=None, scope="logits")


def train(prefix, **options):
    """Saves a network whose statistics and ranges are those of the images."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        logits = build_network(tf.constant(IMAGES), True)
        tf.losses.mean_squared_error(tf.ones([8, 3]), logits)
        quantize.experimental_create_training_graph(**options)
        loss = tf.losses.get_total_loss()
        optimizer = tf.train.GradientDescentOptimizer(0.01)
        step = slim.learning.create_train_op(loss, optimizer)
        session.run(tf.global_variables_initializer())
        for _ in range(30):
            session.run(step)
        return tf.train.Saver().save(session, prefix)


def convert(checkpoint, **options):
    """Returns the outputs of the evaluation graph, and its TFLite model."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [1, 8, 8, 3], name="input")
        outputs = tf.identity(build_network(images, False), name="output")
        quantize.experimental_create_eval_graph(**options)
        tf.train.Saver().restore(session, checkpoint)
        expected = [session.run(outputs, {images: image[None]}) for image in IMAGES]
        converter = tf.lite.TFLiteConverter.from_session(session, [images], [outputs])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_type = tf.int8
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter.quantized_input_stats = {"input": (0.0, 1 / INPUT_STEP)}
        return np.concatenate(expected), converter.convert()


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize("option", ["symmetric_weights", "per_channel"])
def test_all_tensors_are_integers(tmp_path, option):
    options = {"per_channel": True} if option == "per_channel" else {}
    checkpoint = train(str(tmp_path / "model"), **{option: True})
    expected, model = convert(checkpoint, **options)
    interpreter = tf.lite.Interpreter(model_content=model)
    types = {found["dtype"] for found in interpreter.get_tensor_details()}
    assert types == {np.int8, np.int32}
    interpreter.allocate_tensors()
    (inputs,) = interpreter.get_input_details()
    (outputs,) = interpreter.get_output_details()
    assert inputs["quantization"] == (INPUT_STEP, 0)
    step, zero = outputs["quantization"]
    found = []
    for image in PIXELS:
        interpreter.set_tensor(inputs["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(outputs["index"])[0].astype(float))
    off = np.abs((np.array(found) - zero) * step - expected) / step
    # Every layer may round to the next step, and the next layers add that up.
    assert off.max() < 5
    assert np.ptp(expected) > 50 * step
