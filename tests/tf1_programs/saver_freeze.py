"""Saves a model, restores it from its graph, and freezes it (2016)."""

import os
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import graph_util
from tensorflow.python.platform import gfile

folder = tempfile.mkdtemp()
prefix = os.path.join(folder, "model")

with tf.Graph().as_default(), tf.Session() as sess:
    x = tf.placeholder(tf.float32, [None, 2], name="input")
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", [2, 3], initializer=tf.constant_initializer(0.5))
        b = tf.get_variable("b", [3], initializer=tf.zeros_initializer())
    output = tf.nn.softmax(tf.nn.xw_plus_b(x, w, b), name="output")
    step = tf.Variable(7, trainable=False, name="global_step")
    sess.run(tf.global_variables_initializer())
    sess.run(tf.assign(b, [0.0, 1.0, 2.0]))
    saver = tf.train.Saver(max_to_keep=2)
    saver.save(sess, prefix, global_step=step)
    expected = sess.run(output, {x: [[1.0, 2.0]]})

with tf.Graph().as_default(), tf.Session() as sess:
    latest = tf.train.latest_checkpoint(folder)
    saver = tf.train.import_meta_graph(latest + ".meta", clear_devices=True)
    saver.restore(sess, latest)
    graph = tf.get_default_graph()
    restored = sess.run("output:0", feed_dict={"input:0": [[1.0, 2.0]]})
    print("restored: %s" % np.allclose(expected, restored))
    print("b is %s" % sess.run(graph.get_tensor_by_name("layer/b:0")).tolist())
    frozen = graph_util.convert_variables_to_constants(
        sess, graph.as_graph_def(), ["output"]
    )
    with gfile.FastGFile(os.path.join(folder, "frozen.pb"), "wb") as f:
        f.write(frozen.SerializeToString())

with tf.Graph().as_default(), tf.Session() as sess:
    graph_def = tf.GraphDef()
    with tf.gfile.FastGFile(os.path.join(folder, "frozen.pb"), "rb") as f:
        graph_def.ParseFromString(f.read())
    (result,) = tf.import_graph_def(graph_def, return_elements=["output:0"], name="")
    again = sess.run(result, {"input:0": [[1.0, 2.0]]})
    print("frozen: %s" % np.allclose(expected, again))
    print("read node: %s" % ("layer/w/read" in [n.name for n in graph_def.node]))

reader = tf.train.NewCheckpointReader(latest)
print(sorted(reader.get_variable_to_shape_map().items()))
