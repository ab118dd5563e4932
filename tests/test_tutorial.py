"""What users of TF-Slim's tutorial type: its old export, and a program of that time."""

import subprocess
import sys

import pytest
import script_runner

# As programs of TensorFlow 1 were written, except for its first two lines.
PROGRAM = """
import tensorflow.compat.v1 as tf
tf.disable_v2_behavior()

import numpy as np

tf.app.flags.DEFINE_string("graph", "frozen.pb", "")
tf.app.flags.DEFINE_string("checkpoint", "run/model.ckpt-2", "")
tf.app.flags.DEFINE_string("image", "photo.jpg", "")
FLAGS = tf.app.flags.FLAGS


def main(_):
    reader = tf.train.NewCheckpointReader(FLAGS.checkpoint)
    print("step", reader.get_tensor("global_step"))
    with tf.gfile.GFile(FLAGS.graph, "rb") as f:
        graph_def = tf.GraphDef()
        graph_def.ParseFromString(f.read())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        image = tf.image.decode_jpeg(tf.gfile.FastGFile(FLAGS.image, "rb").read(), 3)
        image = tf.image.resize_bilinear(tf.expand_dims(image, 0), [32, 32])
        with tf.Session(graph=graph) as sess:
            pixels = sess.run(image / 127.5 - 1)
            output = graph.get_tensor_by_name("MobilenetV1/Predictions/Reshape_1:0")
            scores = np.squeeze(sess.run(output, {"input:0": pixels}))
    print("sum", scores.shape, round(float(scores.sum()), 3))


if __name__ == "__main__":
    tf.app.run()
"""


def run_script(script, *arguments):
    status, out, err = script_runner.run_script(script, *arguments)
    assert not status, out + err
    return out


@pytest.mark.slow
def test_a_program_of_that_time_reads_our_frozen_graph(
    data_dir, pictures_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = ["--dataset_name=image_folder", f"--dataset_dir={data_dir}"]
    model += ["--model_name=mobilenet_v1_025"]
    run_script(
        "train_image_classifier.py",
        *(*model, "--train_dir=run", "--dataset_split_name=train"),
        *("--train_image_size=32", "--batch_size=4", "--max_number_of_steps=2"),
    )
    run_script(
        "eval_image_classifier.py",
        *(*model, "--checkpoint_path=run/model.ckpt-2", "--eval_dir=eval"),
        *("--dataset_split_name=validation", "--eval_image_size=32"),
    )
    run_script(
        "export_inference_graph.py",
        *(*model, "--image_size=32", "--output_file=graph.pb"),
    )
    run_script(
        "freeze_graph.py",
        *("--input_graph=graph.pb", "--input_checkpoint=run/model.ckpt-2"),
        *("--input_binary=true", "--output_graph=frozen.pb"),
        "--output_node_names=MobilenetV1/Predictions/Reshape_1",
    )
    (tmp_path / "classify.py").write_text(PROGRAM)
    photo = f"--image={pictures_dir}/rings/0.jpg"
    done = subprocess.run(
        [sys.executable, "classify.py", photo], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "step 2\nsum (5,) 1.0\n"
