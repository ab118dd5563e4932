r"""Predicts what images show, by a trained model of any format.

  python classify_image.py --model_path=frozen.pb --label_path=data/labels.txt \
      --image_file=photo.jpg
  python classify_image.py --model_path=run --output_file=names.csv photos 'more/*.png'

Images are files, folders and patterns. A model is an exported file, a SavedModel's
folder, a checkpoint or a training folder. It prints top classes with their
probabilities, labels above their thresholds, or values, by the model's task.

Network, image size, preprocessing and names are those of the training run: exported
files contain them, and a run card (run.json) has them for a training folder with its
`best` and `export` folders. For other files, the network is recognized by the names of
its nodes, and what is guessed is reported; a checkpoint needs --model_name and
--label_path. Of a training folder, the best checkpoint is used if the run kept one,
else the newest.

Images that cannot be read are reported and skipped. The exit status is 1 if no image
could be read.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tqdm
from absl import flags, logging

import remote_files
from datasets import dataset_utils, file_batches
from deployment import entry, formats, settings, tasks, text
from deployment.formats.base import FileType
from deployment.models import output_names, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.predict import output, running
from deployment.predict.predictor import CheckpointPredictor, Predictor
from nets import network_lookup
from preprocessing import preprocessing_factory

flags.DEFINE_string(
    "model_path",
    None,
    "The model: an exported file or folder ("
    f"{', '.join(formats.list_formats())}), a checkpoint or a training folder.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_string(
    "label_path",
    None,
    "File with the names of the outputs, exactly one for each. If unset, the model's "
    "own names, those of its run or of a labels.txt next to it, else numbers.",
)
flags.DEFINE_integer(
    "labels_offset",
    None,
    "Label of the training data that output 0 stands for. If unset, the run's, or 0.",
)
flags.DEFINE_string("image_file", None, "An image, a folder, or a pattern.")
flags.DEFINE_integer(
    "num_top_predictions", 5, "Most classes or labels to list for an image.", 1
)
flags.DEFINE_enum(
    "output_format",
    None,
    list(output.WRITERS),
    "Output format. If unset, by the ending of --output_file, else a table. In CSV, "
    "names that a spreadsheet would run as formulas get an apostrophe in front.",
)
flags.DEFINE_string(
    "output_file", None, "File to write. If unset, results are printed."
)
flags.DEFINE_integer(
    "batch_size", None, "Images per batch. If unset, by number and size.", lower_bound=1
)
flags.DEFINE_enum(
    "precision",
    running.AUTO,
    running.PRECISIONS,
    "auto: bfloat16 for many images if the processor has it, the first images are "
    "faster in it, and its scores agree with float32's.",
)
flags.DEFINE_integer(
    "num_preprocessing_threads",
    4,
    "Number of images decoded in parallel.",
    lower_bound=1,
)
flags.DEFINE_string(
    "model_name",
    None,
    "Name of the network. If unset, the run's, or recognized by the model's nodes.",
)
flags.DEFINE_string(
    "preprocessing_name",
    None,
    "Name of the preprocessing. If unset, the run's, or the network's default.",
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels. If unset, the size of the model's input, the run's, or the "
    "network's default.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "use_grayscale",
    None,
    "Whether the network of a checkpoint takes one channel. If unset, as in its run.",
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "If given, a checkpoint's moving averages of the weights are used. If unset, as in "
    "its run.",
)
flags.DEFINE_string(
    "output_node",
    None,
    "Node or name of the model's output. If unset, the only one, or the scores.",
)
flags.DEFINE_string(
    "signature",
    None,
    "Signature of a SavedModel. If unset, image_bytes, pixels or serving_default, or "
    "the only one.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)
entry.define_trust_model(__name__)

FLAGS = flags.FLAGS


def read_labels(path: str) -> tuple[dict[int, str] | None, str]:
    """Returns label to name, of --label_path or labels.txt, or None; and the file."""
    if FLAGS.label_path:
        if not os.path.isfile(FLAGS.label_path):
            raise ValueError(f"There is no label file {FLAGS.label_path!r}.")
        folder, name = os.path.split(FLAGS.label_path)
        return dataset_utils.read_label_file(folder, name), FLAGS.label_path
    folder = os.path.dirname(path.rstrip("/"))
    found = os.path.join(folder, dataset_utils.LABELS_FILENAME)
    if not dataset_utils.has_labels(folder):
        return None, found
    return dataset_utils.read_label_file(folder), found


def open_predictor(
    file_type: FileType,
    path: str,
    card: RunCard | None,
    spec: ModelSpec,
    num_names: int,
) -> Predictor:
    """Opens the model; its specification, where it has none, is that of its run."""
    if file_type.open_predictor is not None:
        if FLAGS.checkpoint is not None:
            raise ValueError(
                f"--checkpoint={FLAGS.checkpoint} chooses among the checkpoints of a "
                f"training folder, but --model_path is a {file_type.name}: leave one "
                "of the two out."
            )
        known = spec if card is not None else None
        return file_type.open(
            path, FLAGS.output_node, FLAGS.signature, known, FLAGS.trust_model
        )
    path = settings.choose_checkpoint(FLAGS, "Using", "model_path", path)
    num_outputs = spec.num_outputs or max(num_names - spec.labels_offset, 0)
    spec = spec.replace(num_outputs=num_outputs)
    if not spec.model_name or not spec.num_outputs:
        raise ValueError(
            f"{path!r} is a checkpoint without a run card (run.json), so it needs "
            "--model_name (the network) and --label_path (the names of the outputs)."
        )
    get_network_fn = functools.partial(
        network_lookup.get_network_fn, spec.model_name, is_training=False
    )
    return CheckpointPredictor(path, get_network_fn, spec)


def recognize_preprocessing(predictor: Predictor) -> str:
    """Returns the preprocessing of the network that the model's nodes belong to."""
    networks = map(network_lookup.get_network, network_lookup.list_networks())
    names = {n.preprocessing for n in networks if n.scope in predictor.scopes}
    if len(names) != 1:
        raise ValueError(
            "The names of the model's nodes do not identify its network "
            f"({', '.join(predictor.scopes[:5])}): give --model_name or "
            "--preprocessing_name."
        )
    return names.pop()


def choose_image_size(predictor: Predictor, spec: ModelSpec) -> list[int]:
    """Returns height and width of the images in pixels.

    Raises:
      ValueError: if they are unknown, or a flag or the run contradicts the model.
    """
    fixed = {size for size in predictor.image_size if size is not None}
    if fixed - {FLAGS.image_size or spec.image_size}:
        message = f"{FLAGS.model_path!r} takes images of {max(fixed)} pixels, but "
        if FLAGS.image_size:
            raise ValueError(
                f"{message}--image_size is {FLAGS.image_size}: leave the flag out."
            )
        # The run card beside the file counts if the file contains nothing else.
        if predictor.spec == spec and not FLAGS.ignore_run_card:
            raise ValueError(
                f"{message}the run was trained with {spec.image_size} (image_size in "
                f"{run_card.FILE_NAME}): export it again with export_model.py, or add "
                "--ignore_run_card."
            )
    own = predictor.spec or spec
    sizes = [FLAGS.image_size or n or own.image_size for n in predictor.image_size]
    if None in sizes:
        raise ValueError(
            "The model's input has a variable image size: give --image_size."
        )
    return sizes


def get_own_preprocessing(predictor: Predictor, spec: ModelSpec) -> str | None:
    """Returns the preprocessing of the model's specification or its run; or None.

    Raises:
      ValueError: if --model_name contradicts the model.
    """
    own = predictor.spec or spec
    if FLAGS.model_name and own.model_name not in (None, FLAGS.model_name):
        if not FLAGS.ignore_run_card:
            raise ValueError(
                f"--model_name is {FLAGS.model_name!r}, but {FLAGS.model_path!r} "
                f"contains {own.model_name!r}: leave the flag out, or add "
                "--ignore_run_card to override it."
            )
        own = spec
    return own.preprocessing_name or spec.preprocessing_name


def choose_batches(predictor: Predictor, spec: ModelSpec) -> Callable:
    """Returns a function of (paths, batch size, ...) that builds the model's input."""
    if predictor.takes_files:
        return file_batches.build_encoded_batches
    height, width = choose_image_size(predictor, spec)
    preprocessing = FLAGS.preprocessing_name or get_own_preprocessing(predictor, spec)
    if preprocessing is None:
        preprocessing = recognize_preprocessing(predictor)
        logging.warning(
            "%s contains no model specification and has no run card: guessing the "
            "preprocessing %s from the names of its nodes (--preprocessing_name "
            "overrides it), and images of %dx%d pixels from its input.",
            FLAGS.model_path, preprocessing, height, width,
        )  # fmt: skip
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        preprocessing, use_grayscale=predictor.channels == 1
    )
    return functools.partial(
        file_batches.build_batches, preprocessing_fn, height, width
    )


def name_outputs(
    predictor: Predictor, spec: ModelSpec, path: str, num_outputs: int
) -> tuple[str, ...] | None:
    """Returns the names of the model's outputs; None if they are unknown.

    Args:
      predictor: the model.
      spec: what the flags and the run card say.
      path: the model's path.
      num_outputs: number of scores per image.

    Raises:
      ValueError: if names are not as many as the outputs, or --label_path contradicts
        the names that the model or its run card contains.
    """
    own = predictor.spec or spec
    known, source = own.output_names, path
    if own == spec:
        source = os.path.join(run_card.find_train_dir(path) or "", run_card.FILE_NAME)
    if known and len(known) != num_outputs:
        if not FLAGS.ignore_run_card:
            raise ValueError(
                f"The model has {num_outputs} outputs, but {source} describes one with "
                f"{len(known)}: move the model away from it, or add --ignore_run_card."
            )
        known = None
    labels, label_path = read_labels(path)
    if labels is None or (known and not FLAGS.label_path):
        return known
    try:
        names = output_names.from_labels(
            labels, num_outputs, own.labels_offset, label_path
        )
    except ValueError as error:
        if FLAGS.label_path:
            raise
        logging.warning("%s Classes are numbered instead.", error)
        return None
    if not FLAGS.label_path:
        logging.warning("%s contains no names: using those of %s.", path, label_path)
    elif known and not FLAGS.ignore_run_card:
        output_names.check_same(names, known, label_path, source)
    return names


def predict(
    paths: Sequence[str],
    predictor: Predictor,
    spec: ModelSpec,
    path: str,
    writer: output.Writer,
    on_error: Callable[[str, str], None],
) -> int:
    """Writes the predictions of each image; returns how many could be read.

    Raises:
      ValueError: if scores are not finite.
    """
    reasons, complete, count, broken = {}, None, 0, []
    build_batches = functools.partial(
        choose_batches(predictor, spec),
        paths,
        FLAGS.batch_size or running.choose_batch_size(len(paths), predictor),
        reasons,
        FLAGS.num_preprocessing_threads,
    )
    results = running.predict_all(predictor, build_batches, len(paths), FLAGS.precision)
    # On a terminal, the printed results themselves show the progress.
    is_hidden = True if not FLAGS.output_file and sys.stdout.isatty() else None
    for index, scores in tqdm.tqdm(
        file_batches.fill_gaps(results, len(paths)),
        total=len(paths),
        unit="image",
        disable=is_hidden,
        dynamic_ncols=True,
    ):
        if scores is None:
            reason = reasons.pop(index, "TensorFlow cannot decode it")
            on_error(paths[index], reason)
            writer.write_failure(paths[index], reason)
            continue
        if not np.isfinite(scores).all():
            broken.append(paths[index])
            writer.write_failure(paths[index], "its scores are not finite numbers")
            continue
        if complete is None:
            complete = (predictor.spec or spec).replace(
                num_outputs=len(scores),
                output_names=name_outputs(predictor, spec, path, len(scores)),
            )
        rows = writer.task.interpret(scores, complete, FLAGS.num_top_predictions)
        writer.write(paths[index], rows)
        count += 1
    if broken:
        raise ValueError(
            f"{FLAGS.model_path!r} returns scores that are not finite numbers for "
            f"{len(broken)} of {len(paths)} images ({text.shorten(broken)}): the model "
            "is damaged, or its training diverged."
        )
    return count


def main(argv: Sequence[str]) -> None:
    if not FLAGS.model_path:
        raise ValueError("Give the model to use: --model_path=frozen.pb.")
    sources = [FLAGS.image_file, *argv[1:]] if FLAGS.image_file else argv[1:]
    if not sources:
        raise ValueError("Give the images to classify: --image_file=photo.jpg.")
    file_type, path = formats.find_file_type(FLAGS.model_path)
    card = run_card.find(path)
    spec = settings.read_spec(
        FLAGS, card, network_lookup.get_network, free=["image_size"]
    )
    num_names = len(read_labels(path)[0] or ())
    failed = []

    def on_error(path, reason):
        failed.append(path)
        where = remote_files.to_urls(path)
        tqdm.tqdm.write(f"{where}: cannot be read: {reason}.", file=sys.stderr)

    paths = file_batches.list_images(sources, on_error)
    with open_predictor(file_type, path, card, spec, num_names) as predictor:
        task = tasks.get_task((predictor.spec or spec).task)
        with output.open_writer(FLAGS.output_format, FLAGS.output_file, task) as writer:
            count = predict(paths, predictor, spec, path, writer, on_error)
            if not count:
                raise ValueError(f"None of {len(failed)} images could be read.")
    if failed:
        verb = "was" if count == 1 else "were"
        print(f"{len(failed)} could not be read, {count} {verb}.", file=sys.stderr)


if __name__ == "__main__":
    entry.run(main, takes_files=True)
