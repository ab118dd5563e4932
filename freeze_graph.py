r"""Freezes a graph with the weights of a checkpoint into one file.

  python freeze_graph.py --input_graph=graph.pb --input_binary=true \
      --input_checkpoint=run/model.ckpt-1500 \
      --output_node_names=InceptionV3/Predictions/Reshape_1 \
      --output_graph=frozen.pb

With the run card (run.json) of the checkpoint's training run, the graph must be that of
the run, and the frozen graph contains what classify_image.py needs: image size,
preprocessing and names.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from deployment import entry, settings
from deployment.models import averages, graph_freezing, run_card
from deployment.models.run_card import RunCard

flags.DEFINE_string("input_graph", "", "The GraphDef file to freeze.")
flags.DEFINE_string("input_saver", "", "A SaverDef file to restore with.")
flags.DEFINE_string(
    "input_checkpoint", "", "The checkpoint, or a training folder; see --checkpoint."
)
settings.define_checkpoint(__name__)
flags.DEFINE_integer(
    "checkpoint_version",
    2,
    "Version of the checkpoint format for writing: 1 or 2.",
    lower_bound=1,
    upper_bound=2,
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
entry.define_ignore_run_card(__name__)
entry.define_trust_model(__name__)

FLAGS = flags.FLAGS


def open_checkpoint(
    card: RunCard | None,
) -> contextlib.AbstractContextManager[str]:
    """Returns a context of the checkpoint to freeze, with averages if wanted."""
    is_wanted = FLAGS.use_moving_averages
    if FLAGS.input_saved_model_dir or not FLAGS.input_checkpoint:
        for name in ("use_moving_averages", "checkpoint"):
            if FLAGS[name].value:
                raise ValueError(
                    f"--{name} needs --input_checkpoint: a SavedModel already contains "
                    "its weights."
                )
        return contextlib.nullcontext(FLAGS.input_checkpoint)
    path = settings.choose_checkpoint(FLAGS, "Freezing", "input_checkpoint")
    if is_wanted is None:
        is_wanted = card is not None and bool(card.moving_average_decay)
    if not is_wanted:
        return contextlib.nullcontext(path)
    logging.info("Freezing the moving averages of the weights.")
    return averages.averaged_checkpoint(path)


def config_from_flags(card: RunCard | None, input_checkpoint: str) -> dict[str, Any]:
    """Returns the arguments of `graph_freezing.freeze`."""
    spec = card.spec if card is not None and not FLAGS.ignore_run_card else None
    return {
        "spec": spec,
        "train_dir": FLAGS.input_checkpoint if spec is not None else "",
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
        "trust": FLAGS.trust_model,
    }


def main(_: Sequence[str]) -> None:
    card = run_card.find(FLAGS.input_checkpoint)
    with open_checkpoint(card) as input_checkpoint:
        graph_def = graph_freezing.freeze(**config_from_flags(card, input_checkpoint))
    logging.info(
        "Wrote %s (%d nodes, %.1f MB).",
        FLAGS.output_graph,
        len(graph_def.node),
        os.path.getsize(FLAGS.output_graph) / 1e6,
    )


if __name__ == "__main__":
    entry.run(main)
