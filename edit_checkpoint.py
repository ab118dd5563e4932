r"""Edits checkpoints: averages, strips, renames and converts them into a new one.

Average the newest or the best checkpoints of a run, or any others (training keeps
several of the best with --num_best_checkpoints):

  python edit_checkpoint.py --checkpoint_path=run --last=3 \
      --output_path=run/averaged.ckpt
  python edit_checkpoint.py --checkpoint_path=run --best=3 \
      --output_path=run/averaged_best.ckpt
  python edit_checkpoint.py --average=run/model.ckpt-900,run/model.ckpt-800 \
      --output_path=run/averaged_two.ckpt

Remove what only training needs, and replace weights by their moving averages:

  python edit_checkpoint.py --checkpoint_path=run --strip_optimizer \
      --use_moving_averages --output_path=ship/model.ckpt

Convert a single file (V1) to the current format (V2):

  python edit_checkpoint.py --checkpoint_path=inception_v3.ckpt --to_v2 \
      --output_path=inception_v3/model.ckpt

Move variables to other scopes. OLD: removes a scope, :NEW puts all variables into one:

  python edit_checkpoint.py --checkpoint_path=run \
      --rename=MobilenetV1/Logits:MobilenetV1/OldLogits --output_path=renamed/model.ckpt

Convert weights of Keras Applications (.h5, .weights.h5, .keras) into a checkpoint, with
a run card from which evaluation and export take its settings:

  python edit_checkpoint.py --from_keras=mobilenet_1_0_224_tf.h5 \
      --model_name=mobilenet_v1 --output_path=mobilenet_v1/model.ckpt

One command can do several of these: it averages, applies moving averages, strips and
renames, in this order. The source checkpoints do not change. A checkpoint written into
a training folder is evaluated with the settings of that run.
"""

from collections.abc import Sequence

from absl import flags, logging

from deployment import entry, settings
from deployment.models import checkpoint, checkpoint_edits, converted_weights
from deployment.text import format_bytes
from nets.keras_weights import conversion

flags.DEFINE_string(
    "checkpoint_path",
    None,
    "Checkpoint to edit, or a training folder; see --checkpoint.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_list("average", [], "Comma-separated checkpoints to average.")
flags.DEFINE_integer(
    "best", None, "Average this many of the best checkpoints of --checkpoint_path."
)
flags.DEFINE_integer(
    "last", None, "Average this many of the newest checkpoints of --checkpoint_path."
)
flags.DEFINE_boolean(
    "strip_optimizer",
    False,
    "Keep only the variables of the model and the global step.",
)
flags.DEFINE_boolean(
    "use_moving_averages",
    False,
    "Replace the weights by their moving averages where the checkpoint has them.",
)
flags.DEFINE_boolean(
    "to_v2", False, "Convert to the V2 format without any other change."
)
flags.DEFINE_list("rename", [], "Comma-separated scopes to rename, each as OLD:NEW.")
flags.DEFINE_string(
    "from_keras", None, "File of weights of Keras Applications to convert."
)
flags.DEFINE_string(
    "model_name", None, "With --from_keras, the network that the weights are for."
)
flags.DEFINE_boolean(
    "add_background",
    False,
    "With --from_keras, put a background class, which is never predicted, in front of "
    "the others, as networks of 1,001 classes have it.",
)
flags.DEFINE_string(
    "output_path", None, "Checkpoint to write, such as averaged/model.ckpt."
)

FLAGS = flags.FLAGS


def choose_sources() -> tuple[str, ...]:
    """Returns the prefixes of the checkpoints that the flags name.

    Raises:
      ValueError: if the flags name none, or in several ways.
    """
    ways = (FLAGS.average, FLAGS.best, FLAGS.last)
    if sum(way not in ([], None) for way in ways) > 1 or (
        bool(FLAGS.average) == bool(FLAGS.checkpoint_path)
    ):
        raise ValueError(
            "Give checkpoints in one way: --average=a,b,c or --checkpoint_path=run. "
            "The latter can be combined with --best=3 or --last=3."
        )
    is_averaged = (
        bool(FLAGS.average) or FLAGS.best is not None or FLAGS.last is not None
    )
    if is_averaged and FLAGS.checkpoint is not None:
        raise ValueError(
            f"--checkpoint={FLAGS.checkpoint} chooses one checkpoint: leave it out "
            "together with --average, --best and --last."
        )
    if FLAGS.average:
        return tuple(checkpoint.find_prefix(path) for path in FLAGS.average)
    if FLAGS.best is not None or FLAGS.last is not None:
        return checkpoint_edits.choose_checkpoints(
            FLAGS.checkpoint_path, FLAGS.best, FLAGS.last
        )
    return (settings.choose_checkpoint(FLAGS, "Editing"),)


def parse_renames() -> tuple[tuple[str, str], ...]:
    """Returns the pairs (old scope, new scope) in --rename."""
    renames = []
    for text in FLAGS.rename:
        old, colon, new = (part.strip().strip("/") for part in text.partition(":"))
        if not colon or old == new:
            raise ValueError(
                f"--rename takes two different scopes as OLD:NEW, not {text!r}."
            )
        renames.append((old, new))
    return tuple(renames)


def config_from_flags() -> checkpoint_edits.Edit:
    """Returns the edit that the flags describe.

    Raises:
      ValueError: if they describe none.
    """
    edit = checkpoint_edits.Edit(
        choose_sources(),
        FLAGS.strip_optimizer,
        FLAGS.use_moving_averages,
        parse_renames(),
    )
    changes = edit.strip_optimizer or edit.use_moving_averages or edit.renames
    if len(edit.sources) == 1 and not changes and not FLAGS.to_v2:
        raise ValueError(
            "Nothing to change: give --best, --last or --average, --strip_optimizer, "
            "--use_moving_averages, --rename or --to_v2; --help has examples."
        )
    return edit


_EDITS = (
    "checkpoint_path", "checkpoint", "average", "best", "last", "strip_optimizer",
    "use_moving_averages", "to_v2", "rename",
)  # fmt: skip


def convert_keras() -> None:
    """Converts the weights in --from_keras.

    Raises:
      ValueError: if a flag is missing or does not go with it.
    """
    for name in _EDITS:
        if FLAGS[name].value:
            raise ValueError(
                f"--{name} does not go with --from_keras: edit the converted "
                "checkpoint in a second command."
            )
    if not FLAGS.model_name:
        raise ValueError(
            "The network that the weights are for is missing: give it, such as "
            "--model_name=mobilenet_v1."
        )
    converted = conversion.convert(
        FLAGS.from_keras, FLAGS.model_name, FLAGS.add_background
    )
    converted_weights.write(converted, FLAGS.model_name, FLAGS.output_path)


def main(_: Sequence[str]) -> None:
    if not FLAGS.output_path:
        raise ValueError("No output: give --output_path=averaged/model.ckpt.")
    if FLAGS.from_keras:
        return convert_keras()
    for name in ("model_name", "add_background"):
        if FLAGS[name].value:
            raise ValueError(f"--{name} only goes with --from_keras: leave it out.")
    edit = config_from_flags()
    if len(edit.sources) > 1:
        logging.info("Averaging %s.", ", ".join(edit.sources))
    result = checkpoint_edits.write_edited(edit, FLAGS.output_path)
    logging.info(
        "Wrote %s: %d variables (%s), %s; %d averaged, %d removed.",
        result.path,
        result.num_variables,
        format_bytes(result.num_bytes),
        "no step" if result.step is None else f"step {result.step:,}",
        result.num_averaged,
        result.num_left_out,
    )


if __name__ == "__main__":
    entry.run(main)
