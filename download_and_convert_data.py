r"""Downloads a published dataset and converts it into TFRecord files to train on.

  python download_and_convert_data.py --dataset_name=flowers --dataset_dir=data/flowers

--dataset_name is mnist (12 MB), cifar10 (170 MB), flowers (230 MB) or visualwakewords
(20 GB). After an interruption, run the same command again: downloads continue where
they broke off. Without network, fetch the files elsewhere:

  python download_and_convert_data.py --dataset_name=mnist --dataset_dir=data/mnist \
      --source_dir=downloads
"""

from absl import flags

from datasets import (
    download_and_convert_cifar10,
    download_and_convert_flowers,
    download_and_convert_mnist,
    download_and_convert_visualwakewords,
)
from deployment import entry

CONVERTERS = {
    "cifar10": download_and_convert_cifar10.run,
    "flowers": download_and_convert_flowers.run,
    "mnist": download_and_convert_mnist.run,
    "visualwakewords": download_and_convert_visualwakewords.run,
}

FLAGS = flags.FLAGS

flags.DEFINE_enum("dataset_name", None, list(CONVERTERS), "Dataset to convert.")
flags.DEFINE_string("dataset_dir", None, "Folder to write the TFRecord files into.")
flags.DEFINE_string(
    "source_dir",
    None,
    "Folder with the files of the dataset, as published or unpacked; if unset, they "
    "are downloaded.",
)
flags.DEFINE_bool("overwrite", False, "Convert again what --dataset_dir already holds.")
flags.DEFINE_float(
    "small_object_area_threshold",
    download_and_convert_visualwakewords.SMALL_OBJECT_AREA_THRESHOLD,
    "Fraction of the image's area that an object must exceed to count; only for "
    "visualwakewords.",
)
flags.DEFINE_string(
    "foreground_class_of_interest",
    download_and_convert_visualwakewords.FOREGROUND_CLASS,
    "Class of objects to look for, as COCO names it; only for visualwakewords.",
)


def main(argv: list[str]) -> None:
    """Downloads and converts the dataset."""
    del argv
    if not FLAGS.dataset_name:
        raise ValueError(
            "--dataset_name is missing: give the dataset to convert, one of "
            f"{', '.join(CONVERTERS)}."
        )
    options = {"source_dir": FLAGS.source_dir, "overwrite": FLAGS.overwrite}
    if FLAGS.dataset_name == "visualwakewords":
        options["small_object_area_threshold"] = FLAGS.small_object_area_threshold
        options["foreground_class_of_interest"] = FLAGS.foreground_class_of_interest
    CONVERTERS[FLAGS.dataset_name](FLAGS.dataset_dir, **options)


if __name__ == "__main__":
    entry.run(main)
