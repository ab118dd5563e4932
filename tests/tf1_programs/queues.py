"""Linear regression fed by a queue that threads fill (2016)."""

import numpy as np
import tensorflow as tf

BATCH_SIZE = 16


def main():
    np.random.seed(0)
    data = np.random.rand(200, 3).astype(np.float32)
    targets = np.dot(data, np.array([[1.0], [-2.0], [3.0]], np.float32)) + 0.5

    queue = tf.RandomShuffleQueue(
        capacity=400, min_after_dequeue=50, dtypes=[tf.float32] * 2, shapes=[[3], [1]]
    )
    x_in = tf.placeholder(tf.float32, [None, 3])
    y_in = tf.placeholder(tf.float32, [None, 1])
    enqueue = queue.enqueue_many([x_in, y_in])
    x, y = queue.dequeue_many(BATCH_SIZE)

    limited = tf.train.limit_epochs(tf.constant([1.0, 2.0]), num_epochs=2)
    number = tf.train.batch([limited], batch_size=1, name="numbers")

    w = tf.Variable(tf.zeros([3, 1]), name="w")
    b = tf.Variable(tf.zeros([1]), name="b")
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) + b - y))
    train = tf.train.GradientDescentOptimizer(0.4).minimize(loss)

    sess = tf.Session()
    sess.run([tf.initialize_all_variables(), tf.local_variables_initializer()])
    sess.run(enqueue, feed_dict={x_in: data, y_in: targets})
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess=sess, coord=coord)
    numbers = []
    try:
        step = 0
        while not coord.should_stop():
            _, value = sess.run([train, loss])
            sess.run(enqueue, {x_in: data[:BATCH_SIZE], y_in: targets[:BATCH_SIZE]})
            if step < 2:
                numbers.append(float(sess.run(number)[0][0]))
            step += 1
            if step == 300:
                coord.request_stop()
    except tf.errors.OutOfRangeError:
        print("out of data")
    finally:
        coord.request_stop()
        coord.join(threads)
    print("numbers %s" % numbers)
    print("loss is small: %s" % (value < 1e-3))
    print("w:0 is %s" % np.round(sess.run("w:0")).ravel().tolist())


if __name__ == "__main__":
    main()
