r"""Names what pictures show, by a trained model of any kind.

  python classify_image.py --model_path=frozen.pb --label_path=data/labels.txt \
      --image_file=photo.jpg
  python classify_image.py --model_path=run --output_file=names.csv photos 'more/*.png'

Files, folders and patterns may follow. A model is a frozen graph, a SavedModel's
folder, a TFLite or ONNX file, a checkpoint or a training folder. With a training
folder, whatever lies in its `best` and `export`, and what export_model.py wrote,
network, image size, preprocessing and names are those of the run; else a graph's nodes
tell the network, and a checkpoint needs --model_name and --label_path.

A picture that cannot be read is named, and the rest goes on: the exit status is 0 if
one picture or more was classified, and 1 if none was.
"""

import functools
import os
import sys

import tqdm
from absl import flags

from datasets import dataset_utils, picture_batches
from deployment import entry
from deployment.formats import model_files, opening
from deployment.models import checkpoints, run_card
from deployment.predict import classifying, prediction_output
from nets import nets_factory
from preprocessing import preprocessing_factory

flags.DEFINE_string(
    "model_path",
    None,
    "A frozen graph, a SavedModel's folder, a TFLite or ONNX file, a checkpoint or a "
    "training folder.",
)
flags.DEFINE_string(
    "label_path",
    None,
    "The names of the classes. Unset: the run's or the model's own, else numbers.",
)
flags.DEFINE_string("image_file", None, "A picture, a folder, or a pattern.")
flags.DEFINE_integer(
    "num_top_predictions", 5, "How many classes to name.", lower_bound=1
)
flags.DEFINE_enum(
    "output_format",
    None,
    list(prediction_output.FORMATS),
    "Unset: as --output_file ends, else a table.",
)
flags.DEFINE_string("output_file", None, "Where to write. Unset: on the screen.")
flags.DEFINE_integer("batch_size", 64, "Pictures in a batch.", lower_bound=1)
flags.DEFINE_integer(
    "num_preprocessing_threads", 4, "Pictures decoded at a time.", lower_bound=1
)
flags.DEFINE_string(
    "model_name", None, "The network. Unset: the run's, or as the graph's nodes tell."
)
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. Unset: the run's, or the network's."
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels. Unset: as the model's input tells, the run's, or the "
    "network's.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "use_grayscale", None, "Grey images, for a checkpoint. Unset: as in the run."
)
flags.DEFINE_float(
    "moving_average_decay",
    None,
    "Given where a checkpoint has moving averages of the weights: uses them. Unset: "
    "as in the run.",
)
flags.DEFINE_string(
    "output_node",
    None,
    "The node of the scores, or the key of a SavedModel's. Unset: the only one.",
)
flags.DEFINE_string(
    "signature",
    None,
    "The signature of a SavedModel. Unset: image_bytes, pixels, serving_default, or "
    "the only one.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS

# Flags of which a run's card knows the values, by its names.
RUN_SETTINGS = (
    "model_name",
    "preprocessing_name",
    "image_size",
    "use_grayscale",
    "moving_average_decay",
)


def read_settings(card):
    """The values of RUN_SETTINGS, from the flags and a `RunCard` (None: no card)."""
    if card is None:
        return {name: FLAGS[name].value for name in RUN_SETTINGS}
    given = entry.get_given_flags(FLAGS, RUN_SETTINGS)
    return run_card.reconcile(
        card, given, RUN_SETTINGS, FLAGS.ignore_run_card, free=("image_size",)
    )


def read_names(card, path):
    """Label to name, of --label_path, the run, or a file beside the model; or None."""
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


def open_classifier(kind, path, card, settings, names):
    """The `Classifier` of a model."""
    if kind != model_files.CHECKPOINT:
        return opening.open_model(kind, path, FLAGS.output_node, FLAGS.signature)
    path = checkpoints.get_checkpoint_path(path)
    num_classes = card.num_classes if card else len(names or ())
    model_name = settings["model_name"]
    if not model_name or not num_classes:
        raise ValueError(
            f"{path!r} is a checkpoint without a run card (run.json), so it needs "
            "--model_name (the network) and --label_path (the names of the classes)."
        )
    size = settings["image_size"]
    size = size or nets_factory.get_network(model_name).default_image_size
    return classifying.CheckpointClassifier(
        path,
        functools.partial(nets_factory.get_network_fn, model_name, is_training=False),
        num_classes,
        [size, size, 1 if settings["use_grayscale"] else 3],
        settings["moving_average_decay"],
    )


def choose_preprocessing(settings, scopes):
    """The name of the preprocessing, from the settings or the graph's scopes."""
    if settings["preprocessing_name"]:
        return settings["preprocessing_name"]
    if settings["model_name"]:
        return nets_factory.get_network(settings["model_name"]).preprocessing
    networks = map(nets_factory.get_network, nets_factory.list_networks())
    names = {n.preprocessing for n in networks if n.scope and n.scope in scopes}
    if len(names) != 1:
        raise ValueError(
            "The model's nodes do not tell which network it is "
            f"({', '.join(scopes[:5])}): give --model_name or --preprocessing_name."
        )
    return names.pop()


def choose_batches(classifier, settings):
    """A function of (paths, batch size, ...) that builds the batches a model takes."""
    if classifier.takes_files:
        return picture_batches.build_encoded_batches
    sizes = [size or settings["image_size"] for size in classifier.image_size]
    if FLAGS.image_size or None in sizes:
        sizes = [FLAGS.image_size] * 2
    if None in sizes:
        raise ValueError(
            "The model's input leaves the image size open: give --image_size."
        )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        choose_preprocessing(settings, classifier.scopes),
        use_grayscale=classifier.channels == 1,
    )
    return functools.partial(
        picture_batches.build_batches, preprocessing_fn, sizes[0], sizes[1]
    )


def choose_names(classifier, names, num_classes):
    """The names of a model's outputs: those asked for, its own, or those found."""
    if not FLAGS.label_path:
        if classifier.class_names:
            return classifier.class_names
        if names and abs(len(names) - num_classes) > 1:
            names = None  # They lie there for another model.
    return classifying.name_classes(names, num_classes)


def classify(paths, classifier, build_batches, names, writer, on_error):
    """Writes what each picture shows; returns how many were classified."""
    reasons, class_names, count = {}, None, 0
    results = classifier.classify_all(
        functools.partial(
            build_batches,
            paths,
            FLAGS.batch_size,
            reasons,
            FLAGS.num_preprocessing_threads,
        )
    )
    # On one screen, the results themselves show how far it is.
    is_hidden = True if not FLAGS.output_file and sys.stdout.isatty() else None
    for index, probabilities in tqdm.tqdm(
        picture_batches.fill_gaps(results, len(paths)),
        total=len(paths),
        unit="image",
        disable=is_hidden,
        dynamic_ncols=True,
    ):
        if probabilities is None:
            reason = reasons.pop(index, "TensorFlow cannot decode it")
            on_error(paths[index], reason)
            writer.write_failure(paths[index], reason)
            continue
        if class_names is None:
            class_names = choose_names(classifier, names, len(probabilities))
        ranking = prediction_output.rank_classes(
            probabilities, class_names, FLAGS.num_top_predictions
        )
        writer.write(paths[index], ranking)
        count += 1
    return count


def main(argv):
    if not FLAGS.model_path:
        raise ValueError("Say which model to use: --model_path=frozen.pb.")
    sources = [FLAGS.image_file, *argv[1:]] if FLAGS.image_file else argv[1:]
    if not sources:
        raise ValueError("Say which picture to name: --image_file=photo.jpg.")
    kind, path = model_files.find_kind(FLAGS.model_path)
    card = run_card.find(path)
    settings, names = read_settings(card), read_names(card, path)
    failed = []

    def on_error(path, reason):
        failed.append(path)
        tqdm.tqdm.write(f"{path}: cannot be read: {reason}.", file=sys.stderr)

    paths = picture_batches.list_pictures(sources, on_error)
    with (
        open_classifier(kind, path, card, settings, names) as classifier,
        prediction_output.open_writer(FLAGS.output_format, FLAGS.output_file) as writer,
    ):
        build_batches = choose_batches(classifier, settings)
        count = classify(paths, classifier, build_batches, names, writer, on_error)
        if not count:
            raise ValueError(f"None of {len(failed)} pictures could be read.")
    if failed:
        verb = "was" if count == 1 else "were"
        print(f"{len(failed)} could not be read, {count} {verb}.", file=sys.stderr)


if __name__ == "__main__":
    entry.run(main, takes_files=True)
