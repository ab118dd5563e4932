r"""Evaluates a trained image classifier: every image of a split, once.

  python eval_image_classifier.py --checkpoint_path=run --eval_dir=run/eval \
      --dataset_name=image_folder --dataset_dir=data \
      --dataset_split_name=validation --model_name=mobilenet_v1_025

Prints the accuracy, the mean loss and, with more than five classes, how often the
label is among the five best; writes the same as summaries to --eval_dir.
"""

import functools

from absl import flags

from datasets import dataset_factory, input_pipeline
from deployment import entry, evaluation
from nets import nets_factory
from preprocessing import preprocessing_factory

flags.DEFINE_integer("batch_size", 100, "Images in a batch.")
flags.DEFINE_integer(
    "max_num_batches", None, "Batches to stop after. Unset: the whole split."
)
flags.DEFINE_string("master", "", "Address of the TensorFlow server; '': this process.")
flags.DEFINE_string(
    "checkpoint_path",
    "/tmp/tfmodel/",
    "A checkpoint, or a training folder, of which the newest is taken.",
)
flags.DEFINE_string("eval_dir", "/tmp/tfmodel/", "Folder for summaries; '': none.")
flags.DEFINE_integer(
    "num_preprocessing_threads", 4, "Images that are decoded at the same time."
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "A dataset; image_folder is convert_dataset.py's."
)
flags.DEFINE_string("dataset_split_name", "test", "The split to evaluate.")
flags.DEFINE_string("dataset_dir", None, "Folder of the dataset's TFRecord files.")
flags.DEFINE_integer(
    "labels_offset", 0, "Subtracted from the labels, as it was in training."
)
flags.DEFINE_string("model_name", "inception_v3", "The network to evaluate.")
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. Unset: the network's own."
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Given where training kept moving averages of the weights: evaluates them.",
)
flags.DEFINE_integer(
    "eval_image_size", None, "Image size in pixels. Unset: the network's own."
)
flags.DEFINE_boolean(
    "quantize", False, "Imitates 8-bit arithmetic; not built yet, leave it off."
)
flags.DEFINE_boolean("use_grayscale", False, "Whether to convert images to grey.")

FLAGS = flags.FLAGS


def config_from_flags(dataset):
    """The evaluation that the flags ask for."""
    if FLAGS.quantize:
        raise ValueError("Quantised graphs are not built yet: leave --quantize off.")
    return evaluation.EvaluationConfig(
        checkpoint_path=FLAGS.checkpoint_path,
        eval_dir=FLAGS.eval_dir,
        num_classes=dataset.num_classes - FLAGS.labels_offset,
        num_images=dataset.num_samples,
        batch_size=FLAGS.batch_size,
        max_num_batches=FLAGS.max_num_batches,
        moving_average_decay=FLAGS.moving_average_decay,
        master=FLAGS.master,
    )


def main(_):
    dataset = dataset_factory.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    config = config_from_flags(dataset)
    network_fn = nets_factory.get_network_fn(
        FLAGS.model_name, num_classes=config.num_classes, is_training=False
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        FLAGS.preprocessing_name
        or nets_factory.get_network(FLAGS.model_name).preprocessing,
        is_training=False,
        use_grayscale=FLAGS.use_grayscale,
    )
    image_size = FLAGS.eval_image_size or network_fn.default_image_size
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        image_size,
        image_size,
        FLAGS.batch_size,
        is_training=False,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=FLAGS.labels_offset,
    )
    with input_pipeline.naming_broken_files(dataset):
        evaluation.evaluate(config, network_fn, build_batches)


if __name__ == "__main__":
    entry.run(main)
