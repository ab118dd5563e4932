"""Runs every step from a folder of images to a classifier, and prints each command.

    ./scripts/quickstart.sh                  # draws a small set of images first
    ./scripts/quickstart.sh photos           # a folder with a subfolder for each class
    ./scripts/quickstart.sh photos --time_budget=30mins

Photographs train for five minutes unless a flag says otherwise. Flags go to the
training command. Results are in quickstart/ or quickstart_photos/ (WORK_DIR). Run it
again at any time: training continues if it was interrupted, and starts afresh if images
or flags have changed.
"""

import csv
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from datasets import image_files

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIME_BUDGET = "5mins"
# Flags that say how long to train.
DURATIONS = ("--time_budget", "--max_number_of_steps", "--max_number_of_epochs")


def choose_training(
    has_photos: bool, given: Sequence[str] = ()
) -> tuple[list[str], str]:
    """Returns flags for training, and a sentence on what they train.

    Args:
      has_photos: whether there are photographs, or the drawn patterns.
      given: the flags on the command line, which come last.
    """
    if has_photos:
        is_timed = not any(flag.startswith(DURATIONS) for flag in given)
        flags = [f"--time_budget={TIME_BUDGET}"] if is_timed else []
        how_long = f", for {TIME_BUDGET} in all" if is_timed else ""
        return [*flags, *given], f"a network for photographs{how_long}"
    flags = [
        *("--recipe=classic", "--model_name=lenet", "--train_image_size=28"),
        *("--preprocessing_name=inception", "--optimizer=adam"),
        *("--learning_rate=0.001", "--learning_rate_decay_type=cosine"),
        *("--max_number_of_steps=1200", "--batch_size=64"),
        *("--eval_split_name=validation", "--eval_every=300"),
    ]
    what = "LeNet at 28 pixels, enough for drawn patterns, in about a minute"
    return [*flags, *given], what


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the image files below a folder, sorted."""
    return sorted(map(pathlib.Path, image_files.walk(str(folder))))


def compute_state(images: list[pathlib.Path], flags: list[str]) -> str:
    """Returns a hash that changes with the images and the flags."""
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime) for path in images]
    return hashlib.sha256(json.dumps([facts, flags]).encode()).hexdigest()


def choose_held_out(predictions_csv: pathlib.Path, source: pathlib.Path) -> list[str]:
    """Returns the first validation image of each of three classes."""
    by_label = {}
    with open(predictions_csv, newline="") as file:
        for row in csv.DictReader(file):
            by_label.setdefault(row["label"], str(source / row["file_name"]))
    return list(by_label.values())[:3]


def describe_result(eval_dir: pathlib.Path) -> str:
    """Returns a sentence on how good the model is, and a hint on what to do next."""
    report = json.loads((eval_dir / "eval.json").read_text())
    accuracy, num_images = report["accuracy"], report["num_images"]
    if accuracy < 0.5:
        hint = "too little to rely on: it needs more images, or more time"
    elif accuracy < 0.9:
        hint = "more images of the classes it confuses, or more time, help most"
    else:
        hint = "look at its mistakes: some labels may be wrong"
    return (
        f"The model classifies {100 * accuracy:.1f} % of {num_images} images correctly "
        f"that it has not seen in training; {hint}."
    )


def run(command: str, *arguments: str) -> None:
    """Prints and runs a subcommand of slim-classifier; exits if it fails.

    Ctrl-C reaches the subcommand, too, which may save a checkpoint before it ends.
    """
    print(f"\n$ slim-classifier {command} {shlex.join(arguments)}", flush=True)
    program = [sys.executable, str(ROOT / "slim_classifier.py"), command, *arguments]
    process = subprocess.Popen(program)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()
        sys.exit("\nInterrupted: run the same command again to continue.")
    if status:
        sys.exit(status)


def prepare(work_dir: pathlib.Path, source: pathlib.Path, state: str) -> None:
    """Converts the images unless that was done; moves an outdated run aside."""
    stamp = work_dir / "state.txt"
    if stamp.is_file() and stamp.read_text() == state:
        print(f"The images in {source} and the flags are unchanged since the last run.")
        return
    old = work_dir / "train"
    if old.exists():
        kept = work_dir / time.strftime("train_%Y%m%d_%H%M%S")
        old.rename(kept)
        print(f"Images or flags have changed: training anew; the old run is {kept}.")
    stamp.unlink(missing_ok=True)
    data = f"--dataset_dir={work_dir}/data"
    run("convert", f"--source={source}", data, "--overwrite")
    stamp.write_text(state)


def main() -> None:
    """Converts, trains, evaluates, exports and classifies."""
    arguments = sys.argv[1:]
    if {"--help", "-h"}.intersection(arguments):
        print(f"{__doc__}\n`slim-classifier train --help` lists the flags.")
        return
    source = None
    if arguments and not arguments[0].startswith("-"):
        source = pathlib.Path(arguments.pop(0))
    name = "quickstart" if source is None else f"quickstart_{source.resolve().name}"
    work_dir = pathlib.Path(os.environ.get("WORK_DIR", name))
    work_dir.mkdir(parents=True, exist_ok=True)
    flags, what = choose_training(source is not None, arguments)
    if source is None:
        source = work_dir / "images"
        if not source.exists():
            script = [sys.executable, str(ROOT / "scripts" / "draw_patterns.py")]
            subprocess.run([*script, str(source)], check=True)
    prepare(work_dir, source, compute_state(list_images(source), flags))

    train_dir = f"{work_dir}/train"
    print(f"\nTraining {what}.")
    run(
        "train",
        *(f"--train_dir={train_dir}", "--dataset_name=image_folder"),
        *(f"--dataset_dir={work_dir}/data", *flags),
    )
    predictions = work_dir / "validation.csv"
    run(
        "evaluate",
        *(f"--checkpoint_path={train_dir}", f"--predictions_csv={predictions}"),
        f"--gallery={work_dir}/mistakes.html",
    )
    run("plot", f"--train_dir={train_dir}", f"--output_file={work_dir}/curves.png")
    run("export", f"--checkpoint_path={train_dir}", f"--output_dir={work_dir}/export")
    print("\nThree images that were held out from training:", flush=True)
    model = f"{work_dir}/export/frozen_graph.pb"
    run("classify", f"--model_path={model}", *choose_held_out(predictions, source))
    eval_dir = work_dir / "train" / "eval"
    print(
        f"\nWhich classes it confuses: {eval_dir}/confusion_matrix.png; mistakes: "
        f"{work_dir}/mistakes.html; curves: {work_dir}/curves.png.\n"
        "To train longer, give another --time_budget, such as 30mins.\n"
        "To classify images of your own:\n"
        f"  source {sys.prefix}/bin/activate\n"
        f"  slim-classifier classify --model_path={model} photo.jpg\n"
        f"{describe_result(eval_dir)}"
    )


if __name__ == "__main__":
    main()
