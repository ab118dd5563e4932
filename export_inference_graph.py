r"""Writes the graph of a network for inference, without weights, as a GraphDef.

  python export_inference_graph.py --model_name=inception_v3 \
      --dataset_name=image_folder --dataset_dir=data --output_file=graph.pb

Its input is a placeholder named `input`: preprocessed pixels, float32. Put the
weights of a checkpoint into it with freeze_graph.py.
"""

from absl import flags, logging

from datasets import dataset_factory
from deployment import entry, exporting
from nets import nets_factory

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

FLAGS = flags.FLAGS


def get_input_shape(default_image_size):
    """The placeholder's shape; None for dimensions that are open."""
    size = FLAGS.image_size or default_image_size
    image = [size, size, 1 if FLAGS.use_grayscale else 3]
    frames = [FLAGS.num_frames] if FLAGS.is_video_model else []
    return [FLAGS.batch_size, *frames, *image]


def main(_):
    if not FLAGS.output_file:
        raise ValueError("Say where to write the graph: --output_file=graph.pb.")
    if FLAGS.quantize:
        raise ValueError("Quantised graphs are not built yet: leave --quantize off.")
    num_classes = dataset_factory.get_num_classes(FLAGS.dataset_name, FLAGS.dataset_dir)
    network_fn = nets_factory.get_network_fn(
        FLAGS.model_name,
        num_classes=num_classes - FLAGS.labels_offset,
        is_training=FLAGS.is_training,
    )
    graph_def = exporting.build_inference_graph(
        network_fn, get_input_shape(network_fn.default_image_size)
    )
    exporting.write_graph(graph_def, FLAGS.output_file, FLAGS.write_text_graphdef)
    logging.info("Wrote %s (%d nodes).", FLAGS.output_file, len(graph_def.node))


if __name__ == "__main__":
    entry.run(main)
