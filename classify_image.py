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
its nodes; a checkpoint needs --model_name and --label_path.

Images that cannot be read are reported and skipped. The exit status is 1 if no image
could be read.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence

import tqdm
from absl import flags

from datasets import dataset_utils, file_batches
from deployment import entry, formats, settings, tasks
from deployment.formats.base import FileType
from deployment.models import checkpoint, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.predict import output
from deployment.predict.predictor import CheckpointPredictor, Predictor, fit_names
from nets import nets_factory
from preprocessing import preprocessing_factory

flags.DEFINE_string(
    "model_path",
    None,
    "The model: an exported file or folder ("
    f"{', '.join(formats.list_formats())}), a checkpoint or a training folder.",
)
flags.DEFINE_string(
    "label_path",
    None,
    "File with the names of the outputs. If unset, the model's own names, those of its "
    "run or of a labels.txt next to it, else numbers.",
)
flags.DEFINE_string("image_file", None, "An image, a folder, or a pattern.")
flags.DEFINE_integer(
    "num_top_predictions",
    5,
    "Largest number of classes or labels to list for an image.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "output_format",
    None,
    list(output.WRITERS),
    "Output format. If unset, by the ending of --output_file, else a table.",
)
flags.DEFINE_string(
    "output_file", None, "File to write. If unset, results are printed."
)
flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
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

FLAGS = flags.FLAGS


def read_names(card: RunCard | None, path: str) -> dict[int, str] | None:
    """Returns label to name of --label_path, the run, or labels.txt; or None."""
    folder, name = os.path.split(path.rstrip("/"))
    if FLAGS.label_path:
        if not os.path.isfile(FLAGS.label_path):
            raise ValueError(f"There is no label file {FLAGS.label_path!r}.")
        folder, name = os.path.split(FLAGS.label_path)
    elif card and card.output_names:
        return dict(enumerate(card.output_names))
    else:
        name = dataset_utils.LABELS_FILENAME
        if not dataset_utils.has_labels(folder):
            return None
    return dataset_utils.read_label_file(folder, name)


def open_predictor(
    file_type: FileType,
    path: str,
    card: RunCard | None,
    spec: ModelSpec,
    num_names: int,
) -> Predictor:
    """Opens the model; its specification, where it has none, is that of its run."""
    if file_type.open_predictor is not None:
        known = spec if card is not None else None
        return file_type.open_predictor(path, FLAGS.output_node, FLAGS.signature, known)
    path = checkpoint.find_prefix(path)
    spec = spec.replace(num_outputs=spec.num_outputs or num_names)
    if not spec.model_name or not spec.num_outputs:
        raise ValueError(
            f"{path!r} is a checkpoint without a run card (run.json), so it needs "
            "--model_name (the network) and --label_path (the names of the outputs)."
        )
    get_network_fn = functools.partial(
        nets_factory.get_network_fn, spec.model_name, is_training=False
    )
    return CheckpointPredictor(path, get_network_fn, spec)


def choose_preprocessing(predictor: Predictor, spec: ModelSpec) -> str:
    """Returns the preprocessing: of the flags, the model, its run or its nodes."""
    is_given = FLAGS.preprocessing_name or FLAGS.model_name
    if predictor.spec is not None and not is_given:
        spec = predictor.spec
    if spec.preprocessing_name:
        return spec.preprocessing_name
    networks = map(nets_factory.get_network, nets_factory.list_networks())
    names = {n.preprocessing for n in networks if n.scope in predictor.scopes}
    if len(names) != 1:
        raise ValueError(
            "The names of the model's nodes do not identify its network "
            f"({', '.join(predictor.scopes[:5])}): give --model_name or "
            "--preprocessing_name."
        )
    return names.pop()


def choose_batches(predictor: Predictor, spec: ModelSpec) -> Callable:
    """Returns a function of (paths, batch size, ...) that builds the model's input."""
    if predictor.takes_files:
        return file_batches.build_encoded_batches
    height, width = (
        FLAGS.image_size or size or spec.image_size for size in predictor.image_size
    )
    if None in (height, width):
        raise ValueError(
            "The model's input has a variable image size: give --image_size."
        )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        choose_preprocessing(predictor, spec), use_grayscale=predictor.channels == 1
    )
    return functools.partial(
        file_batches.build_batches, preprocessing_fn, height, width
    )


def complete_spec(
    spec: ModelSpec, names: dict[int, str] | None, num_outputs: int
) -> ModelSpec:
    """Returns the specification with a name for each of the model's outputs.

    Args:
      spec: what is known of the model.
      names: label to name, of --label_path or found with the model.
      num_outputs: number of scores per image.
    """
    if not FLAGS.label_path:
        if spec.output_names and len(spec.output_names) == num_outputs:
            return spec
        if names and abs(len(names) - num_outputs) > 1:
            names = None  # They belong to another model.
    return spec.replace(
        num_outputs=num_outputs, output_names=fit_names(names, num_outputs)
    )


def predict(
    paths: Sequence[str],
    predictor: Predictor,
    spec: ModelSpec,
    names: dict[int, str] | None,
    writer: output.Writer,
    on_error: Callable[[str, str], None],
) -> int:
    """Writes the predictions of each image; returns how many could be read."""
    reasons, complete, count = {}, None, 0
    results = predictor.predict_all(
        functools.partial(
            choose_batches(predictor, spec),
            paths,
            FLAGS.batch_size,
            reasons,
            FLAGS.num_preprocessing_threads,
        )
    )
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
        if complete is None:
            complete = complete_spec(predictor.spec or spec, names, len(scores))
        rows = writer.task.interpret(scores, complete, FLAGS.num_top_predictions)
        writer.write(paths[index], rows)
        count += 1
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
        FLAGS, card, nets_factory.get_network, free=["image_size"]
    )
    names = read_names(card, path)
    failed = []

    def on_error(path, reason):
        failed.append(path)
        tqdm.tqdm.write(f"{path}: cannot be read: {reason}.", file=sys.stderr)

    paths = file_batches.list_images(sources, on_error)
    with open_predictor(file_type, path, card, spec, len(names or ())) as predictor:
        task = tasks.get_task((predictor.spec or spec).task)
        with output.open_writer(FLAGS.output_format, FLAGS.output_file, task) as writer:
            count = predict(paths, predictor, spec, names, writer, on_error)
            if not count:
                raise ValueError(f"None of {len(failed)} images could be read.")
    if failed:
        verb = "was" if count == 1 else "were"
        print(f"{len(failed)} could not be read, {count} {verb}.", file=sys.stderr)


if __name__ == "__main__":
    entry.run(main, takes_files=True)
