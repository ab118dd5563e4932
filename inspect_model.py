r"""Shows what is inside networks, checkpoints and graph files.

Networks: list them all, compare their costs, or list the layers of one.

  python inspect_model.py --list_networks
  python inspect_model.py --list_networks --count --model_name='mobilenet*,vgg_16'
  python inspect_model.py --model_name=inception_v3 --num_classes=6
  python inspect_model.py --list_pretrained

Checkpoints of both formats (V1 and V2): list the variables, compute statistics, print
the values of one variable, draw the weights of the first layer. For a training folder,
the best checkpoint is shown if the run kept one, else the newest; see --checkpoint.

  python inspect_model.py --checkpoint_path=run
  python inspect_model.py --checkpoint_path=run --statistics
  python inspect_model.py --checkpoint_path=run --values=global_step
  python inspect_model.py --checkpoint_path=run --filters_png=filters.png
  python inspect_model.py --checkpoint_path=run --quantization_noise \
      --noise_png=noise.png

--filters_png draws the filters of the first convolution. For a linear model (softmax,
logistic or linear regression) it draws one image per class, of the class's weights:
red pixels speak for the class, blue ones against it. --quantization_noise shows which
layers of a run lose most in 8-bit integers.

Compare a checkpoint with another one, or with a network. The report ends with the flags
that start training from it.

  python inspect_model.py --checkpoint_path=run --compare_to=run/model.ckpt-500
  python inspect_model.py --checkpoint_path=inception_v3.ckpt \
      --model_name=inception_v3 --num_classes=6

Graphs (.pb, .pbtxt, .meta, or the folder of a SavedModel): list operations, likely
inputs and outputs, write all node names, or show one node.

  python inspect_model.py --graph_path=frozen.pb --names_file=names.txt
  python inspect_model.py --graph_path=frozen.pb --node=input

Augmentation: draw training images as the network sees them, of a run, or of flags.

  python inspect_model.py --show_augmentation --checkpoint_path=run
  python inspect_model.py --show_augmentation --model_name=mobilenet_v1 \
      --augment='random_resized_crop(0.35, 1)|flip|randaugment(2, 9)|erase(0.25)' \
      --image_dir=photos

--tensorboard_dir=graphs writes the graph of a network, a checkpoint or a graph file for
`tensorboard --logdir=graphs`.
"""

import fnmatch
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

import remote_files
from datasets import dataset_lookup, file_batches, input_pipeline
from deployment import config_flags, entry, settings, user_modules
from deployment.inspect import (
    augmentation,
    differences,
    drawing,
    filters,
    graph_loading,
    network,
    quantization,
    quantization_noise,
    tensorboard,
)
from deployment.inspect import checkpoint as checkpoint_report
from deployment.inspect import graph as graph_report
from deployment.inspect.options import (
    CheckpointOptions,
    GraphOptions,
    NetworkOptions,
    NoiseOptions,
    choose_subject,
)
from deployment.models import checkpoint_choice, run_card
from deployment.models.checkpoint import Checkpoint
from nets import network_lookup, published
from preprocessing import preprocessing_factory
from tf_slim_compat import tf

flags.DEFINE_integer(
    "image_size",
    None,
    "Height and width of the images in pixels. If unset, the network's default.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "num_classes",
    None,
    "Number of outputs of the network. If unset, as in the run of --checkpoint_path, "
    "or 1000.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "num_frames",
    None,
    "Number of frames of a video. If unset, 64 for video networks.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "calibration_images",
    32,
    "Number of images to compute with --quantization_noise.",
    lower_bound=1,
)
flags.DEFINE_string(
    "checkpoint_path",
    None,
    "Checkpoint to inspect, or a training folder; see --checkpoint.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_string(
    "graph_path",
    None,
    "Graph to inspect: a GraphDef or MetaGraphDef file, or the folder of a SavedModel.",
)
for options in (
    augmentation.Sheet,
    NetworkOptions,
    CheckpointOptions,
    NoiseOptions,
    GraphOptions,
):
    config_flags.define_flags(options, __name__)
entry.define_user_module(__name__)

FLAGS = flags.FLAGS

_VIDEO_NETWORKS = ("i3d", "s3dg")


def get_network(
    name: str, num_classes: int | None = None, is_training: bool = True
) -> tuple[network.NetworkFn, list[int]]:
    """Returns a network's function and its input shape, according to the flags.

    Args:
      name: the network's name.
      num_classes: number of outputs, if --num_classes is unset.
      is_training: whether to build the network for training.
    """
    network_fn = network_lookup.get_network_fn(
        name, FLAGS.num_classes or num_classes or 1000, is_training=is_training
    )
    size = FLAGS.image_size or network_fn.default_image_size
    frames = FLAGS.num_frames or (64 if name in _VIDEO_NETWORKS else None)
    shape = [size, size, 1 if FLAGS.use_grayscale else 3]
    return network_fn, [frames, *shape] if frames else shape


def summarize(name: str, num_classes: int | None = None) -> network.Summary:
    """Returns the layers of a network; see `get_network`."""
    return network.summarize(*get_network(name, num_classes))


def list_networks() -> Iterator[str]:
    """Generates a table of networks."""
    names = network_lookup.list_networks()
    if FLAGS.model_name:
        chosen = set()
        for pattern in FLAGS.model_name.replace(" ", "").split(","):
            found = fnmatch.filter(names, pattern)
            # `get_network` raises the error for an unknown name.
            chosen.update(found or [network_lookup.get_network(pattern).name])
        names = sorted(chosen)
    rows = {name: network_lookup.get_network(name) for name in names}
    facts = {
        name: network.Facts(
            row.default_image_size, row.preprocessing, row.top1, row.paper
        )
        for name, row in rows.items()
    }
    yield from network.describe_costs(facts, summarize if FLAGS.count else None)
    if not FLAGS.count:
        yield "Add --count for parameters and multiply-adds."


def list_pretrained() -> Iterator[str]:
    """Generates a table of published weights."""
    patterns = (FLAGS.model_name or "*").replace(" ", "").split(",")
    found = [
        weights
        for weights in published.WEIGHTS
        if any(fnmatch.fnmatchcase(weights.network, pattern) for pattern in patterns)
    ]
    if not found:
        raise ValueError(
            f"There are no published weights of --model_name={FLAGS.model_name}: leave "
            "it out to list all."
        )
    yield network.describe_pretrained(found)


def inspect_network() -> Iterator[str]:
    """Generates a table of a network's layers."""
    if FLAGS.tensorboard_dir:
        network_fn, input_shape = get_network(FLAGS.model_name, is_training=False)
        yield write_graph(network.build_graph_def(network_fn, input_shape))
        return
    yield from network.describe_summary(summarize(FLAGS.model_name))
    note = network_lookup.get_network(FLAGS.model_name).note
    if note:
        yield f"Public checkpoints: {note}"


def inspect_graph() -> Iterator[str]:
    """Generates a report on a graph file."""
    graph = graph_loading.load_graph(FLAGS.graph_path)
    if FLAGS.names_file:
        graph_report.write_names(graph, FLAGS.names_file)
        yield f"Wrote {len(graph.graph_def.node):,} names to {FLAGS.names_file}."
    if FLAGS.tensorboard_dir:
        yield write_graph(graph.graph_def)
    if FLAGS.node:
        yield from graph_report.describe_node(graph, FLAGS.node)
    elif not FLAGS.names_file and not FLAGS.tensorboard_dir:
        yield from graph_report.describe_graph(graph)


def write_graph(graph_def: Any) -> str:
    """Writes a GraphDef to --tensorboard_dir and returns how to look at it."""
    tensorboard.write_graph(graph_def, FLAGS.tensorboard_dir)
    return (
        f"Wrote a graph of {len(graph_def.node):,} nodes; view it with "
        f"tensorboard --logdir={FLAGS.tensorboard_dir}"
    )


def inspect_checkpoint() -> Iterator[str]:
    """Generates a report on a checkpoint."""
    reader = Checkpoint(settings.choose_checkpoint(FLAGS, "Inspecting"))
    if FLAGS.values:
        yield checkpoint_report.describe_values(reader, FLAGS.values)
    elif FLAGS.filters_png:
        card = run_card.find(FLAGS.checkpoint_path)
        name, width, height = filters.write_weights(
            reader, FLAGS.filters_png, FLAGS.filters_variable, card
        )
        yield f"Drew {name} to {FLAGS.filters_png}, {width}x{height} pixels."
    elif FLAGS.tensorboard_dir:
        yield write_graph(graph_loading.load_graph(reader.path + ".meta").graph_def)
    elif FLAGS.compare_to or FLAGS.model_name:
        yield from compare(reader)
    else:
        card = run_card.find(FLAGS.checkpoint_path)
        if card:
            yield from checkpoint_report.describe_card(card)
            yield ""
        yield from quantization.describe_ranges(reader)
        yield from checkpoint_report.describe_checkpoint(reader, FLAGS.statistics)


def compare(reader: Checkpoint) -> Iterator[str]:
    """Generates the differences of a checkpoint to another one or a network."""
    if FLAGS.compare_to:
        other = Checkpoint(checkpoint_choice.choose(FLAGS.compare_to).path)
        difference = differences.compare_checkpoints(reader, other)
        names, start = (reader.path, other.path), other.path
    else:
        card = load_card(is_needed=False)
        shapes = summarize(FLAGS.model_name, card and card.num_classes).shapes
        difference = differences.compare_shapes(
            shapes, {v.name: v.shape for v in reader.variables.values()}
        )
        names, start = (FLAGS.model_name, reader.path), reader.path
    yield from differences.describe_difference(difference, *names)
    yield differences.describe_warm_start(difference, start)


def measure_noise() -> Iterator[str]:
    """Generates how much noise 8 bits add to each layer of a run, and draws it."""
    if FLAGS.noise_png:
        drawing.get_format(FLAGS.noise_png)  # Fails before the work does.
    if not FLAGS.checkpoint_path:
        raise ValueError(
            "--quantization_noise needs a run: give --checkpoint_path=run."
        )
    card = load_card(is_needed=True)
    reader = Checkpoint(settings.choose_checkpoint(FLAGS, "Inspecting"))
    spec = card.spec
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        spec.preprocessing_name, use_grayscale=spec.use_grayscale
    )
    build = functools.partial(build_images, card, preprocessing_fn, spec.image_size)
    images = np.stack(augmentation.take_images(build, FLAGS.calibration_images))
    network_fn = network_lookup.get_network_fn(spec.model_name, spec.num_outputs)
    rows = quantization_noise.measure(network_fn, spec, reader, images)
    yield from quantization_noise.describe(rows, len(images))
    if FLAGS.noise_png:
        image = quantization_noise.draw(rows, f"{spec.model_name} of {reader.path}")
        drawing.write_image(image, FLAGS.noise_png)
        yield f"Drew the ratios to {FLAGS.noise_png}."


def load_card(is_needed: bool) -> run_card.RunCard | None:
    """Returns the run card of --checkpoint_path and imports its user modules.

    Raises:
      ValueError: if it is needed and there is none.
    """
    card = run_card.find(FLAGS.checkpoint_path)
    if is_needed and card is None:
        raise ValueError(
            f"--checkpoint_path={FLAGS.checkpoint_path} has no run card (run.json): "
            "give the folder of a training run."
        )
    if card and not FLAGS.user_module:
        user_modules.load(card.user_modules)
    return card


def build_images(
    card: run_card.RunCard | None, preprocessing_fn: Callable, size: int | None
) -> tf.data.Dataset:
    """Builds batches of one image of --image_dir or a run."""
    options = preprocessing_fn, size, size

    def fail(path, reason):
        raise ValueError(f"--image_dir={path} cannot be used: {reason}.")

    if FLAGS.image_dir:
        paths = file_batches.list_images([FLAGS.image_dir], fail)
        return file_batches.build_batches(*options, paths, 1, {})
    if card is None or not card.dataset_dir:
        raise ValueError(
            "There are no images to show: give --image_dir=photos, or a run with a "
            "dataset, --checkpoint_path=run."
        )
    dataset = dataset_lookup.get_dataset(
        card.dataset_name, card.dataset_split_name, card.dataset_dir
    )
    return input_pipeline.build_batches(dataset, *options, 1, is_training=True, seed=0)


def show_augmentation() -> Iterator[str]:
    """Draws training images beside what evaluation sees; generates what it drew."""
    card = load_card(is_needed=bool(FLAGS.checkpoint_path))
    default = card.model_name if card else "mobilenet_v1"
    network_row = network_lookup.get_network(FLAGS.model_name or default)
    name, size = network_row.preprocessing, network_row.default_image_size
    if card and not FLAGS.model_name:
        name, size = card.preprocessing_name, card.image_size
    augment = FLAGS.augment
    if augment is None and card:
        augment = card.flags.get("augment")
    is_gray = FLAGS.use_grayscale or bool(card and card.use_grayscale)
    evaluation_fn, training_fn = (
        preprocessing_factory.get_preprocessing(name, is_training, is_gray, augment)
        for is_training in (False, True)
    )
    sheet = config_flags.from_flags(augmentation.Sheet, FLAGS, augment=augment)
    yield sheet.write(
        functools.partial(build_images, card, lambda image, *size: image, None),
        evaluation_fn,
        training_fn,
        FLAGS.image_size or size,
        preprocessing_factory.get_full_name(name, augment),
    )


def main(_: Sequence[str]) -> None:
    inspect = {
        "list_networks": list_networks,
        "show_augmentation": show_augmentation,
        "quantization_noise": measure_noise,
        "list_pretrained": list_pretrained,
        "graph_path": inspect_graph,
        "checkpoint_path": inspect_checkpoint,
        "model_name": inspect_network,
    }[choose_subject(FLAGS)]
    for part in inspect():
        print(remote_files.to_urls(part), flush=True)


if __name__ == "__main__":
    entry.run(main)
