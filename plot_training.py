r"""Draws the curves of training runs, and compares the runs in a table.

  python plot_training.py --train_dir=run --output_file=curves.png
  python plot_training.py --train_dir='run_a,run_b,sweep/*' --output_file=curves.png \
      --x=epochs --compare

The curves are accuracy, loss and learning rate, of `metrics.jsonl` and
`training.jsonl` or, for older runs, of the TensorBoard event files. The table, of the
run cards (`run.json`), has the settings in which runs differ, the best metric, how long
training took, and images a second.
"""

import glob
import sys

from absl import flags

from deployment import entry
from deployment.compare import run_comparison, run_measurements, training_curves

flags.DEFINE_string(
    "train_dir", None, "Folders of training runs, separated by commas; or patterns."
)
flags.DEFINE_string(
    "output_file", None, "The picture to write, such as curves.png; or .svg or .pdf."
)
flags.DEFINE_enum("x", "steps", ["steps", "epochs"], "What the curves are drawn over.")
flags.DEFINE_float(
    "smoothing",
    training_curves.SMOOTHING,
    "Which part of a training curve its running mean is taken over; 0 for none.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_boolean("compare", False, "Prints a table that compares the runs.")

FLAGS = flags.FLAGS


def list_train_dirs():
    """The folders that --train_dir names."""
    folders = []
    for part in filter(None, map(str.strip, (FLAGS.train_dir or "").split(","))):
        folders.extend(sorted(glob.glob(part, recursive=True)) or [part])
    if not folders:
        raise ValueError("Say which runs to draw: --train_dir=run or --train_dir=a,b.")
    return folders


def print_comparison(runs):
    """Prints the table of the runs that have a card, and the names of the others."""
    with_card = [run for run in runs if run.card]
    for run in runs:
        if not run.card:
            print(f"{run.name}: no run card (run.json) to compare.", file=sys.stderr)
    if not with_card:
        raise ValueError("No folder has a run card (run.json): nothing to compare.")
    print(run_comparison.compare(with_card))


def main(_):
    if not FLAGS.output_file and not FLAGS.compare:
        raise ValueError(
            "Say what to do: --output_file=curves.png draws, --compare prints a table."
        )
    runs = run_measurements.read_runs(list_train_dirs())
    if FLAGS.output_file:
        drawn = training_curves.draw(runs, FLAGS.output_file, FLAGS.x, FLAGS.smoothing)
        for run in runs:
            if run not in drawn:
                print(f"{run.name}: nothing to draw.", file=sys.stderr)
        print(f"Wrote {FLAGS.output_file}.", file=sys.stderr)
    if FLAGS.compare:
        print_comparison(runs)


if __name__ == "__main__":
    entry.run(main)
