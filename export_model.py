r"""Exports a trained network to files to ship, and checks each on real images.

  python export_model.py --checkpoint_path=run --output_dir=out
  python export_model.py --checkpoint_path=run --output_dir=out \
      --formats=frozen,saved_model,tflite,tflite_float16,tflite_int8

  python export_model.py --checkpoint_path=inception_v3.ckpt --output_dir=out \
      --model_name=inception_v3 --num_classes=1001 --image_dir=photos

Network, classes and preprocessing are those of the training run's run.json; the third
command is for a checkpoint without one. Batch normalization is folded into the
convolutions. Every file is then loaded again and compared with the checkpoint; a
difference beyond its tolerance (in probability 1e-4, for float16 1e-2; for int8 two
points of accuracy) is an error. Names of the classes (labels.txt) and a run card
(run.json) are written beside, from which classify_image.py knows the preprocessing.

The format onnx needs two more packages: pip install tf2onnx onnxruntime.
"""

import dataclasses
import functools
import os
import random

import numpy as np
from absl import flags, logging

from datasets import dataset_factory, dataset_utils, input_pipeline, picture_batches
from deployment import entry
from deployment.formats import export_check, model_export
from deployment.models import run_card
from nets import nets_factory
from preprocessing import preprocessing_factory
from tf_slim_compat import as_written, tf

flags.DEFINE_string(
    "checkpoint_path",
    None,
    "A checkpoint, or a training folder, of which the newest is taken.",
)
flags.DEFINE_string("output_dir", None, "The folder to write to.")
flags.DEFINE_list(
    "formats", "frozen,saved_model", f"Some of {', '.join(model_export.FILE_NAMES)}."
)
flags.DEFINE_string("model_name", None, "The network. Unset: the run's.")
flags.DEFINE_integer(
    "num_classes",
    None,
    "The network's outputs. Unset: the run's, or as many as the dataset has, less "
    "--labels_offset.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "labels_offset",
    None,
    "Output i stands for the label i plus this. Unset: the run's.",
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels. Unset: the run's, or the network's.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "use_grayscale", None, "Whether images have one channel. Unset: the run's."
)
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. Unset: the run's, or the network's."
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Given where training kept moving averages of the weights: exports them. Unset: "
    "the run's.",
)
flags.DEFINE_string(
    "label_path",
    None,
    "The names of the classes, a file of `0:name` lines. Unset: the run's, or the "
    "dataset's.",
)
flags.DEFINE_string("dataset_name", None, "The dataset. Unset: the run's.")
flags.DEFINE_string("dataset_dir", None, "Its folder. Unset: the run's.")
flags.DEFINE_string(
    "dataset_split_name",
    None,
    "The split whose images check the files. Unset: the run's for validation, else "
    "validation or test.",
)
flags.DEFINE_string(
    "train_split_name", None, "The split that int8 is calibrated on. Unset: the run's."
)
flags.DEFINE_string(
    "image_dir",
    None,
    "A folder of pictures to take in place of the dataset's; folders in it that are "
    "named after classes tell their labels.",
)
flags.DEFINE_integer(
    "check_images", 32, "Images to check the files with; 0: no check.", lower_bound=0
)
flags.DEFINE_integer(
    "calibration_images", 100, "Images to calibrate int8 with.", lower_bound=1
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS

# What a run card settles. Its data may have moved.
SETTINGS = (
    "model_name",
    "num_classes",
    "labels_offset",
    "image_size",
    "use_grayscale",
    "preprocessing_name",
    "moving_average_decay",
)
DATA_SETTINGS = ("dataset_name", "dataset_dir")


def read_settings(card):
    """The values of the settings, by the flags and a `RunCard` (None: no card)."""
    names = SETTINGS + DATA_SETTINGS
    if card is not None:
        given = {n: FLAGS[n].value for n in names if FLAGS[n].value is not None}
        return run_card.reconcile(
            card, given, names, FLAGS.ignore_run_card, DATA_SETTINGS
        )
    settings = {name: FLAGS[name].value for name in names}
    if not settings["model_name"]:
        raise ValueError(
            f"{FLAGS.checkpoint_path!r} has no run card (run.json): say with "
            "--model_name which network it is of, and with --num_classes or "
            "--dataset_dir how many classes it has."
        )
    network = nets_factory.get_network(settings["model_name"])
    settings["labels_offset"] = settings["labels_offset"] or 0
    settings["image_size"] = settings["image_size"] or network.default_image_size
    if not settings["preprocessing_name"]:
        settings["preprocessing_name"] = network.preprocessing
    return settings


def open_split(settings, names):
    """The first of some splits that the dataset has; None without a dataset."""
    name, folder = (settings[key] for key in DATA_SETTINGS)
    if not folder or not os.path.isdir(folder):
        if folder and FLAGS.dataset_dir:
            raise ValueError(f"There is no folder --dataset_dir={folder!r}.")
        return None
    for split in names[:-1]:
        try:
            return dataset_factory.get_dataset(name or "image_folder", split, folder)
        except ValueError:
            continue
    return dataset_factory.get_dataset(name or "image_folder", names[-1], folder)


def choose_splits(card, purpose):
    """The splits that serve to check ("validation") or calibrate ("train")."""
    if purpose == "train":
        return [FLAGS.train_split_name or (card and card.dataset_split_name) or "train"]
    if FLAGS.dataset_split_name:
        return [FLAGS.dataset_split_name]
    own = [card.eval_split_name] if card and card.eval_split_name else []
    return [*own, "validation", "test"]


def name_outputs(settings, card, dataset):
    """The names of the network's outputs, a tuple, or None if nothing tells."""
    offset = settings["labels_offset"]
    if FLAGS.label_path:
        if not os.path.isfile(FLAGS.label_path):
            raise ValueError(f"There is no label file {FLAGS.label_path!r}.")
        names = dataset_utils.read_label_file(*os.path.split(FLAGS.label_path))
    elif card is not None and card.output_names:
        return card.output_names
    elif dataset is not None and dataset.labels_to_names:
        names = dataset.labels_to_names
    else:
        return None
    names = tuple(names[label] for label in sorted(names))
    # A file that export wrote is of outputs already.
    return names if len(names) == settings["num_classes"] else names[offset:]


def config_from_settings(settings, card, dataset):
    """What the checkpoint is of."""
    names = name_outputs(settings, card, dataset)
    num_classes = settings["num_classes"]
    if not num_classes and dataset is not None:
        num_classes = dataset.num_classes - settings["labels_offset"]
    num_classes = num_classes or (names and len(names))
    if not num_classes:
        raise ValueError(
            "Nothing tells how many classes the network has: give --num_classes, "
            "--label_path or --dataset_dir."
        )
    return model_export.ExportConfig(
        network_fn=nets_factory.get_network_fn(settings["model_name"], num_classes),
        preprocessing_fn=preprocessing_factory.get_preprocessing(
            settings["preprocessing_name"], use_grayscale=settings["use_grayscale"]
        ),
        image_size=settings["image_size"],
        use_grayscale=bool(settings["use_grayscale"]),
        class_names=names,
        moving_average_decay=settings["moving_average_decay"],
    )


def build_stored_images(dataset, labels_offset):
    """Adds the images of a split as they are stored, in random order, one by one."""
    batches = input_pipeline.build_batches(
        dataset,
        lambda image, height, width: image,
        None,
        None,
        1,
        is_training=True,
        labels_offset=labels_offset,
        seed=0,
    )
    return batches.take(dataset.num_samples)


def build_files(paths, labels):
    """Adds picture files, still encoded, one by one; leaves out what is broken."""
    files = picture_batches.build_encoded_batches(paths, 1, {})
    return files.map(
        as_written(lambda encoded, index: (encoded, tf.gather(labels, index)))
    )


def find_files(folder, class_names):
    """The pictures below a folder in random order, and their labels (-1: unknown)."""
    paths = picture_batches.list_pictures([folder], on_error=_raise_error)
    random.Random(0).shuffle(paths)
    labels = {name: label for label, name in enumerate(class_names)}
    parents = (os.path.basename(os.path.dirname(path)) for path in paths)
    return paths, np.array([labels.get(name, -1) for name in parents], np.int64)


def _raise_error(path, reason):
    raise ValueError(f"--image_dir={path} cannot be used: {reason}.")


def read_images(count, dataset, settings, config, model):
    """`Pictures` of a split, or, where that is None, of --image_dir."""
    if dataset is not None:
        build = functools.partial(
            build_stored_images, dataset, settings["labels_offset"]
        )
        with input_pipeline.naming_broken_files(dataset):
            return export_check.read_pictures(
                build, model, config.preprocessing_fn, count
            )
    if not FLAGS.image_dir:
        raise ValueError(
            "There are no images to check the files or to calibrate int8 with, because "
            "no dataset is at hand: give --dataset_dir or --image_dir, or "
            "--check_images=0."
        )
    paths, labels = find_files(FLAGS.image_dir, model.class_names)
    build = functools.partial(build_files, paths, labels)
    return export_check.read_pictures(build, model, config.preprocessing_fn, count)


def write_card(card, settings, model):
    """Writes a run card beside the files: what classification must know of them.

    Where the folder is the run's, its own card serves; that of another stays.
    """
    train_dir = run_card.find_train_dir(FLAGS.output_dir)
    if train_dir is not None:
        is_own = train_dir == run_card.find_train_dir(FLAGS.checkpoint_path)
        if is_own or tf.train.latest_checkpoint(train_dir):
            return
    values = {name: settings[name] for name in SETTINGS}
    values |= {
        "num_classes": len(model.class_names),
        "class_names": model.class_names,
        "labels_offset": 0,
        "use_grayscale": bool(settings["use_grayscale"]),
    }
    if card is None:
        card = run_card.RunCard(**values)
    dataclasses.replace(card, **values).save(FLAGS.output_dir)


def main(_):
    for name in ("checkpoint_path", "output_dir"):
        if not FLAGS[name].value:
            raise ValueError(
                f"Say what to export, and where to: --{name}=... is missing."
            )
    formats = [name.strip() for name in FLAGS.formats if name.strip()]
    model_export.check_formats(formats)
    card = run_card.find(FLAGS.checkpoint_path)
    settings = read_settings(card)
    is_checked = FLAGS.check_images > 0
    split = None
    if card is None or (is_checked and not FLAGS.image_dir):
        split = open_split(settings, choose_splits(card, "validation"))
    config = config_from_settings(settings, card, split)
    model = model_export.freeze(config, FLAGS.checkpoint_path)
    logging.info("Exporting %s.", model.path)

    pictures = calibration = None
    if is_checked:
        source = None if FLAGS.image_dir else split
        pictures = read_images(FLAGS.check_images, source, settings, config, model)
    if "tflite_int8" in formats:
        split = open_split(settings, choose_splits(card, "train"))
        calibration = read_images(
            FLAGS.calibration_images, split, settings, config, model
        ).pixels
    paths = model_export.export(
        model, FLAGS.output_dir, formats, config.preprocessing_fn, calibration
    )
    write_card(card, settings, model)
    if pictures is not None:
        rows = export_check.check(config, model, paths, pictures)
        print(export_check.format_table(rows))
        export_check.raise_failures(rows)


if __name__ == "__main__":
    entry.run(main)
