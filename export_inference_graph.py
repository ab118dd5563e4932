r"""Writes the graph of a network for inference, without weights, as a GraphDef.

  python export_inference_graph.py --model_name=inception_v3 \
      --dataset_name=image_folder --dataset_dir=data --output_file=graph.pb

  python export_inference_graph.py --checkpoint_path=run --output_file=graph.pb

The second takes the settings from the folder of a training run (its run.json).

The input is a placeholder named `input`: preprocessed pixels, float32. Put the
weights of a checkpoint into it with freeze_graph.py.
"""

from absl import flags, logging

from datasets import dataset_factory
from deployment import entry
from deployment.models import checkpoints, graph_files, run_card
from nets import nets_factory
from tf_slim_compat import tf

flags.DEFINE_string("model_name", "inception_v3", "The network to export.")
flags.DEFINE_boolean(
    "is_training", False, "Whether to write the graph as it is built for training."
)
flags.DEFINE_integer(
    "image_size", None, "Image size in pixels. Unset: the network's own."
)
flags.DEFINE_integer(
    "batch_size", None, "Images in a batch. Unset: any number, as the input has them."
)
flags.DEFINE_string(
    "dataset_name", "imagenet", "The dataset, which tells the number of classes."
)
flags.DEFINE_integer(
    "labels_offset", 0, "Subtracted from the number of classes, as in training."
)
flags.DEFINE_string("output_file", "", "The file to write.")
flags.DEFINE_string(
    "dataset_dir", "", "Folder of the dataset, for those that read their classes there."
)
flags.DEFINE_boolean(
    "quantize", False, "Imitates 8-bit arithmetic; not built yet, leave it off."
)
flags.DEFINE_boolean(
    "is_video_model", False, "Whether the input has a dimension of frames."
)
flags.DEFINE_integer(
    "num_frames",
    None,
    "Frames of a video; any number if unset (needs a fixed one "
    "where the network asks for it).",
)
flags.DEFINE_boolean(
    "write_text_graphdef", False, "Whether to write text instead of binary."
)
flags.DEFINE_boolean("use_grayscale", False, "Whether images have one channel.")
flags.DEFINE_string(
    "checkpoint_path",
    None,
    "A training folder, or a checkpoint in it, whose run.json then gives the network, "
    "its classes and its images: flags for these need not be repeated.",
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)

FLAGS = flags.FLAGS
# What a run card settles; the dataset, which only serves to count classes, may lie
# elsewhere now.
_FLAGS_OF_THE_CARD = (
    "model_name",
    "labels_offset",
    "image_size",
    "use_grayscale",
    "dataset_name",
)


def find_card():
    """The run card that --checkpoint_path leads to; None without that flag."""
    path = FLAGS.checkpoint_path
    if not path:
        return None
    if not tf.gfile.IsDirectory(path):
        checkpoints.get_checkpoint_path(path)  # An error if there is none.
    card = run_card.find(path)
    if card is None:
        raise ValueError(
            f"There is no {run_card.FILE_NAME} with {path!r}: leave --checkpoint_path "
            "out, and give --model_name, --dataset_name and what else it was trained "
            "with."
        )
    return card


def choose_settings(card):
    """What `_FLAGS_OF_THE_CARD` are, and num_classes, by the flags and the card."""
    settings = {name: FLAGS[name].value for name in _FLAGS_OF_THE_CARD}
    is_other_dataset = True
    if card is not None:
        given = entry.get_given_flags(FLAGS, _FLAGS_OF_THE_CARD)
        settings = run_card.reconcile(
            card, given, _FLAGS_OF_THE_CARD, FLAGS.ignore_run_card, ["dataset_name"]
        )
        num_labels = card.num_classes + card.labels_offset
        is_other_dataset = (
            FLAGS["dataset_dir"].present
            or settings["dataset_name"] != card.dataset_name
        )
    if is_other_dataset:
        num_labels = dataset_factory.get_num_classes(
            settings["dataset_name"], FLAGS.dataset_dir
        )
    num_classes = num_labels - settings["labels_offset"]
    is_other = card is not None and num_classes != card.num_classes
    if is_other and not FLAGS.ignore_run_card:
        raise ValueError(
            f"The dataset given has {num_labels} classes, but the run was trained with "
            f"{card.num_classes + card.labels_offset}: leave --dataset_name and "
            "--dataset_dir out, or add --ignore_run_card to have your way."
        )
    return {**settings, "num_classes": num_classes}


def get_input_shape(settings, default_image_size):
    """The placeholder's shape; None for dimensions that are open."""
    size = settings["image_size"] or default_image_size
    image = [size, size, 1 if settings["use_grayscale"] else 3]
    frames = [FLAGS.num_frames] if FLAGS.is_video_model else []
    return [FLAGS.batch_size, *frames, *image]


def main(_):
    if not FLAGS.output_file:
        raise ValueError("Say where to write the graph: --output_file=graph.pb.")
    if FLAGS.quantize:
        raise ValueError("Quantised graphs are not built yet: leave --quantize off.")
    settings = choose_settings(find_card())
    network_fn = nets_factory.get_network_fn(
        settings["model_name"],
        num_classes=settings["num_classes"],
        is_training=FLAGS.is_training,
    )
    graph_def = graph_files.build_inference_graph(
        network_fn, get_input_shape(settings, network_fn.default_image_size)
    )
    graph_files.write_graph(graph_def, FLAGS.output_file, FLAGS.write_text_graphdef)
    logging.info("Wrote %s (%d nodes).", FLAGS.output_file, len(graph_def.node))


if __name__ == "__main__":
    entry.run(main)
