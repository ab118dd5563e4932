"""A convolutional network on digits with tf.estimator (2018)."""

from __future__ import absolute_import, division, print_function

import tempfile

import numpy as np
import tensorflow as tf

tf.logging.set_verbosity(tf.logging.ERROR)


def cnn_model_fn(features, labels, mode):
    input_layer = tf.reshape(features["x"], [-1, 8, 8, 1])
    conv1 = tf.layers.conv2d(
        inputs=input_layer,
        filters=8,
        kernel_size=[3, 3],
        padding="same",
        activation=tf.nn.relu,
    )
    pool1 = tf.layers.max_pooling2d(inputs=conv1, pool_size=[2, 2], strides=2)
    pool1_flat = tf.reshape(pool1, [-1, 4 * 4 * 8])
    dropout = tf.layers.dropout(
        inputs=pool1_flat, rate=0.1, training=mode == tf.estimator.ModeKeys.TRAIN
    )
    logits = tf.layers.dense(inputs=dropout, units=2)
    predictions = {
        "classes": tf.argmax(input=logits, axis=1),
        "probabilities": tf.nn.softmax(logits, name="softmax_tensor"),
    }
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode=mode, predictions=predictions)
    loss = tf.losses.sparse_softmax_cross_entropy(labels=labels, logits=logits)
    if mode == tf.estimator.ModeKeys.TRAIN:
        optimizer = tf.train.GradientDescentOptimizer(learning_rate=0.5)
        train_op = optimizer.minimize(loss=loss, global_step=tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode=mode, loss=loss, train_op=train_op)
    eval_metric_ops = {
        "accuracy": tf.metrics.accuracy(
            labels=labels, predictions=predictions["classes"]
        )
    }
    return tf.estimator.EstimatorSpec(
        mode=mode, loss=loss, eval_metric_ops=eval_metric_ops
    )


def make_data(count):
    labels = np.arange(count, dtype=np.int32) % 2
    images = np.random.RandomState(0).rand(count, 64).astype(np.float32) * 0.2
    images[labels == 1, :32] += 0.8
    return images, labels


def main(unused_argv):
    images, labels = make_data(128)
    classifier = tf.estimator.Estimator(
        model_fn=cnn_model_fn, model_dir=tempfile.mkdtemp()
    )
    train_input_fn = tf.estimator.inputs.numpy_input_fn(
        x={"x": images}, y=labels, batch_size=32, num_epochs=None, shuffle=True
    )
    logging_hook = tf.train.LoggingTensorHook({"p": "softmax_tensor"}, every_n_iter=50)
    classifier.train(input_fn=train_input_fn, steps=60, hooks=[logging_hook])
    eval_input_fn = tf.estimator.inputs.numpy_input_fn(
        x={"x": images}, y=labels, num_epochs=1, shuffle=False
    )
    results = classifier.evaluate(input_fn=eval_input_fn)
    print("accuracy is 1: %s" % (results["accuracy"] > 0.99))
    print("step %d" % results["global_step"])
    first = next(classifier.predict(input_fn=eval_input_fn))
    print("first class %d" % first["classes"])


if __name__ == "__main__":
    tf.app.run()
