"""Converts a folder of images into TFRecord shards to train on.

    python convert_dataset.py --source=photos --dataset_dir=data

`photos` holds a folder for each class (`photos/cat/*`, `photos/dog/*`), or folders
`train` and `validation` that do. JPEG, PNG, BMP, GIF and WebP are read; what becomes
of grey, turned, transparent and other pictures says `datasets/pictures.py`.
"""

from absl import flags

# Worker processes import this file too: nothing here may import TensorFlow.
from datasets import convert_images

FLAGS = flags.FLAGS

flags.DEFINE_string("source", None, "The folder that holds a folder for each class.")
flags.DEFINE_string("dataset_dir", None, "The folder to write the shards into.")
flags.DEFINE_string("dataset_name", "images", "The first part of the shards' names.")
flags.DEFINE_float(
    "validation_fraction",
    0.2,
    "How much of each class to hold out for validation, from 0 to less than 1, where "
    "the source has no folder `validation`.",
)
flags.DEFINE_integer("shards", 4, "How many files to write for each split.")
flags.DEFINE_integer(
    "workers", None, "How many processes decode images; unset, one for each core."
)
flags.DEFINE_integer("seed", 0, "Decides the order and which images are held out.")
flags.DEFINE_enum(
    "on_bad_image",
    "skip",
    ["skip", "fail"],
    "Whether to leave out an image that cannot be read, or to stop there.",
)
flags.DEFINE_bool("overwrite", False, "Whether to replace the dataset of that name.")


def config_from_flags():
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
    )


def main(argv):
    del argv
    config = config_from_flags()
    info = convert_images.convert(config)
    print(convert_images.describe(info, config.dataset_dir))


if __name__ == "__main__":
    from deployment import entry

    entry.run(main)
