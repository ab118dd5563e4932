r"""Makes a new checkpoint of old ones, which stay as they are.

Average the best or the last checkpoints of a run, or any:

  python edit_checkpoint.py --checkpoint_path=run --best=3 \
      --output_path=run/averaged.ckpt
  python edit_checkpoint.py --average=run/model.ckpt-900,run/model.ckpt-800 \
      --output_path=run/averaged.ckpt

Leave out what only training needs; put moving averages in place of the weights:

  python edit_checkpoint.py --checkpoint_path=run --strip_optimizer \
      --use_moving_averages --output_path=ship/model.ckpt

Convert a single file (V1) to the format of today (V2); move variables to other
scopes, where OLD: takes a scope away and :NEW puts all into one:

  python edit_checkpoint.py --checkpoint_path=inception_v3.ckpt --to_v2 \
      --output_path=inception_v3/model.ckpt
  python edit_checkpoint.py --checkpoint_path=run \
      --rename=MobilenetV1/Logits:MobilenetV1/OldLogits --output_path=renamed/model.ckpt

These go together in one command, in this order: average, moving averages, strip,
rename. A checkpoint written into a run's folder is evaluated with the run's settings.
"""

from absl import flags, logging

from deployment import entry
from deployment.models import checkpoint_edits, checkpoints
from deployment.text import format_bytes

flags.DEFINE_string(
    "checkpoint_path", None, "A checkpoint, or a folder, of which the newest is taken."
)
flags.DEFINE_list("average", [], "Checkpoints to average, separated by commas.")
flags.DEFINE_integer(
    "best", None, "How many best checkpoints of the run --checkpoint_path to average."
)
flags.DEFINE_integer(
    "last", None, "How many newest checkpoints of the run --checkpoint_path to average."
)
flags.DEFINE_boolean(
    "strip_optimizer", False, "Keeps the variables of the model and the step alone."
)
flags.DEFINE_boolean(
    "use_moving_averages",
    False,
    "Puts the moving averages of the weights, where there are any, in their place.",
)
flags.DEFINE_boolean("to_v2", False, "Only writes it anew, in the format V2.")
flags.DEFINE_list("rename", [], "Scopes to rename, OLD:NEW, separated by commas.")
flags.DEFINE_string(
    "output_path", None, "The checkpoint to write, such as averaged/model.ckpt."
)

FLAGS = flags.FLAGS


def choose_sources():
    """The checkpoints that the flags say."""
    ways = (FLAGS.average, FLAGS.best, FLAGS.last)
    if sum(way not in ([], None) for way in ways) > 1 or (
        bool(FLAGS.average) == bool(FLAGS.checkpoint_path)
    ):
        raise ValueError(
            "Say which checkpoints: --average=a,b,c, or --checkpoint_path=run, to "
            "which --best=3 or --last=3 may be added."
        )
    if FLAGS.average:
        return tuple(checkpoints.get_checkpoint_path(path) for path in FLAGS.average)
    if FLAGS.best is not None or FLAGS.last is not None:
        return checkpoint_edits.choose_checkpoints(
            FLAGS.checkpoint_path, FLAGS.best, FLAGS.last
        )
    return (checkpoints.get_checkpoint_path(FLAGS.checkpoint_path),)


def parse_renames():
    """The pairs (old scope, new scope) of --rename."""
    renames = []
    for text in FLAGS.rename:
        old, colon, new = (part.strip().strip("/") for part in text.partition(":"))
        if not colon or old == new:
            raise ValueError(f"--rename takes OLD:NEW, and got {text!r}.")
        renames.append((old, new))
    return tuple(renames)


def config_from_flags():
    edit = checkpoint_edits.Edit(
        choose_sources(),
        FLAGS.strip_optimizer,
        FLAGS.use_moving_averages,
        parse_renames(),
    )
    changes = edit.strip_optimizer or edit.use_moving_averages or edit.renames
    if len(edit.sources) == 1 and not changes and not FLAGS.to_v2:
        raise ValueError(
            "Say what to do: --best, --last or --average, --strip_optimizer, "
            "--use_moving_averages, --rename or --to_v2; --help shows examples."
        )
    return edit


def main(_):
    if not FLAGS.output_path:
        raise ValueError("Say where to write: --output_path=averaged/model.ckpt.")
    edit = config_from_flags()
    for source in edit.sources:
        logging.info("From %s.", source)
    result = checkpoint_edits.write_edited(edit, FLAGS.output_path)
    logging.info(
        "Wrote %s: %d variables, %s, %s; %d averaged, %d left out.",
        result.path,
        result.num_variables,
        format_bytes(result.num_bytes),
        "no step" if result.step is None else f"step {result.step:,}",
        result.num_averaged,
        result.num_left_out,
    )


if __name__ == "__main__":
    entry.run(main)
