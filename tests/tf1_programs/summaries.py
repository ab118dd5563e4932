"""Writes summaries of a training run and reads them back (2017)."""

import argparse
import glob
import os
import sys
import tempfile

import tensorflow as tf

FLAGS = None


def variable_summaries(var):
    with tf.name_scope("summaries"):
        mean = tf.reduce_mean(var)
        tf.summary.scalar("mean", mean)
        with tf.name_scope("stddev"):
            stddev = tf.sqrt(tf.reduce_mean(tf.square(var - mean)))
        tf.summary.scalar("stddev", stddev)
        tf.summary.histogram("histogram", var)


def main(_):
    log_dir = FLAGS.log_dir or tempfile.mkdtemp()
    if tf.gfile.Exists(log_dir):
        tf.gfile.DeleteRecursively(log_dir)
    tf.gfile.MakeDirs(log_dir)
    sess = tf.InteractiveSession()
    image = tf.placeholder_with_default(tf.ones([1, 4, 4, 1]), [None, 4, 4, 1])
    tf.summary.image("input", image, 1)
    with tf.name_scope("layer1"):
        weights = tf.Variable(tf.truncated_normal([16, 2], stddev=0.1))
        variable_summaries(weights)
    cost = tf.reduce_mean(tf.matmul(tf.reshape(image, [-1, 16]), weights) ** 2)
    tf.summary.scalar("cost", cost)
    train_step = tf.train.AdamOptimizer(0.01).minimize(cost)
    merged = tf.summary.merge_all()
    writer = tf.summary.FileWriter(os.path.join(log_dir, "train"), sess.graph)
    tf.global_variables_initializer().run()
    for i in range(5):
        options, metadata = None, None
        if i == 4:
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            metadata = tf.RunMetadata()
        summary, _ = sess.run([merged, train_step], None, options, metadata)
        if metadata:
            writer.add_run_metadata(metadata, "step%03d" % i)
        writer.add_summary(summary, i)
    own = tf.Summary(value=[tf.Summary.Value(tag="own", simple_value=3.5)])
    writer.add_summary(own, 5)
    writer.close()

    tags, steps, graphs = set(), set(), 0
    for path in glob.glob(os.path.join(log_dir, "train", "events*")):
        for event in tf.train.summary_iterator(path):
            graphs += bool(event.graph_def)
            for value in event.summary.value:
                tags.add(value.tag)
                steps.add(event.step)
    print("\n".join(sorted(tags)))
    print("steps %s, graphs %d" % (sorted(steps), graphs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log_dir", type=str, default="")
    FLAGS, unparsed = parser.parse_known_args()
    tf.app.run(main=main, argv=[sys.argv[0]] + unparsed)
