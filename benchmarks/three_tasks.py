r"""Runs the three tasks end to end on the satellite photographs.

  python -m benchmarks.three_tasks --photos=PHOTOS --work_dir=WORK

PHOTOS has a folder for each of glacier, rock, urban, water, wetland and wood.

- classification: the six classes.
- multilabel: two labels, wet (glacier, water, wetland) and green (wetland, wood), so
  wetland has both, and rock and urban have none.
- regression: the mean of the green channel divided by the mean of all channels.

Each is converted, trained with validation, evaluated on the held-out fifth, exported to
the formats that need no further package, and used on one image file.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
LABELS = {"wet": {"glacier", "water", "wetland"}, "green": {"wetland", "wood"}}


def write_labels(photos: pathlib.Path, work_dir: pathlib.Path) -> None:
    """Writes multilabel.csv and regression.csv."""
    paths = sorted(path for path in photos.glob("*/*") if path.is_file())
    with open(work_dir / "multilabel.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", *LABELS))
        for path in paths:
            labels = [int(path.parent.name in classes) for classes in LABELS.values()]
            rows.writerow((path.relative_to(photos), *labels))
    with open(work_dir / "regression.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "greenness"))
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"), np.float64)
            greenness = pixels[..., 1].mean() / max(pixels.mean(), 1e-9)
            rows.writerow((path.relative_to(photos), f"{greenness:.6f}"))


def run(script: str, *arguments: str) -> str:
    """Runs an entry script; returns what it printed."""
    command = [sys.executable, str(ROOT / script), *arguments]
    print("$", script, *arguments, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def run_task(task: str, options: argparse.Namespace) -> dict:
    """Runs one task from the image folder to a prediction; returns its metrics."""
    photos, folder = pathlib.Path(options.photos), pathlib.Path(options.work_dir, task)
    labels = []
    if task != "classification":
        labels = [f"--labels={options.work_dir}/{task}.csv", f"--task={task}"]
    data, train_dir = f"{folder}/data", f"{folder}/run"
    run(
        "convert_dataset.py",
        f"--source={photos}",
        f"--dataset_dir={data}",
        "--overwrite",
        *labels,
    )
    run(
        "train_image_classifier.py",
        f"--train_dir={train_dir}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data}",
        f"--model_name={options.model_name}",
        f"--train_image_size={options.image_size}",
        f"--max_number_of_steps={options.steps}",
        "--optimizer=adam",
        "--learning_rate=0.002",
        "--learning_rate_decay_type=cosine",
        "--eval_split_name=validation",
        f"--eval_every={max(options.steps // 3, 1)}",
        "--seed=1",
    )
    run(
        "eval_image_classifier.py",
        f"--checkpoint_path={train_dir}",
        f"--gallery={folder}/gallery.html",
        f"--predictions_csv={folder}/predictions.csv",
    )
    print(
        run(
            "export_model.py",
            f"--checkpoint_path={train_dir}",
            f"--output_dir={folder}/out",
            f"--formats={options.formats}",
        )
    )
    image = next(photos.glob("*/*"))
    for model in ("frozen_graph.pb", "saved_model"):
        print(
            run("classify_image.py", f"--model_path={folder}/out/{model}", str(image))
        )
    return json.loads(pathlib.Path(train_dir, "eval", "eval.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True)
    parser.add_argument("--work_dir", required=True)
    parser.add_argument("--model_name", default="mobilenet_v1_025")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--formats", default="frozen,saved_model,tflite,tflite_int8")
    parser.add_argument("--tasks", default="classification,multilabel,regression")
    options = parser.parse_args()
    pathlib.Path(options.work_dir).mkdir(parents=True, exist_ok=True)
    write_labels(pathlib.Path(options.photos), pathlib.Path(options.work_dir))
    for task in options.tasks.split(","):
        metrics = run_task(task, options)
        shown = {k: v for k, v in metrics.items() if isinstance(v, float)}
        print(task, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
