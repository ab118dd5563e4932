"""Training with MonitoredTrainingSession and hooks, resumed once (2018)."""

import tempfile

import tensorflow as tf
from tensorflow.python.platform import gfile

tf.flags.DEFINE_float("learning_rate", 0.5, "Initial learning rate.")
FLAGS = tf.flags.FLAGS


class CountHook(tf.train.SessionRunHook):
    def begin(self):
        self.calls = 0

    def before_run(self, run_context):
        return tf.train.SessionRunArgs("loss:0")

    def after_run(self, run_context, run_values):
        self.calls += 1
        self.last = run_values.results


def train(folder, last_step):
    with tf.Graph().as_default():
        global_step = tf.train.get_or_create_global_step()
        dataset = tf.data.Dataset.from_tensor_slices(([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]))
        x, y = dataset.repeat().batch(3).make_one_shot_iterator().get_next()
        w = tf.get_variable("w", [], initializer=tf.zeros_initializer())
        loss = tf.losses.mean_squared_error(y, w * x)
        loss = tf.identity(loss, name="loss")
        rate = tf.train.exponential_decay(FLAGS.learning_rate, global_step, 10, 0.5)
        train_op = tf.train.MomentumOptimizer(rate * 0.1, 0.5).minimize(
            loss, global_step=global_step
        )
        counter = CountHook()
        hooks = [
            tf.train.StopAtStepHook(last_step=last_step),
            tf.train.NanTensorHook(loss),
            counter,
        ]
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=folder,
            hooks=hooks,
            save_checkpoint_steps=10,
            config=tf.ConfigProto(allow_soft_placement=True),
        ) as sess:
            while not sess.should_stop():
                _, step = sess.run([train_op, global_step])
    return counter, step


def main(argv=None):
    folder = tempfile.mkdtemp()
    first, _ = train(folder, 20)
    second, _ = train(folder, 50)
    print("runs %d %d" % (first.calls, second.calls))
    print("loss is small: %s" % (second.last < 1e-3))
    print("last checkpoint %s" % tf.train.latest_checkpoint(folder).split("-")[-1])
    gfile.DeleteRecursively(folder)
    print("folder exists: %s" % gfile.Exists(folder))


if __name__ == "__main__":
    tf.app.run(main)
