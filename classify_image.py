r"""Names what pictures show, by a frozen graph.

  python classify_image.py --model_path=frozen.pb --label_path=data/labels.txt \
      --image_file=photo.jpg

More files and folders may follow. The pictures are prepared as evaluation does it
for the network that the graph's nodes are named after.
"""

import os
import sys

from absl import flags

from datasets import dataset_utils, picture_batches
from deployment import classifying, entry
from nets import nets_factory
from preprocessing import preprocessing_factory

flags.DEFINE_string("model_path", None, "A frozen graph, as freeze_graph.py writes it.")
flags.DEFINE_string(
    "label_path", None, "The names of the classes. Unset: their numbers are printed."
)
flags.DEFINE_string("image_file", None, "A picture, or a folder of them.")
flags.DEFINE_integer("num_top_predictions", 5, "How many classes to print.")
flags.DEFINE_string(
    "model_name", None, "The network. Unset: as the graph's nodes tell."
)
flags.DEFINE_string(
    "preprocessing_name", None, "The preprocessing. Unset: the network's own."
)
flags.DEFINE_integer(
    "image_size", None, "Image size in pixels. Unset: as the graph's input tells."
)
flags.DEFINE_string(
    "output_node", None, "The node of the scores. Unset: the graph's only output."
)
flags.DEFINE_integer("batch_size", 32, "Pictures in a batch.")

FLAGS = flags.FLAGS


def choose_preprocessing(scopes):
    """The name of the preprocessing, from the flags or the graph's scopes."""
    if FLAGS.preprocessing_name:
        return FLAGS.preprocessing_name
    if FLAGS.model_name:
        return nets_factory.get_network(FLAGS.model_name).preprocessing
    networks = map(nets_factory.get_network, nets_factory.list_networks())
    names = {n.preprocessing for n in networks if n.scope and n.scope in scopes}
    if len(names) != 1:
        raise ValueError(
            "The graph's nodes do not tell which network it is "
            f"({', '.join(scopes[:5])}): give --model_name or --preprocessing_name."
        )
    return names.pop()


def choose_image_size(classifier):
    """(height, width) of the images, from the flags or the graph's input."""
    sizes = [FLAGS.image_size or size for size in classifier.image_size]
    if None in sizes:
        raise ValueError(
            "The graph's input leaves the image size open: give --image_size."
        )
    return sizes


def read_labels(path):
    """Label to name, from a file of `0:name` lines or of bare names; None for None."""
    if not path:
        return None
    if not os.path.isfile(path):
        raise ValueError(f"There is no label file {path!r}.")
    return dataset_utils.read_label_file(*os.path.split(path))


def main(argv):
    if not FLAGS.model_path:
        raise ValueError("Say which frozen graph to use: --model_path=frozen.pb.")
    sources = [FLAGS.image_file, *argv[1:]] if FLAGS.image_file else argv[1:]
    if not sources:
        raise ValueError("Say which picture to name: --image_file=photo.jpg.")
    labels = read_labels(FLAGS.label_path)
    paths = picture_batches.list_pictures(sources)
    classifier = classifying.FrozenClassifier(FLAGS.model_path, FLAGS.output_node)
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        choose_preprocessing(classifier.scopes),
        use_grayscale=classifier.channels == 1,
    )
    failed = []

    def on_error(path, reason):
        failed.append(path)
        print(f"{path}: cannot be read: {reason}.", file=sys.stderr)

    def build_batches():
        return picture_batches.build_batches(
            paths,
            preprocessing_fn,
            *choose_image_size(classifier),
            3,
            classifier.batch_size or FLAGS.batch_size,
            on_error,
        )

    for index, scores in classifier.classify_all(build_batches):
        print(paths[index])
        for score, name in classifying.name_best(
            scores, labels, FLAGS.num_top_predictions
        ):
            print(f"  {score:.4f}  {name}")
    if failed:
        raise ValueError(f"{len(failed)} of {len(paths)} pictures could not be read.")


if __name__ == "__main__":
    entry.run(main, takes_files=True)
