r"""Shows what is inside networks, checkpoints and graph files.

Networks: all of them, or with their cost, or one of them layer by layer.

  python inspect_model.py --list_networks
  python inspect_model.py --list_networks --count --model_name='mobilenet*,vgg_16'
  python inspect_model.py --model_name=inception_v3 --num_classes=6

A checkpoint (of either format; a training folder stands for its newest): its
variables, what their values are like, the values of one, the first layer's filters.

  python inspect_model.py --checkpoint_path=run
  python inspect_model.py --checkpoint_path=run --statistics
  python inspect_model.py --checkpoint_path=run --values=global_step
  python inspect_model.py --checkpoint_path=run --filters_png=filters.png

How it differs from another, or from a network: ends in the flags to start training
from it.

  python inspect_model.py --checkpoint_path=run --compare_to=run/model.ckpt-500
  python inspect_model.py --checkpoint_path=inception_v3.ckpt \
      --model_name=inception_v3 --num_classes=6

A graph (.pb, .pbtxt, .meta, or the folder of a SavedModel): its operations, and
likely inputs and outputs; all names of nodes; one node.

  python inspect_model.py --graph_path=frozen.pb --names_file=names.txt
  python inspect_model.py --graph_path=frozen.pb --node=input

--tensorboard_dir=graphs writes a network, a graph, or that of a checkpoint for
`tensorboard --logdir=graphs`.
"""

import fnmatch
import os
import sys

from absl import flags

from deployment import entry

# The rest is imported where it is needed: a checkpoint is listed without TensorFlow,
# whose import takes ten times as long as the listing.

flags.DEFINE_boolean(
    "list_networks", False, "Lists all networks, or those that --model_name matches."
)
flags.DEFINE_boolean(
    "count",
    False,
    "With --list_networks: parameters and multiply-adds as well. Builds each network, "
    "which takes seconds.",
)
flags.DEFINE_string(
    "model_name",
    None,
    "A network, to list its layers. With --list_networks: names or patterns, "
    "separated by commas. With --checkpoint_path: the network to compare it with.",
)
flags.DEFINE_integer(
    "image_size", None, "Image size in pixels. Unset: the network's own."
)
flags.DEFINE_integer(
    "num_classes", None, "Outputs of the network. Unset: the run's, else 1000."
)
flags.DEFINE_integer(
    "num_frames", None, "Frames of a video. Unset: 64 for video networks."
)
flags.DEFINE_boolean("use_grayscale", False, "Whether images have one channel.")
flags.DEFINE_string(
    "checkpoint_path", None, "A checkpoint, or a folder, of which the newest is taken."
)
flags.DEFINE_boolean(
    "statistics",
    False,
    "With --checkpoint_path: mean, deviation, range, zeros and what is not finite, of "
    "each variable. Reads all values, and checks their checksums.",
)
flags.DEFINE_string(
    "values", None, "With --checkpoint_path: the variable to print the values of."
)
flags.DEFINE_string(
    "compare_to", None, "With --checkpoint_path: another checkpoint to compare it with."
)
flags.DEFINE_string(
    "filters_png", None, "With --checkpoint_path: the picture of filters to write."
)
flags.DEFINE_string(
    "filters_variable",
    None,
    "With --filters_png: the variable to draw. Unset: the first layer's.",
)
flags.DEFINE_string(
    "graph_path", None, "A GraphDef or MetaGraphDef file, or a SavedModel's folder."
)
flags.DEFINE_string("node", None, "With --graph_path: the node to print.")
flags.DEFINE_string(
    "names_file", None, "With --graph_path: the file to write all names of nodes to."
)
flags.DEFINE_string(
    "tensorboard_dir", None, "The folder to write the graph to, for TensorBoard."
)

FLAGS = flags.FLAGS

_SUBJECTS = ("list_networks", "graph_path", "checkpoint_path", "model_name")
_NETWORK_OPTIONS = {"image_size", "num_classes", "num_frames", "use_grayscale"}
_OPTIONS = {
    "list_networks": {"count", "model_name"} | _NETWORK_OPTIONS,
    "graph_path": {"node", "names_file", "tensorboard_dir"},
    "checkpoint_path": {
        "statistics", "values", "compare_to", "filters_png", "filters_variable",
        "model_name", "tensorboard_dir",
    } | _NETWORK_OPTIONS,
    "model_name": {"tensorboard_dir"} | _NETWORK_OPTIONS,
}  # fmt: skip
_VIDEO_NETWORKS = ("i3d", "s3dg")


def choose_subject():
    """What to inspect: the flag of `_SUBJECTS` that is given.

    Raises:
      ValueError: if there is none, or a flag is given that it has no use for.
    """
    given = [name for name in _SUBJECTS if FLAGS[name].value]
    if not given:
        raise ValueError(
            "Say what to inspect: --list_networks, --model_name=inception_v3, "
            "--checkpoint_path=run or --graph_path=frozen.pb; --help shows examples."
        )
    for name in set(_SUBJECTS).union(*_OPTIONS.values()) - {given[0]}:
        if FLAGS[name].value and name not in _OPTIONS[given[0]]:
            raise ValueError(
                f"--{name} has no meaning with --{given[0]}: leave it out."
            )
    return given[0]


def get_network(name, num_classes=None, is_training=True):
    """(network_fn, input shape) as the flags say."""
    from nets import nets_factory

    network_fn = nets_factory.get_network_fn(
        name, FLAGS.num_classes or num_classes or 1000, is_training=is_training
    )
    size = FLAGS.image_size or network_fn.default_image_size
    frames = FLAGS.num_frames or (64 if name in _VIDEO_NETWORKS else None)
    shape = [size, size, 1 if FLAGS.use_grayscale else 3]
    return network_fn, [frames, *shape] if frames else shape


def summarize(name, num_classes=None):
    from deployment.inspect import inspection_network

    return inspection_network.summarize(*get_network(name, num_classes))


def list_networks():
    """Generates the lines of a table of networks."""
    from deployment.inspect import inspection_network
    from nets import nets_factory

    names = nets_factory.list_networks()
    if FLAGS.model_name:
        chosen = set()
        for pattern in FLAGS.model_name.replace(" ", "").split(","):
            found = fnmatch.filter(names, pattern)
            # An unknown name is an error that names the nearest.
            chosen.update(found or [nets_factory.get_network(pattern).name])
        names = sorted(chosen)

    def get_facts(name):
        network = nets_factory.get_network(name)
        return (
            network.default_image_size,
            network.preprocessing,
            network.top1,
            network.paper,
        )

    yield from inspection_network.describe_costs(
        names, summarize if FLAGS.count else None, get_facts
    )
    if not FLAGS.count:
        yield "--count adds parameters and multiply-adds."


def inspect_network():
    """Generates the lines of a table of a network's layers."""
    from deployment.inspect import inspection_network
    from nets import nets_factory

    if FLAGS.tensorboard_dir:
        network_fn, input_shape = get_network(FLAGS.model_name, is_training=False)
        yield write_graph(inspection_network.build_graph_def(network_fn, input_shape))
        return
    yield from inspection_network.describe_summary(summarize(FLAGS.model_name))
    note = nets_factory.get_network(FLAGS.model_name).note
    if note:
        yield f"Public checkpoints: {note}"


def inspect_graph():
    """Generates the lines on a graph file."""
    from deployment.inspect import inspection_graph

    graph = inspection_graph.load_graph(FLAGS.graph_path)
    if FLAGS.names_file:
        inspection_graph.write_names(graph, FLAGS.names_file)
        yield f"Wrote {len(graph.graph_def.node):,} names to {FLAGS.names_file}."
    if FLAGS.tensorboard_dir:
        yield write_graph(graph.graph_def)
    if FLAGS.node:
        yield from inspection_graph.describe_node(graph, FLAGS.node)
    elif not FLAGS.names_file and not FLAGS.tensorboard_dir:
        yield from inspection_graph.describe_graph(graph)


def write_graph(graph_def):
    from deployment.inspect import inspection_tensorboard

    inspection_tensorboard.write_graph(graph_def, FLAGS.tensorboard_dir)
    return (
        f"Wrote the graph of {len(graph_def.node):,} nodes: look at it with "
        f"tensorboard --logdir={FLAGS.tensorboard_dir}"
    )


def inspect_checkpoint():
    """Generates the lines on a checkpoint."""
    from deployment.inspect import inspection
    from deployment.models import checkpoint_reader

    reader = checkpoint_reader.open_checkpoint(FLAGS.checkpoint_path)
    if FLAGS.values:
        yield inspection.describe_values(reader, FLAGS.values)
    elif FLAGS.filters_png:
        from deployment.inspect import inspection_pictures

        name, width, height = inspection_pictures.write_filters(
            reader, FLAGS.filters_png, FLAGS.filters_variable
        )
        yield f"Wrote {name} to {FLAGS.filters_png}: {width} by {height} pixels."
    elif FLAGS.tensorboard_dir:
        from deployment.inspect import inspection_graph

        yield write_graph(inspection_graph.load_graph(reader.path + ".meta").graph_def)
    elif FLAGS.compare_to or FLAGS.model_name:
        yield from compare(reader)
    else:
        card = inspection.find_card(FLAGS.checkpoint_path)
        if card:
            yield from inspection.describe_card(card)
            yield ""
        yield from inspection.describe_checkpoint(reader, FLAGS.statistics)


def compare(reader):
    """Generates the lines on how a checkpoint differs from another or a network."""
    from deployment.inspect import inspection, inspection_differences
    from deployment.models import checkpoint_reader

    if FLAGS.compare_to:
        other = checkpoint_reader.open_checkpoint(FLAGS.compare_to)
        difference = inspection_differences.compare_checkpoints(reader, other)
        names, start = (reader.path, other.path), other.path
    else:
        card = inspection.find_card(FLAGS.checkpoint_path) or {}
        shapes = summarize(FLAGS.model_name, card.get("num_classes")).shapes
        difference = inspection_differences.compare_shapes(
            shapes, {v.name: v.shape for v in reader.variables.values()}
        )
        names, start = (FLAGS.model_name, reader.path), reader.path
    yield from inspection_differences.describe_difference(difference, *names)
    yield inspection_differences.describe_warm_start(difference, start)


def main(_):
    inspect = {
        "list_networks": list_networks,
        "graph_path": inspect_graph,
        "checkpoint_path": inspect_checkpoint,
        "model_name": inspect_network,
    }[choose_subject()]
    try:
        for text in inspect():
            print(text, flush=True)
    except BrokenPipeError:  # Such as: inspect_model.py ... | head.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    entry.run(main)
