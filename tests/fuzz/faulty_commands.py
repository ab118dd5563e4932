"""Commands on a small dataset, each of which writes below one folder."""

import pathlib
import re
from collections.abc import Callable

import faults
import faulty_runs
import noise_images
import script_runner
from PIL import Image

from deployment.train.saving import CheckpointSaver

CLASSES = ("a", "b", "c")
STEPS = 4


def write_images(folder: pathlib.Path) -> None:
    """Writes eight PNG files of each class."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = noise_images.noise_image(20, 20, seed=8 * number + i)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def convert(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "convert_dataset.py",
        f"--source={base / 'images'}",
        f"--dataset_dir={out / 'data'}",
        "--shards=2",
        "--workers=1",
    )


def train(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "train_image_classifier.py",
        f"--train_dir={out / 'run'}",
        "--dataset_name=image_folder",
        f"--dataset_dir={base / 'data'}",
        "--model_name=softmax_regression",
        "--train_image_size=16",
        "--batch_size=4",
        f"--max_number_of_steps={STEPS}",
        "--eval_split_name=validation",
        "--eval_every=2",
        "--export_best",
        "--moving_average_decay=0.5",
        "--log_every_n_steps=1",
        "--save_summaries_secs=0",
        "--seed=1",
        "--deterministic",
    )


def evaluate(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "eval_image_classifier.py",
        f"--checkpoint_path={base / 'run'}",
        f"--eval_dir={out / 'eval'}",
        f"--predictions_csv={out / 'predictions.csv'}",
        f"--gallery={out / 'mistakes.png'}",
    )


def export(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "export_model.py",
        f"--checkpoint_path={base / 'run'}",
        f"--output_dir={out / 'exported'}",
        "--formats=frozen,saved_model",
    )


def edit(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "edit_checkpoint.py",
        f"--checkpoint_path={base / 'run'}",
        "--strip_optimizer",
        f"--output_path={out / 'edited' / 'model.ckpt'}",
    )


def plot(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "plot_training.py",
        f"--train_dir={base / 'run'}",
        f"--output_file={out / 'plot' / 'curves.png'}",
    )


def classify(base: pathlib.Path, out: pathlib.Path) -> tuple:
    return script_runner.run_script(
        "classify_image.py",
        f"--model_path={base / 'run'}",
        f"--output_file={out / 'names.csv'}",
        base / "images",
    )


def inspect(base: pathlib.Path, out: pathlib.Path) -> tuple:
    del out  # It only prints.
    return script_runner.run_script(
        "inspect_model.py", f"--checkpoint_path={base / 'run'}", "--statistics"
    )


Command = Callable[[pathlib.Path, pathlib.Path], tuple]
# What writes, where, and what reads a run.
WRITERS: dict[str, Command] = {
    f.__name__: f for f in (convert, train, evaluate, export, edit, plot)
}
OUTPUTS = {
    "convert": "data",
    "train": "run",
    "evaluate": "eval",
    "export": "exported",
    "edit": "edited",
    "plot": "plot",
}
READERS: dict[str, Command] = {f.__name__: f for f in (evaluate, classify, inspect)}


def run_in_child(
    name: str,
    base: pathlib.Path,
    out: pathlib.Path,
    fault: faults.Fault | None = None,
    report: pathlib.Path | None = None,
) -> int:
    """Runs a command that writes; returns 0 unless it fails without a report.

    Args:
      name: its name in `WRITERS`.
      base: what it reads.
      out: where it writes.
      fault: begins first.
      report: a file for status, error, files, digest and what the faults have counted.
    """
    faulty_runs.prepare_process()
    if fault is not None:
        fault.arm()
    status, _, stderr = WRITERS[name](base, out)
    print(stderr)
    if report is None:
        return status
    own = faulty_runs.list_files(out / OUTPUTS[name])
    found = {"status": status, "error": find_error(stderr), "files": own}
    found["digest"] = {"files": own}
    if name == "train" and status == 0:
        found["digest"] = faulty_runs.digest(out / "run")
    faulty_runs.write_report(report, found)
    return 0


def train_in_child(
    folder: pathlib.Path,
    fault: faults.Fault | None = None,
    saved: pathlib.Path | None = None,
    report: pathlib.Path | None = None,
) -> int:
    """Trains in `folder / "run"`; appends the steps that were saved to a file."""
    if saved is not None:
        save = CheckpointSaver.save

        def recorded(self, *args, **kwargs):
            prefix = save(self, *args, **kwargs)
            with saved.open("a") as file:
                file.write(prefix.rpartition("-")[2] + "\n")
            return prefix

        CheckpointSaver.save = recorded
    return run_in_child("train", folder, folder, fault, report)


def check_reader(command: Command, folder: pathlib.Path, has_saved: bool) -> int:
    """Reads a run; returns 0, too, if it holds nothing yet and the command says so."""
    faulty_runs.prepare_process()
    status, _, stderr = command(folder, folder / "out")
    print(stderr)
    if status == 1 and not has_saved and find_error(stderr):
        return 0
    return status


def find_error(stderr: str) -> str:
    """Returns the sentence that a failed command ends with; "" if there is none."""
    found = re.findall(r"^\w+\.py: error: (.+)$", stderr, re.M)
    return found[0] if len(found) == 1 and "Traceback" not in stderr else ""
