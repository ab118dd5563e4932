r"""Writes the inference graph of a network, without weights, as a GraphDef.

  python export_inference_graph.py --model_name=inception_v3 \
      --dataset_name=image_folder --dataset_dir=data --output_file=graph.pb

  python export_inference_graph.py --checkpoint_path=run --output_file=graph.pb

The second command takes the settings from the run card (run.json) of a training run.
With the first, give those of the training run, such as --image_size.

The input is a placeholder named `input`: preprocessed images, float32. Freeze the graph
with the weights of a checkpoint by freeze_graph.py.
"""

import os
from collections.abc import Callable, Sequence

from absl import flags, logging

from datasets import dataset_lookup, dataset_utils, remote_data, shard_files
from deployment import entry, settings, tasks
from deployment.formats import freezing
from deployment.models import checkpoint, graph_files, output_names, run_card
from deployment.models.run_card import RunCard
from deployment.models.spec import ModelSpec
from deployment.quantize import networks
from nets import network_lookup
from tf_slim_compat import tf

flags.DEFINE_string("model_name", "inception_v3", "Name of the network to export.")
flags.DEFINE_boolean(
    "is_training", False, "Whether to build the graph as for training."
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels. If unset, the network's default.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "batch_size", None, "Fixed batch size. If unset, it is variable.", lower_bound=1
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "Name of the dataset, which has the number of classes."
)
flags.DEFINE_integer(
    "labels_offset", 0, "Subtracted from the number of classes, as in training."
)
flags.DEFINE_string("output_file", "", "The GraphDef file to write.")
flags.DEFINE_string(
    "dataset_dir", "", "Folder of the dataset, if its classes are listed there."
)
flags.DEFINE_boolean(
    "quantize", False, "Whether the graph has the fake quantization of its training."
)
flags.DEFINE_boolean(
    "quantize_per_channel",
    False,
    "Whether each output channel of the weights has its own range, with --quantize.",
)
flags.DEFINE_boolean(
    "is_video_model", False, "Whether the input has a frame dimension."
)
flags.DEFINE_integer(
    "num_frames",
    None,
    "Number of frames of a video. If unset, it is variable, which some networks do not "
    "support.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "write_text_graphdef", False, "Whether to write text instead of binary."
)
flags.DEFINE_boolean("use_grayscale", False, "Whether images have one channel.")
flags.DEFINE_string(
    "checkpoint_path",
    None,
    "A training folder, or a checkpoint in it, whose run.json gives the network, its "
    "outputs and its images, so that no flags are needed for them.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS


def find_card() -> RunCard | None:
    """Returns the run card of --checkpoint_path; None without that flag."""
    path = FLAGS.checkpoint_path
    if not path:
        return None
    if not tf.gfile.IsDirectory(path):
        checkpoint.find_prefix(path)  # Raises ValueError if there is none.
    card = run_card.find(path)
    if card is None:
        raise ValueError(
            f"There is no {run_card.FILE_NAME} with {path!r}: leave --checkpoint_path "
            "out, and give --model_name, --dataset_name and the other settings of the "
            "training run."
        )
    return card


def read_spec(card: RunCard | None) -> ModelSpec:
    """Returns the specification of the network, from the flags and the run card."""
    spec = settings.read_spec(FLAGS, card, network_lookup.get_network)
    data = settings.read_data(FLAGS, card)
    # The dataset only serves to count classes, and may have moved.
    if (
        card is not None
        and not FLAGS["dataset_dir"].present
        and data.dataset_name == card.dataset_name
    ):
        num_labels = card.num_classes + card.labels_offset
    else:
        num_labels = dataset_lookup.get_num_classes(
            data.dataset_name, FLAGS.dataset_dir
        )
    num_outputs = tasks.get_task(spec.task).count_outputs(
        num_labels, spec.labels_offset
    )
    if card is None:
        return complete_spec(spec.replace(num_outputs=num_outputs))
    if num_outputs == spec.num_outputs:
        return spec
    if not FLAGS.ignore_run_card:
        raise ValueError(
            f"The dataset given has {num_labels} classes, but the run was trained with "
            f"{card.num_classes + card.labels_offset}: leave --dataset_name and "
            "--dataset_dir out, or add --ignore_run_card to override it."
        )
    return spec.replace(num_outputs=num_outputs, output_names=None)


def complete_spec(spec: ModelSpec) -> ModelSpec:
    """Returns the specification with the names of the dataset's classes, if any.

    Raises:
      ValueError: if the dataset is for a task whose outputs need a training run.
    """
    folder = remote_data.localize(FLAGS.dataset_dir)
    info = folder and shard_files.read_info(folder)
    if info and info.task != spec.task:
        raise ValueError(
            f"The dataset is for task {info.task}, whose graph needs what the training "
            "run has measured: give its folder with --checkpoint_path=run."
        )
    labels = folder and dataset_utils.read_labels(folder)
    if not labels:
        return spec
    path = os.path.join(folder, dataset_utils.LABELS_FILENAME)
    names = output_names.from_labels(labels, spec.num_outputs, spec.labels_offset, path)
    return spec.replace(output_names=names)


def get_input_shape(spec: ModelSpec) -> list[int | None]:
    """Returns the placeholder's shape; None for variable dimensions."""
    frames = [FLAGS.num_frames] if FLAGS.is_video_model else []
    return [
        FLAGS.batch_size, *frames, spec.image_size, spec.image_size, spec.channels
    ]  # fmt: skip


def define_network(spec: ModelSpec) -> Callable:
    """Returns a function that adds the network with the scores of its task."""
    network_fn = network_lookup.get_network_fn(
        spec.model_name, num_classes=spec.num_outputs, is_training=FLAGS.is_training
    )
    network_fn = networks.in_evaluation(network_fn, spec)

    def build(images):
        logits, end_points = network_fn(images)
        if freezing.needs_scores(spec):
            freezing.add_scores(logits, end_points, spec)

    return build


def main(_: Sequence[str]) -> None:
    if not FLAGS.output_file:
        raise ValueError("Give the file to write: --output_file=graph.pb.")
    if FLAGS.quantize and FLAGS.is_training:
        raise ValueError(
            "--quantize is for graphs of evaluation: leave --is_training out."
        )
    if FLAGS.num_frames and not FLAGS.is_video_model:
        raise ValueError(
            f"--num_frames={FLAGS.num_frames} is for videos: add --is_video_model, or "
            "leave it out."
        )
    card = find_card()
    spec = read_spec(card)
    graph_def = graph_files.build_inference_graph(
        define_network(spec), get_input_shape(spec)
    )
    if not FLAGS.is_video_model:
        graph_files.add_spec(graph_def, spec)
    graph_files.write_graph(graph_def, FLAGS.output_file, FLAGS.write_text_graphdef)
    logging.info("Wrote %s (%d nodes).", FLAGS.output_file, len(graph_def.node))


if __name__ == "__main__":
    entry.run(main)
