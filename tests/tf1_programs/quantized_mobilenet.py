"""Quantization-aware training of a network of MobileNet's kind (2018)."""

import tempfile

import numpy as np
import tensorflow as tf
import tensorflow.contrib.slim as slim


def mobilenet(images, is_training):
    with slim.arg_scope(
        [slim.conv2d, slim.separable_conv2d],
        activation_fn=tf.nn.relu6,
        normalizer_fn=slim.batch_norm,
        normalizer_params={"is_training": is_training, "decay": 0.7},
    ):
        net = slim.conv2d(images, 8, [3, 3], stride=2, scope="Conv2d_0")
        net = slim.separable_conv2d(
            net, None, [3, 3], depth_multiplier=1, scope="Conv2d_1_depthwise"
        )
        net = slim.conv2d(net, 16, [1, 1], scope="Conv2d_1_pointwise")
    net = tf.reduce_mean(net, [1, 2], keep_dims=True)
    net = slim.conv2d(net, 2, [1, 1], activation_fn=None, scope="Logits")
    return tf.squeeze(net, [1, 2])


def main(_):
    labels = np.arange(32) % 2
    pixels = np.random.RandomState(0).rand(32, 16, 16, 3) * 0.2
    pixels[labels == 1] += 0.6
    with tf.Graph().as_default() as g:
        tf.set_random_seed(0)
        images = tf.constant(pixels, tf.float32)
        logits = mobilenet(images, is_training=True)
        tf.losses.sparse_softmax_cross_entropy(labels, logits)
        loss = tf.losses.get_total_loss()
        tf.contrib.quantize.create_training_graph(input_graph=g, quant_delay=10)
        train_op = slim.learning.create_train_op(loss, tf.train.AdamOptimizer(0.01))
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(40):
                sess.run(train_op)
            saver = tf.train.Saver()
            prefix = saver.save(sess, tempfile.mkdtemp() + "/model")
    with tf.Graph().as_default() as g:
        logits = mobilenet(tf.constant(pixels, tf.float32), is_training=False)
        tf.contrib.quantize.create_eval_graph(input_graph=g)
        with tf.Session() as sess:
            tf.train.Saver().restore(sess, prefix)
            answers = sess.run(tf.argmax(logits, 1))
    print("accuracy is 1: %s" % np.mean(answers == labels))


if __name__ == "__main__":
    tf.app.run(main)
