"""Reads images from TFRecords with string_input_producer (2017)."""

import os
import tempfile

import numpy as np
import tensorflow as tf


def _int64_feature(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _bytes_feature(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(filename, count):
    with tf.python_io.TFRecordWriter(filename) as writer:
        for i in range(count):
            image = np.full([4, 4, 3], i, np.uint8)
            feature = {
                "label": _int64_feature(i),
                "raw": _bytes_feature(image.tobytes()),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def read_and_decode(filename_queue):
    reader = tf.TFRecordReader()
    _, serialized_example = reader.read(filename_queue)
    features = tf.parse_single_example(
        serialized_example,
        features={
            "label": tf.FixedLenFeature([], tf.int64),
            "raw": tf.FixedLenFeature([], tf.string),
        },
    )
    image = tf.decode_raw(features["raw"], tf.uint8)
    image = tf.reshape(image, tf.stack([4, 4, 3]))
    image = tf.image.resize_images(tf.to_float(image), [8, 8]) * (1.0 / 255) - 0.5
    return image, tf.cast(features["label"], tf.int32)


def main():
    filename = os.path.join(tempfile.mkdtemp(), "train.tfrecords")
    write(filename, 10)
    filename_queue = tf.train.string_input_producer([filename], num_epochs=2)
    image, label = read_and_decode(filename_queue)
    images, labels = tf.train.shuffle_batch(
        [image, label], batch_size=4, num_threads=1, capacity=20, min_after_dequeue=5
    )
    init = tf.group(tf.global_variables_initializer(), tf.local_variables_initializer())
    seen = []
    with tf.Session() as sess:
        sess.run(init)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(coord=coord)
        try:
            while not coord.should_stop():
                batch, numbers = sess.run([images, labels])
                assert np.allclose(batch[:, 0, 0, 0], numbers / 255.0 - 0.5)
                seen.extend(numbers)
        except tf.errors.OutOfRangeError:
            print("Done training, epoch limit reached")
        finally:
            coord.request_stop()
        coord.join(threads)
    print("examples %d, labels %s" % (len(seen), sorted(set(int(n) for n in seen))))
    records = tf.python_io.tf_record_iterator(filename)
    print("records %d" % sum(1 for _ in records))


if __name__ == "__main__":
    main()
