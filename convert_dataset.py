"""Converts labeled images into TFRecord shards to train on.

    python convert_dataset.py --source=photos --dataset_dir=data

`photos` holds one folder per class (`photos/cat/*`, `photos/dog/*`), or one folder per
split that does: train, validation (or val, valid, dev) and test, in any case. For
several labels per image or for numeric targets, list the images in a CSV file:

    python convert_dataset.py --source=photos --labels=labels.csv --task=multilabel \\
        --dataset_dir=data

Apache Beam does the same on many machines, with --runner: see docs/beam.md.

JPEG, PNG, BMP, GIF and WebP files are read; see `datasets/image_files.py` for how
grayscale, rotated, transparent and other images are converted.
"""

from absl import flags

import remote_files
import slim_classifier

# Worker processes import this file too: nothing here may import TensorFlow.
from datasets import conversion_report, convert_images
from deployment import beam_tasks, config_flags, entry

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "source",
    None,
    "Folder of the images: with one subfolder per class, or, with --labels, the folder "
    "to which the file names in the label file are relative.",
)
flags.DEFINE_string("dataset_dir", None, "Folder to write the TFRecord shards into.")
flags.DEFINE_string(
    "dataset_name", "images", "First part of the file names of the shards."
)
flags.DEFINE_string(
    "labels",
    None,
    "CSV file of labels: a column of file names, columns of labels, and optionally a "
    "column 'split' (train, validation or test). If unset, labels are the names of the "
    "class folders.",
)
flags.DEFINE_string(
    "task",
    "classification",
    "What labels mean: classification (one class per image), multilabel (any number of "
    "labels per image) or regression (numbers).",
)
flags.DEFINE_string(
    "file_column",
    None,
    "Column of file names in the file of --labels. If unset, the column called file, "
    "filename, file_name, image or path, or else the first column.",
)
flags.DEFINE_list(
    "label_columns",
    None,
    "Columns of labels in the file of --labels, separated by commas. If unset, all "
    "columns but those of file names and splits.",
)
flags.DEFINE_float(
    "validation_fraction",
    0.2,
    "Fraction of the images to hold out for validation, from 0 to less than 1; ignored "
    "if the source already has validation images.",
)
flags.DEFINE_integer("shards", 4, "Number of TFRecord files per split.")
flags.DEFINE_integer(
    "workers",
    None,
    "Number of processes that decode images. If unset, one per CPU core.",
)
flags.DEFINE_integer(
    "seed", 0, "Random seed of the order of the images and of the validation split."
)
flags.DEFINE_enum(
    "on_bad_image",
    "skip",
    ["skip", "fail"],
    "What to do with images that cannot be read and with faulty lines of the label "
    "file: leave them out, or stop at the first.",
)
flags.DEFINE_bool(
    "overwrite", False, "Replace an existing dataset of the same --dataset_name."
)

config_flags.define_flags(beam_tasks.RunnerConfig, __name__)
entry.define_user_module(__name__)


def config_from_flags() -> convert_images.ConvertConfig:
    """Returns the `ConvertConfig` that the flags describe."""
    return convert_images.ConvertConfig(
        source=FLAGS.source,
        dataset_dir=FLAGS.dataset_dir,
        dataset_name=FLAGS.dataset_name,
        validation_fraction=FLAGS.validation_fraction,
        shards=FLAGS.shards,
        workers=FLAGS.workers,
        seed=FLAGS.seed,
        skip_bad_images=FLAGS.on_bad_image == "skip",
        overwrite=FLAGS.overwrite,
        labels=FLAGS.labels,
        file_column=FLAGS.file_column,
        label_columns=tuple(FLAGS.label_columns) if FLAGS.label_columns else None,
    )


def main(argv: list[str]) -> None:
    """Converts the images and prints a summary."""
    del argv
    config = config_from_flags()
    task = None
    if config.labels or FLAGS.task != "classification":
        from deployment import tasks  # Imports TensorFlow.

        task = tasks.get_task(FLAGS.task)
    runner_config = config_flags.from_flags(beam_tasks.RunnerConfig, FLAGS)
    engine = runner_config.open_engine(config.workers)
    distribute = engine.distribute if engine else None
    info = convert_images.convert(config, task, distribute)
    report = conversion_report.describe(info, config.dataset_dir)
    print(slim_classifier.translate(remote_files.to_urls(report)))


if __name__ == "__main__":
    entry.run(main)
