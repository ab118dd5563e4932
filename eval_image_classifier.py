r"""Evaluates a trained image classifier: every image of a split, once.

  python eval_image_classifier.py --checkpoint_path=run

The run card, run.json in the training folder, tells the rest. For a checkpoint
without one, say what it was trained with:

  python eval_image_classifier.py --checkpoint_path=model.ckpt --eval_dir=eval \
      --dataset_name=image_folder --dataset_dir=data \
      --dataset_split_name=validation --model_name=mobilenet_v1_025

Prints how well each class is told, the confusion matrix, the accuracy and the mean
loss; writes the same to --eval_dir, for TensorBoard and as eval.json. With
--predictions_csv it lists all images, with --gallery it shows the worst mistakes.

All checkpoints of a run compared, and a run followed while it trains:

  python eval_image_classifier.py --checkpoint_path=run --all_checkpoints
  python eval_image_classifier.py --checkpoint_path=run --eval_interval_secs=60
"""

import functools
import os

from absl import flags

from datasets import dataset_factory, input_pipeline, record_reader
from deployment import entry
from deployment.evaluate import evaluation, evaluation_reports, evaluation_runs
from deployment.models import run_card
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
    "A training folder, of which the newest checkpoint is taken, or a checkpoint.",
)
flags.DEFINE_string(
    "eval_dir",
    "/tmp/tfmodel/",
    "Folder for summaries, eval.json and confusion_matrix.csv; '': none. Unset, beside "
    "a run card: the training folder's eval.",
)
flags.DEFINE_integer(
    "num_preprocessing_threads", 4, "Images that are decoded at the same time."
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "A dataset; image_folder is convert_dataset.py's."
)
flags.DEFINE_string(
    "dataset_split_name",
    "test",
    "The split to evaluate. Unset, beside a run card: the one that training "
    "evaluated, else validation.",
)
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
flags.DEFINE_string(
    "predictions_csv",
    None,
    "File to write: of every image its name, label, prediction and score.",
)
flags.DEFINE_string(
    "gallery",
    None,
    "HTML page to write: the most confident mistakes, with their pictures.",
)
flags.DEFINE_integer("gallery_size", 100, "Mistakes in the gallery, at most.")
flags.DEFINE_boolean(
    "all_checkpoints",
    False,
    "Whether to evaluate every checkpoint in the folder and its best/, and to list "
    "them, the best first.",
)
flags.DEFINE_string(
    "metric", "accuracy", "What --all_checkpoints goes by: accuracy, loss or top_5."
)
flags.DEFINE_float(
    "eval_interval_secs",
    None,
    "Follows a training folder, looking for new checkpoints this often, in seconds.",
)
flags.DEFINE_float(
    "eval_timeout_secs",
    3600,
    "How long to wait for a new checkpoint then, in seconds; 0: without end. It ends "
    "in any case when training has.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS

# What the run card tells, by the flags that may say it too.
CARD_FLAGS = {
    "model_name": "model_name",
    "dataset_name": "dataset_name",
    "dataset_dir": "dataset_dir",
    "labels_offset": "labels_offset",
    "eval_image_size": "image_size",
    "preprocessing_name": "preprocessing_name",
    "moving_average_decay": "moving_average_decay",
    "use_grayscale": "use_grayscale",
}
# A run may be evaluated on other data than its own.
DATA_FLAGS = ("dataset_name", "dataset_dir")


def read_settings(card):
    """The values of `CARD_FLAGS`: the card's, where there is one, else the flags'."""
    if FLAGS.quantize:
        raise ValueError("Quantised graphs are not built yet: leave --quantize off.")
    if card is None:
        return {name: FLAGS[name].value for name in CARD_FLAGS}
    given = entry.get_given_flags(FLAGS, CARD_FLAGS)
    return run_card.reconcile(
        card, given, CARD_FLAGS, force=FLAGS.ignore_run_card, free=DATA_FLAGS
    )


def get_dataset(card, settings):
    """The dataset's split, by the flags or as the card lets expect it; and its name."""
    name, folder = settings["dataset_name"], settings["dataset_dir"]
    if card is None or FLAGS["dataset_split_name"].present:
        split_name = FLAGS.dataset_split_name
    else:
        split_name = card.eval_split_name or "validation"
    return dataset_factory.get_dataset(name, split_name, folder), split_name


def name_classes(card, dataset, labels_offset):
    """The names of the network's outputs, in order."""
    names = dataset.labels_to_names or {}
    trained = dict(enumerate(card.class_names or ())) if card else {}
    if names and trained and not FLAGS.ignore_run_card:
        for label in sorted({*names, *trained}):
            here, there = names.get(label), trained.get(label)
            if here != there:
                raise ValueError(
                    f"The dataset's classes are not the run's: label {label} is "
                    f"{here!r} here and was {there!r} there; give the --dataset_dir "
                    "of such data, or add --ignore_run_card."
                )
    return tuple(
        evaluation_reports.printable((names or trained).get(label, f"class {label}"))
        for label in range(labels_offset, dataset.num_classes)
    )


def config_from_flags(card, settings, dataset, split_name):
    """The evaluation that the flags and the card ask for."""
    labels_offset = settings["labels_offset"]
    eval_dir = FLAGS.eval_dir
    if card is not None and not FLAGS["eval_dir"].present:
        eval_dir = os.path.join(run_card.find_train_dir(FLAGS.checkpoint_path), "eval")
    return evaluation_runs.RunConfig(
        evaluation=evaluation.EvaluationConfig(
            checkpoint_path=FLAGS.checkpoint_path,
            eval_dir=eval_dir,
            num_classes=dataset.num_classes - labels_offset,
            num_images=dataset.num_samples,
            batch_size=FLAGS.batch_size,
            max_num_batches=FLAGS.max_num_batches,
            moving_average_decay=settings["moving_average_decay"],
            master=FLAGS.master,
        ),
        class_names=name_classes(card, dataset, labels_offset),
        split_name=split_name,
        predictions_csv=FLAGS.predictions_csv,
        gallery=FLAGS.gallery,
        gallery_size=FLAGS.gallery_size,
        all_checkpoints=FLAGS.all_checkpoints,
        metric=FLAGS.metric,
        interval_secs=FLAGS.eval_interval_secs,
        timeout_secs=FLAGS.eval_timeout_secs or None,
    )


def find_card():
    """The run card of the checkpoint, or None; waits for the run if that is asked."""
    if FLAGS.eval_interval_secs is not None:
        evaluation_runs.wait_for_start(
            FLAGS.checkpoint_path,
            FLAGS.eval_interval_secs,
            FLAGS.eval_timeout_secs or None,
        )
    return run_card.find(FLAGS.checkpoint_path)


def main(_):
    card = find_card()
    settings = read_settings(card)
    dataset, split_name = get_dataset(card, settings)
    config = config_from_flags(card, settings, dataset, split_name)
    network_fn = nets_factory.get_network_fn(
        settings["model_name"], config.evaluation.num_classes, is_training=False
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        settings["preprocessing_name"]
        or nets_factory.get_network(settings["model_name"]).preprocessing,
        is_training=False,
        use_grayscale=settings["use_grayscale"],
    )
    image_size = settings["eval_image_size"] or network_fn.default_image_size
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        image_size,
        image_size,
        FLAGS.batch_size,
        is_training=False,
        num_preprocessing_threads=FLAGS.num_preprocessing_threads,
        labels_offset=settings["labels_offset"],
    )
    records = evaluation_runs.Records(
        functools.partial(record_reader.read_file_names, dataset),
        functools.partial(record_reader.read_pictures, dataset),
    )
    with input_pipeline.naming_broken_files(dataset):
        evaluation_runs.run(config, network_fn, build_batches, records)


if __name__ == "__main__":
    entry.run(main)
