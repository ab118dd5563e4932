"""Prints how many images a second the input pipeline alone delivers.

python -m benchmarks.input_pipeline --dataset_dir=data --dataset_name=satellite
"""

import time

from absl import app, flags

from datasets import dataset_factory, input_pipeline
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

FLAGS = flags.FLAGS

flags.DEFINE_string("dataset_dir", None, "The folder of the shards.")
flags.DEFINE_string("dataset_name", "image_folder", "The dataset.")
flags.DEFINE_string("dataset_split_name", "train", "The split.")
flags.DEFINE_string("preprocessing_name", "inception", "The preprocessing.")
flags.DEFINE_bool("is_training", True, "Training or evaluation.")
flags.DEFINE_integer("image_size", 224, "Height and width of the batch, in pixels.")
flags.DEFINE_integer("batch_size", 32, "Images a batch.")
flags.DEFINE_integer("num_readers", 4, "Shards read at a time.")
flags.DEFINE_integer("num_preprocessing_threads", 4, "Images decoded at a time.")
flags.DEFINE_integer("seed", None, "Of an order and distortions that can be repeated.")
flags.DEFINE_float("seconds", 10, "How long to measure.")
flags.DEFINE_integer("repeats", 3, "How many times.")


def measure(session, batch, seconds):
    """Returns the images a second over `seconds`."""
    num_images = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        num_images += len(session.run(batch)[1])
    return num_images / (time.perf_counter() - start)


def main(argv):
    del argv
    dataset = dataset_factory.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    batches = input_pipeline.build_batches(
        dataset,
        preprocessing_factory.get_preprocessing(
            FLAGS.preprocessing_name, is_training=FLAGS.is_training
        ),
        FLAGS.image_size,
        FLAGS.image_size,
        FLAGS.batch_size,
        is_training=FLAGS.is_training,
        num_readers=FLAGS.num_readers,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        seed=FLAGS.seed,
    )
    iterator = tf.data.make_initializable_iterator(batches.repeat())
    batch = iterator.get_next()
    with tf.Session() as session:
        session.run([iterator.initializer, tf.tables_initializer()])
        measure(session, batch, 2)
        for _ in range(FLAGS.repeats):
            print(f"{measure(session, batch, FLAGS.seconds):.0f} images/s", flush=True)


if __name__ == "__main__":
    app.run(main)
