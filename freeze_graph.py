r"""Freezes a graph with the weights of a checkpoint into one file.

  python freeze_graph.py --input_graph=graph.pb --input_binary=true \
      --input_checkpoint=run/model.ckpt-1500 \
      --output_node_names=InceptionV3/Predictions/Reshape_1 \
      --output_graph=frozen.pb
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from deployment import entry
from deployment.models import averages, graph_files, run_card

flags.DEFINE_string("input_graph", "", "The GraphDef file to freeze.")
flags.DEFINE_string("input_saver", "", "A SaverDef file to restore with.")
flags.DEFINE_string(
    "input_checkpoint", "", "The checkpoint, or a folder, whose newest one is used."
)
flags.DEFINE_integer(
    "checkpoint_version", 2, "Version of the checkpoint format for writing: 1 or 2."
)
flags.DEFINE_string("output_graph", "", "The file to write.")
flags.DEFINE_boolean("input_binary", False, "Whether the input files are binary.")
flags.DEFINE_string(
    "output_node_names",
    "",
    "Comma-separated output nodes. If unset, the predictions.",
)
flags.DEFINE_string("restore_op_name", "save/restore_all", "Has no effect.")
flags.DEFINE_string("filename_tensor_name", "save/Const:0", "Has no effect.")
flags.DEFINE_boolean("clear_devices", True, "Whether to remove device placements.")
flags.DEFINE_string(
    "initializer_nodes", "", "Comma-separated nodes to run before freezing."
)
flags.DEFINE_string(
    "variable_names_whitelist",
    "",
    "Comma-separated variables to freeze. If unset, all.",
)
flags.DEFINE_string(
    "variable_names_blacklist", "", "Comma-separated variables not to freeze."
)
flags.DEFINE_string("input_meta_graph", "", "A MetaGraphDef file to freeze.")
flags.DEFINE_string("input_saved_model_dir", "", "A SavedModel folder to freeze.")
flags.DEFINE_string(
    "saved_model_tags", "serve", "Comma-separated tags of the graph in the SavedModel."
)
flags.DEFINE_boolean(
    "use_moving_averages",
    None,
    "Whether to freeze the moving averages of the weights. If unset, they are frozen "
    "if training kept them, according to the run.json next to the checkpoint.",
)

FLAGS = flags.FLAGS


def open_checkpoint() -> contextlib.AbstractContextManager[str]:
    """Returns a context of the checkpoint to freeze, with averages if wanted."""
    path, is_wanted = FLAGS.input_checkpoint, FLAGS.use_moving_averages
    if FLAGS.input_saved_model_dir or not path:
        if is_wanted:
            raise ValueError(
                "--use_moving_averages needs --input_checkpoint: a SavedModel already "
                "contains its weights."
            )
        return contextlib.nullcontext(path)
    if is_wanted is None:
        card = run_card.find(path)
        is_wanted = card is not None and bool(card.moving_average_decay)
    if not is_wanted:
        return contextlib.nullcontext(path)
    logging.info("Freezing the moving averages of the weights.")
    return averages.averaged_checkpoint(path)


def config_from_flags(input_checkpoint: str) -> dict[str, Any]:
    """Returns the arguments of `graph_files.freeze`."""
    return {
        "input_graph": FLAGS.input_graph,
        "input_saver": FLAGS.input_saver,
        "input_binary": FLAGS.input_binary,
        "input_checkpoint": input_checkpoint,
        "output_node_names": FLAGS.output_node_names,
        "restore_op_name": FLAGS.restore_op_name,
        "filename_tensor_name": FLAGS.filename_tensor_name,
        "output_graph": FLAGS.output_graph,
        "clear_devices": FLAGS.clear_devices,
        "initializer_nodes": FLAGS.initializer_nodes,
        "variable_names_whitelist": FLAGS.variable_names_whitelist,
        "variable_names_denylist": FLAGS.variable_names_blacklist,
        "input_meta_graph": FLAGS.input_meta_graph,
        "input_saved_model_dir": FLAGS.input_saved_model_dir,
        "saved_model_tags": FLAGS.saved_model_tags,
        "checkpoint_version": FLAGS.checkpoint_version,
    }


def main(_: Sequence[str]) -> None:
    with open_checkpoint() as input_checkpoint:
        graph_def = graph_files.freeze(**config_from_flags(input_checkpoint))
    logging.info(
        "Wrote %s (%d nodes, %.1f MB).",
        FLAGS.output_graph,
        len(graph_def.node),
        os.path.getsize(FLAGS.output_graph) / 1e6,
    )


if __name__ == "__main__":
    entry.run(main)
