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

Apache Beam classifies a large collection on many machines, with --runner, into files
such as names-00003-of-00010.csv: see docs/beam.md.

Images that cannot be read are reported and skipped. The exit status is 1 if no image
could be read.
"""

import functools
import os
import sys
from collections.abc import Sequence

import tqdm
from absl import flags

import remote_files
from datasets import dataset_utils, file_batches
from deployment import beam_tasks, config_flags, entry, formats, settings
from deployment.classify import classifier, sharding
from deployment.models import run_card
from deployment.predict import output, running
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
flags.DEFINE_integer(
    "output_shards",
    None,
    "With --runner, number of files to write. If unset, one per 1000 images, at most "
    "1000.",
    lower_bound=1,
)
config_flags.define_flags(beam_tasks.RunnerConfig, __name__)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)
entry.define_trust_model(__name__)

FLAGS = flags.FLAGS


# What `deployment` gets from the rooms beside it.
PARTS = classifier.Parts(
    get_network_fn=network_lookup.get_network_fn,
    get_network=network_lookup.get_network,
    list_networks=network_lookup.list_networks,
    get_preprocessing=preprocessing_factory.get_preprocessing,
    build_batches=file_batches.build_batches,
    build_encoded_batches=file_batches.build_encoded_batches,
    fill_gaps=file_batches.fill_gaps,
)


class Failures:
    """Reports images that cannot be read, and counts them."""

    count = 0

    def add(self, path: str, reason: str) -> None:
        """Reports one."""
        self.count += 1
        where = remote_files.to_urls(path)
        tqdm.tqdm.write(f"{where}: cannot be read: {reason}.", file=sys.stderr)

    def check(self, num_read: int) -> None:
        """Raises ValueError if no image could be read."""
        if not num_read:
            raise ValueError(f"None of {self.count} images could be read.")


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


def build_config() -> classifier.ClassifyConfig:
    """Returns what the flags and the run card say of the model.

    Raises:
      ValueError: if there is no such model, or flags contradict its run card.
    """
    file_type, path = formats.find_file_type(FLAGS.model_path)
    card = run_card.find(path)
    spec = settings.read_spec(
        FLAGS, card, network_lookup.get_network, free=["image_size"]
    )
    labels, labels_file = read_labels(path)
    own = {"checkpoint": FLAGS.checkpoint}
    if file_type.open_predictor is None:
        path = settings.choose_checkpoint(FLAGS, "Using", "model_path", path)
        own = {}
    same = (
        "model_path model_name preprocessing_name image_size output_node signature "
        "trust_model ignore_run_card num_top_predictions batch_size precision "
        "num_preprocessing_threads"
    )
    return classifier.ClassifyConfig(
        path=path,
        spec=spec,
        has_card=card is not None,
        labels=labels,
        labels_file=labels_file,
        are_labels_given=bool(FLAGS.label_path),
        **own,
        **{name: FLAGS[name].value for name in same.split()},
    )


def classify_here(
    config: classifier.ClassifyConfig, paths: Sequence[str], failures: Failures
) -> int:
    """Writes the predictions of each image; returns how many could be read."""
    # On a terminal, the printed results themselves show the progress.
    is_hidden = True if not FLAGS.output_file and sys.stdout.isatty() else None
    show = functools.partial(
        tqdm.tqdm, total=len(paths), unit="image", disable=is_hidden, dynamic_ncols=True
    )
    with (
        classifier.Classifier(config, PARTS) as model,
        output.open_writer(
            FLAGS.output_format, FLAGS.output_file, model.task
        ) as writer,
    ):
        count = model.classify(paths, writer, failures.add, show=show)
        failures.check(count)
    return count


def main(argv: Sequence[str]) -> None:
    if not FLAGS.model_path:
        raise ValueError("Give the model to use: --model_path=frozen.pb.")
    sources = [FLAGS.image_file, *argv[1:]] if FLAGS.image_file else argv[1:]
    if not sources:
        raise ValueError("Give the images to classify: --image_file=photo.jpg.")
    runner_config = config_flags.from_flags(beam_tasks.RunnerConfig, FLAGS)
    engine = runner_config.open_engine()
    if engine is None and FLAGS.output_shards:
        raise ValueError("--output_shards needs --runner: add it, or leave this out.")
    config = build_config()
    failures = Failures()
    paths = file_batches.list_images(sources, failures.add)
    failures.check(len(paths))
    if engine is None:
        count = classify_here(config, paths, failures)
    else:
        target = sharding.ShardedOutput(
            FLAGS.output_file, FLAGS.output_format, FLAGS.output_shards
        )
        count = sharding.classify(
            config, PARTS, paths, target, engine.distribute, failures.add
        )
    if failures.count:
        verb = "was" if count == 1 else "were"
        print(f"{failures.count} could not be read, {count} {verb}.", file=sys.stderr)


if __name__ == "__main__":
    entry.run(main, takes_files=True)
