"""Trains and evaluates a small network with slim (2017)."""

from __future__ import print_function

import tempfile

import numpy as np
import tensorflow as tf
import tensorflow.contrib.slim as slim
from tensorflow.contrib.framework.python.ops import arg_scope
from tensorflow.contrib.slim.nets import resnet_v1

flags = tf.app.flags
flags.DEFINE_string("log_dir", "", "Directory of checkpoints and summaries.")
flags.DEFINE_integer("steps", 30, "Number of steps.")
FLAGS = flags.FLAGS


def load_batch(count=32):
    labels = np.arange(count) % 2
    images = np.random.RandomState(1).rand(count, 16, 16, 3).astype(np.float32) * 0.1
    images[labels == 1, :8] += 0.9
    return tf.train.batch(
        [tf.constant(images), tf.constant(labels, tf.int64)],
        batch_size=count,
        enqueue_many=True,
    )


def network(images, is_training):
    batch_norm_params = {"is_training": is_training, "decay": 0.7}
    with arg_scope(
        [slim.conv2d],
        normalizer_fn=slim.batch_norm,
        normalizer_params=batch_norm_params,
        weights_regularizer=slim.l2_regularizer(0.0005),
    ):
        net = slim.repeat(images, 2, slim.conv2d, 8, [3, 3], scope="conv1")
        net = slim.max_pool2d(net, [2, 2], scope="pool1")
    net = slim.flatten(net)
    net = slim.dropout(net, 0.9, is_training=is_training, scope="dropout")
    return slim.fully_connected(net, 2, activation_fn=None, scope="logits")


def main(_):
    log_dir = FLAGS.log_dir or tempfile.mkdtemp()
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        images, labels = load_batch()
        logits = network(images, is_training=True)
        slim.losses.softmax_cross_entropy(logits, slim.one_hot_encoding(labels, 2))
        total_loss = slim.losses.get_total_loss()
        tf.summary.scalar("losses/total", total_loss)
        optimizer = tf.train.AdamOptimizer(0.01)
        train_op = slim.learning.create_train_op(total_loss, optimizer)
        slim.learning.train(
            train_op, log_dir, number_of_steps=FLAGS.steps, log_every_n_steps=10
        )
    with tf.Graph().as_default():
        images, labels = load_batch()
        predictions = tf.argmax(network(images, is_training=False), 1)
        values, updates = slim.metrics.aggregate_metric_map(
            {"accuracy": slim.metrics.streaming_accuracy(predictions, labels)}
        )
        result = slim.evaluation.evaluate_once(
            "",
            tf.train.latest_checkpoint(log_dir),
            log_dir,
            num_evals=2,
            eval_op=list(updates.values()),
            final_op=values,
        )
    print("accuracy is 1: %s" % (result["accuracy"] > 0.99))
    print("%s in %s" % (resnet_v1.resnet_v1_50.__name__, slim.nets.__name__))


if __name__ == "__main__":
    tf.app.run()
