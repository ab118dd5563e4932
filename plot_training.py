r"""Draws the curves of training runs, and compares the runs in a table.

  python plot_training.py --train_dir=run --output_file=curves.png
  python plot_training.py --train_dir='run_a,run_b,sweep/*' --output_file=curves.png \
      --x=epochs --metrics=accuracy,loss --compare

The curves are the metrics in `metrics.jsonl` and `training.jsonl`, which depend on the
task, and the learning rate. Older runs are read from their TensorBoard event files. The
table is made from the run cards (`run.json`): settings that differ, the best value of
the metric, duration of training and images/s.
"""

import glob
import sys
from collections.abc import Sequence

from absl import flags

from deployment import entry
from deployment.compare import curves, table
from deployment.compare.measurements import Run, read_runs

flags.DEFINE_string(
    "train_dir", None, "Comma-separated training folders, or patterns such as sweep/*."
)
flags.DEFINE_string(
    "output_file", None, "Image file to write, such as curves.png, .svg or .pdf."
)
flags.DEFINE_enum("x", "steps", ["steps", "epochs"], "Unit of the horizontal axis.")
flags.DEFINE_list(
    "metrics",
    [],
    "Comma-separated metrics to draw, such as accuracy,loss. If unset, all.",
)
flags.DEFINE_float(
    "smoothing",
    curves.SMOOTHING,
    "Fraction of a training curve that each value of its running mean averages; 0 for "
    "no smoothing.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_boolean("compare", False, "Print a table that compares the runs.")

FLAGS = flags.FLAGS


def list_train_dirs() -> list[str]:
    """Returns the folders that --train_dir names."""
    folders = []
    for part in filter(None, map(str.strip, (FLAGS.train_dir or "").split(","))):
        folders.extend(sorted(glob.glob(part, recursive=True)) or [part])
    if not folders:
        raise ValueError("No runs are given: use --train_dir=run or --train_dir=a,b.")
    return folders


def print_comparison(runs: list[Run]) -> None:
    """Prints the table of the runs with a card, and the names of those without."""
    with_card = [run for run in runs if run.card]
    for run in runs:
        if not run.card:
            print(f"{run.name}: no run card (run.json) to compare.", file=sys.stderr)
    if not with_card:
        raise ValueError("No folder has a run card (run.json): nothing to compare.")
    print(table.compare(with_card))


def main(_: Sequence[str]) -> None:
    if not FLAGS.output_file and not FLAGS.compare:
        raise ValueError(
            "Nothing to do: --output_file=curves.png draws curves, --compare prints a "
            "table."
        )
    runs = read_runs(list_train_dirs())
    if FLAGS.output_file:
        drawn = curves.draw(
            runs, FLAGS.output_file, FLAGS.x, FLAGS.smoothing, FLAGS.metrics
        )
        for run in runs:
            if run not in drawn:
                print(f"{run.name}: nothing to draw.", file=sys.stderr)
        print(f"Wrote {FLAGS.output_file}.", file=sys.stderr)
    if FLAGS.compare:
        print_comparison(runs)


if __name__ == "__main__":
    entry.run(main)
