# A network of tf.contrib.layers with tf.contrib.training.HParams, in Python 2 (2017).
import cPickle

import numpy as np
import tensorflow as tf
from tensorflow.contrib import layers
from tensorflow.contrib.layers.python.layers import initializers

hparams = tf.contrib.training.HParams(learning_rate=0.1, hidden=[8, 8], name='mlp')
hparams.parse('hidden=[16,8],learning_rate=0.02')

x = tf.placeholder(tf.float32, [None, 2])
y = tf.placeholder(tf.float32, [None, 1])
with tf.contrib.framework.arg_scope(
        [layers.fully_connected],
        weights_initializer=initializers.xavier_initializer(),
        weights_regularizer=layers.l2_regularizer(1e-5)):
    net = x
    for i in xrange(len(hparams.hidden)):
        net = layers.fully_connected(net, hparams.hidden[i], tf.nn.tanh,
                                     scope='fc%d' % i)
    logits = layers.fully_connected(net, 1, activation_fn=None, scope='logits')

loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(
    labels=y, logits=logits)) + tf.add_n(tf.losses.get_regularization_losses())
global_step = tf.contrib.framework.get_or_create_global_step()
train_op = layers.optimize_loss(
    loss, global_step, hparams.learning_rate, optimizer='Adam', clip_gradients=5.0)

points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
xor = np.array([[0], [1], [1], [0]], np.float32)
tf.set_random_seed(1)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in xrange(300):
        sess.run(train_op, {x: points, y: xor})
    answers = sess.run(tf.nn.sigmoid(logits), {x: points})
    values = {v.op.name: sess.run(v)
              for v in tf.contrib.framework.get_model_variables()}

kept = cPickle.loads(cPickle.dumps(values))
for name, value in sorted(kept.iteritems()):
    print('%s %s' % (name, value.shape))
if kept.has_key('logits/biases'):
    print(unicode('has biases'))
try:
    hparams.parse('layers=3')
except ValueError as error:
    print('unknown: %s' % error)
print('xor is learned: %s' % np.array_equal(np.round(answers), xor))
