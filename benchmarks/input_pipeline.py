r"""Measures the throughput of the input pipeline.

python -m benchmarks.input_pipeline --dataset_dir=data --dataset_name=satellite
"""

import time

from absl import app, flags

from datasets import dataset_factory, decoded_images, input_pipeline
from deployment.train import available_memory
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

FLAGS = flags.FLAGS

flags.DEFINE_string("dataset_dir", None, "Folder of the shards.")
flags.DEFINE_string("dataset_name", "image_folder", "Name of the dataset.")
flags.DEFINE_string("dataset_split_name", "train", "Name of the split.")
flags.DEFINE_string("preprocessing_name", "inception", "Name of the preprocessing.")
flags.DEFINE_bool("is_training", True, "Whether to preprocess for training.")
flags.DEFINE_integer("image_size", 224, "Height and width of the batch, in pixels.")
flags.DEFINE_integer("batch_size", 32, "Images per batch.")
flags.DEFINE_integer("num_readers", 4, "Shards to read in parallel.")
flags.DEFINE_integer("num_preprocessing_threads", 4, "Images to decode in parallel.")
flags.DEFINE_integer("seed", None, "Random seed; unset: not reproducible.")
flags.DEFINE_enum("cache", "off", decoded_images.MODES, "Where to keep decoded images.")
flags.DEFINE_float("seconds", 10, "Seconds per measurement.")
flags.DEFINE_integer("repeats", 3, "Number of measurements.")


def measure(session, batch, seconds):
    """Returns the images per second over `seconds`, and the CPU time per image."""
    num_images = 0
    start, cpu_start = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        num_images += len(session.run(batch)[1])
    cpu_secs = time.process_time() - cpu_start
    return num_images / (time.perf_counter() - start), cpu_secs / num_images


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
        cache=FLAGS.cache,
        free_memory=available_memory.find_available(),
    )
    iterator = tf.data.make_initializable_iterator(batches.repeat())
    batch = iterator.get_next()
    with tf.Session() as session:
        session.run([iterator.initializer, tf.tables_initializer()])
        measure(session, batch, 2)
        for _ in range(FLAGS.repeats):
            speed, cpu_secs = measure(session, batch, FLAGS.seconds)
            print(
                f"{speed:.0f} images/s, {1e6 * cpu_secs:.0f} us of CPU time per image",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
