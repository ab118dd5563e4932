r"""Exports a trained model to any of several formats, and checks each on real images.

  python export_model.py --checkpoint_path=run --output_dir=out
  python export_model.py --checkpoint_path=run --output_dir=out \
      --formats=frozen,saved_model,tflite,tflite_float16,tflite_int8

  python export_model.py --checkpoint_path=inception_v3.ckpt --output_dir=out \
      --model_name=inception_v3 --num_classes=1001 --image_dir=photos

Network, outputs and preprocessing are those of the run card (run.json) of the training
run; the third command is for a checkpoint without one. Batch normalization is folded
into the convolutions. Every file is loaded again and compared with the checkpoint. Its
scores must be the same; tflite_float16 and files of 8-bit integers must give the same
answers and the same accuracy, as far as the number of images can tell. A file that
fails is an error. The names of the outputs (labels.txt) and a run card are written next
to the files, so that classify_image.py needs no flags.

The formats onnx and onnx_int8 need two more packages: pip install tf2onnx onnxruntime.
The format openvino needs one: pip install openvino; and openvino_int8 another, nncf.
"""

import functools
import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags, logging

import remote_files
from datasets import dataset_lookup, dataset_utils, file_batches, input_pipeline
from deployment import entry, formats, settings, tasks
from deployment.formats import checking, exporting
from deployment.formats.base import ExportOptions
from deployment.formats.freezing import ExportConfig, FrozenModel, freeze
from deployment.models import output_names, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.settings import DataSettings
from nets import network_lookup
from preprocessing import preprocessing_factory
from tf_slim_compat import as_written, tf

flags.DEFINE_string(
    "checkpoint_path",
    None,
    "A checkpoint, or a training folder; see --checkpoint.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_string("output_dir", None, "Folder to write to.")
flags.DEFINE_list(
    "formats",
    "frozen,saved_model",
    f"Comma-separated formats, from {', '.join(formats.list_formats())}.",
)
flags.DEFINE_string("model_name", None, "Name of the network. If unset, the run's.")
flags.DEFINE_integer(
    "num_classes",
    None,
    "Number of the network's outputs. If unset, the run's, or the dataset's classes "
    "less --labels_offset.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "labels_offset",
    None,
    "Label of the dataset that output 0 stands for. If unset, the run's, or 0.",
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels. If unset, the run's, or the network's default.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "use_grayscale", None, "Whether images have one channel. If unset, the run's."
)
flags.DEFINE_string(
    "preprocessing_name",
    None,
    "Name of the preprocessing. If unset, the run's, or the network's default.",
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "If given, the moving averages of the weights are exported. If unset, the run's.",
)
flags.DEFINE_string(
    "label_path",
    None,
    "File with the names of the classes, in lines such as `0:name`. If unset, the "
    "run's names, or the dataset's.",
)
flags.DEFINE_string("dataset_name", None, "Name of the dataset. If unset, the run's.")
flags.DEFINE_string("dataset_dir", None, "Folder of the dataset. If unset, the run's.")
flags.DEFINE_string(
    "dataset_split_name",
    None,
    "Split whose images check the files. If unset, the run's validation split, or "
    "validation or test.",
)
flags.DEFINE_string(
    "train_split_name",
    None,
    "Split whose images calibrate int8. If unset, the run's training split.",
)
flags.DEFINE_string(
    "image_dir",
    None,
    "Folder of images to check with instead of the dataset's. Subfolders named after "
    "classes give the labels.",
)
flags.DEFINE_integer(
    "check_images",
    None,
    "Number of images to check the files with; 0 skips the check. If unset, 32, or 256 "
    "with tflite_float16 or int8 formats, which approximate.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "calibration_images",
    exporting.CALIBRATION_IMAGES,
    "Number of images to calibrate int8 with.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "calibration_method",
    None,
    formats.list_calibration_methods(),
    "How int8 formats find the ranges of values: from the least to the largest "
    "(minmax, all), without the outermost 0.001 % (percentile, ONNX), with the least "
    "loss of information (entropy, ONNX) or of precision (histogram, OpenVINO). If "
    "unset: minmax.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS


def read_spec(card: RunCard | None) -> ModelSpec:
    """Returns the model's specification, from the flags and the run card."""
    spec = settings.read_spec(FLAGS, card, network_lookup.get_network)
    if not spec.model_name:
        raise ValueError(
            f"{FLAGS.checkpoint_path!r} has no run card (run.json): give its network "
            "with --model_name, and the number of classes with --num_classes or "
            "--dataset_dir."
        )
    return spec


def open_split(data: DataSettings, names: Sequence[str]) -> Any:
    """Returns the first of some splits that the dataset has; None without a dataset."""
    name, folder = data.dataset_name or "image_folder", data.dataset_dir
    is_remote = remote_files.is_remote(folder)
    if not folder or not (is_remote or os.path.isdir(folder)):
        if folder and FLAGS.dataset_dir:
            raise ValueError(f"There is no folder --dataset_dir={folder!r}.")
        return None
    for split in names[:-1]:
        try:
            return dataset_lookup.get_dataset(name, split, folder)
        except ValueError:
            continue
    return dataset_lookup.get_dataset(name, names[-1], folder)


def choose_splits(card: RunCard | None, purpose: str) -> list[str]:
    """Returns the splits to check ("validation") or calibrate ("train") with."""
    if purpose == "train":
        return [FLAGS.train_split_name or (card and card.dataset_split_name) or "train"]
    if FLAGS.dataset_split_name:
        return [FLAGS.dataset_split_name]
    own = [card.eval_split_name] if card and card.eval_split_name else []
    return [*own, "validation", "test"]


def read_labels(dataset: Any) -> tuple[dict[int, str] | None, str]:
    """Returns label to name, or None if they are unknown, and their source."""
    if FLAGS.label_path:
        if not os.path.isfile(FLAGS.label_path):
            raise ValueError(f"There is no label file {FLAGS.label_path!r}.")
        folder, name = os.path.split(FLAGS.label_path)
        return dataset_utils.read_label_file(folder, name), FLAGS.label_path
    return getattr(dataset, "labels_to_names", None), "the dataset"


def complete_spec(spec: ModelSpec, dataset: Any) -> ModelSpec:
    """Returns the specification with the number and names of the outputs.

    Raises:
      ValueError: if the number is unknown, or the names do not match the outputs or
        contradict the run card.
    """
    labels, source = read_labels(dataset)
    num_outputs = spec.num_outputs
    if not num_outputs and dataset is not None:
        task = tasks.get_task(spec.task)
        num_outputs = task.count_outputs(dataset.num_classes, spec.labels_offset)
    num_outputs = num_outputs or len(labels or ()) - spec.labels_offset
    if num_outputs < 1:
        raise ValueError(
            "The number of classes is unknown: give --num_classes, --label_path or "
            "--dataset_dir."
        )
    known = spec.output_names
    if not labels or (known and not FLAGS.label_path):
        return spec.replace(num_outputs=num_outputs)
    names = output_names.from_labels(labels, num_outputs, spec.labels_offset, source)
    if known and not FLAGS.ignore_run_card:
        output_names.check_same(names, known, source, run_card.FILE_NAME)
    return spec.replace(num_outputs=num_outputs, output_names=names)


def define_model(spec: ModelSpec) -> ExportConfig:
    """Returns the model whose checkpoint is exported."""
    return ExportConfig(
        network_fn=network_lookup.get_network_fn(spec.model_name, spec.num_outputs),
        preprocessing_fn=preprocessing_factory.get_preprocessing(
            spec.preprocessing_name, use_grayscale=spec.use_grayscale
        ),
        spec=spec,
    )


def build_stored_images(dataset: Any, labels_offset: int) -> tf.data.Dataset:
    """Builds batches of one of the stored images of a split, in random order."""
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


def build_files(paths: Sequence[str], labels: np.ndarray) -> tf.data.Dataset:
    """Builds batches of one encoded image file; skips those that cannot be read."""
    files = file_batches.build_encoded_batches(paths, 1, {})
    return files.map(
        as_written(lambda encoded, index: (encoded, tf.gather(labels, index)))
    )


def find_files(folder: str, spec: ModelSpec) -> tuple[list[str], np.ndarray]:
    """Returns the images below a folder in random order, and their labels.

    For classifiers, labels are int64 [n], -1 where unknown; for other tasks they are
    unknown: float32 [n, num_outputs], NaN.
    """
    paths = file_batches.list_images([folder], on_error=_raise_error)
    random.Random(0).shuffle(paths)
    if tasks.get_task(spec.task).label_dtype != "int64":
        return paths, np.full([len(paths), spec.num_outputs], np.nan, np.float32)
    labels = {name: label for label, name in enumerate(spec.names)}
    parents = (os.path.basename(os.path.dirname(path)) for path in paths)
    return paths, np.array([labels.get(name, -1) for name in parents], np.int64)


def _raise_error(path, reason):
    raise ValueError(f"--image_dir={path} cannot be used: {reason}.")


def read_samples(
    count: int, dataset: Any, config: ExportConfig, model: FrozenModel
) -> checking.Samples:
    """Reads images of a split, or, if it is None, of --image_dir."""
    read = functools.partial(
        checking.read_samples,
        model=model,
        preprocessing_fn=config.preprocessing_fn,
        count=count,
    )
    if dataset is not None:
        with input_pipeline.naming_broken_files(dataset):
            return read(
                functools.partial(
                    build_stored_images, dataset, config.spec.labels_offset
                )
            )
    if not FLAGS.image_dir:
        raise ValueError(
            "There are no images to check the files or to calibrate int8 with, because "
            "there is no dataset: give --dataset_dir or --image_dir, or skip the check "
            "with --check_images=0."
        )
    paths, labels = find_files(FLAGS.image_dir, model.spec)
    return read(functools.partial(build_files, paths, labels))


def write_card(card: RunCard | None, spec: ModelSpec) -> None:
    """Writes a run card next to the files, for prediction.

    A run card in the folder of a run, this one or another, is left alone.
    """
    train_dir = run_card.find_train_dir(FLAGS.output_dir)
    if train_dir is not None:
        is_own = train_dir == run_card.find_train_dir(FLAGS.checkpoint_path)
        if is_own or tf.train.latest_checkpoint(train_dir):
            return
    card = RunCard.from_spec(spec) if card is None else card.with_spec(spec)
    card.save(FLAGS.output_dir)


def main(_: Sequence[str]) -> None:
    for name in ("checkpoint_path", "output_dir"):
        if not FLAGS[name].value:
            raise ValueError(
                f"Give the model to export and the folder to write: --{name} is "
                "missing."
            )
    names = [name.strip() for name in FLAGS.formats if name.strip()]
    formats.check_formats(names, FLAGS.calibration_method)
    checkpoint_path = settings.choose_checkpoint(FLAGS, "Exporting")
    card = run_card.find(FLAGS.checkpoint_path)
    spec = read_spec(card)
    data = settings.read_data(FLAGS, card)
    split = None
    count = FLAGS.check_images
    if count is None:
        chosen = map(formats.get_format, names)
        count = max(format_.get_tolerance(spec).num_images for format_ in chosen)
    if card is None or (count and not FLAGS.image_dir):
        split = open_split(data, choose_splits(card, "validation"))
    config = define_model(complete_spec(spec, split))
    model = freeze(config, checkpoint_path)

    samples = None
    if count:
        source = None if FLAGS.image_dir else split
        samples = read_samples(count, source, config, model)
    images = None
    if any(formats.get_format(name).needs_calibration for name in names):
        split = open_split(data, choose_splits(card, "train"))
        images = read_samples(FLAGS.calibration_images, split, config, model).pixels
    options = ExportOptions(config.preprocessing_fn, images, FLAGS.calibration_method)
    paths = exporting.export(model, FLAGS.output_dir, names, options)
    write_card(card, model.spec)
    if samples is not None:
        logging.info("Comparing with the checkpoint on %d images.", len(samples))
        rows = checking.check(config, model, paths, samples)
        print(checking.format_table(rows))
        checking.report(rows)


if __name__ == "__main__":
    entry.run(main)
