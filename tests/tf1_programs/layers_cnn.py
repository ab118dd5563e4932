"""A convolutional network of tf.layers, fed by feed_dict (2018)."""

import numpy as np
import tensorflow as tf

np.random.seed(0)
tf.set_random_seed(0)

X = tf.placeholder(tf.float32, [None, 12, 12, 1], name="X")
Y = tf.placeholder(tf.int64, [None], name="Y")
training = tf.placeholder_with_default(False, [], name="training")

net = tf.layers.conv2d(X, 8, 3, padding="SAME", use_bias=False, name="conv1")
net = tf.layers.batch_normalization(net, momentum=0.8, training=training)
net = tf.nn.relu(net)
net = tf.layers.average_pooling2d(net, 2, 2)
net = tf.layers.flatten(net)
net = tf.layers.dropout(net, 0.2, training=training)
net = tf.layers.dense(
    net, 16, tf.nn.relu, kernel_initializer=tf.glorot_uniform_initializer()
)
logits = tf.layers.dense(net, 2, name="out")

loss = tf.losses.sparse_softmax_cross_entropy(Y, logits)
correct = tf.equal(tf.argmax(logits, 1), Y)
accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
with tf.control_dependencies(update_ops):
    train_op = tf.train.AdamOptimizer(0.01).minimize(loss)

images = np.random.rand(64, 12, 12, 1) * 0.3
labels = np.arange(64) % 2
images[labels == 1, 3:9, 3:9] += 0.6

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for epoch in range(10):
        for start in range(0, 64, 32):
            chosen = slice(start, start + 32)
            feeds = {X: images[chosen], Y: labels[chosen], training: True}
            sess.run(train_op, feed_dict=feeds)
    result = sess.run(accuracy, feed_dict={X: images, Y: labels})
    print("accuracy is 1: %s" % (result > 0.99))
    kernel = tf.get_default_graph().get_tensor_by_name("out/kernel:0")
    print("out/kernel %s" % (sess.run(kernel).shape,))
    print(sorted(v.op.name for v in tf.trainable_variables()))
    print("update ops %d" % len(update_ops))
