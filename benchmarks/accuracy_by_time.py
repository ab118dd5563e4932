r"""Compares the accuracy after equal times with Keras' and torchvision's recipes.

  pip install -e '.[benchmark]'
  python -m benchmarks.accuracy_by_time --dataset_dir=PHOTOS --work_dir=WORK

PHOTOS has one folder per class; every fifth image is held out. For ours a time is that
of the whole command, from its start to the final validation and checkpoint, as
--time_budget is; for the peers it is that of their training loops alone.
All train a MobileNet with a quarter of the channels. The contenders take turns; the
accuracy is that of the last weights on the held-out images. Results that WORK has
already are not measured again.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

from benchmarks import options as options_
from datasets import convert_images, image_files
from deployment.models.history import History

MODEL_NAME = "mobilenet_v1_025"
_HELD_OUT = 5
PEERS = {"keras": "keras_by_time", "torchvision": "torch_by_time"}


def prepare(photos: pathlib.Path, work_dir: pathlib.Path) -> None:
    """Links the images into train/ and validation/, and converts them."""
    split = work_dir / "photos"
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        for number, image in enumerate(sorted(image_files.walk(str(folder)))):
            name = "train" if number % _HELD_OUT else "validation"
            link = split / name / folder.name / pathlib.Path(image).name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(image)
    if not (work_dir / "data").is_dir():
        convert_images.convert(
            convert_images.ConvertConfig(str(split), str(work_dir / "data"))
        )


def train_ours(options: argparse.Namespace, folder: pathlib.Path, secs: int, seed: int):
    """Trains with our recipe; returns the accuracy and the number of steps."""
    command = [
        *(sys.executable, "train_image_classifier.py", f"--train_dir={folder}"),
        *("--dataset_name=image_folder", f"--dataset_dir={options.work_dir}/data"),
        *(f"--model_name={MODEL_NAME}", f"--train_image_size={options.image_size}"),
        *("--recipe=scratch", f"--time_budget={secs}secs", f"--seed={seed}"),
    ]
    with open(folder.with_suffix(".log"), "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    row = History(str(folder)).rows("validation")[-1]
    return {"accuracy": row["accuracy"], "steps": row["step"]}


def train_peer(
    options: argparse.Namespace, name: str, folder: pathlib.Path, secs: int, seed: int
):
    """Trains with a peer's recipe; returns the accuracy and the number of steps."""
    command = [
        *(options.peers_python if name == "torchvision" else sys.executable, "-m"),
        f"benchmarks.peers.{PEERS[name]}",
        f"--train={options.work_dir}/photos/train",
        f"--validation={options.work_dir}/photos/validation",
        *(f"--image_size={options.image_size}", f"--batch_size={options.batch_size}"),
        *(f"--secs={secs}", f"--seed={seed}"),
    ]
    with open(folder.with_suffix(".log"), "w") as log:
        output = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=log, text=True
        ).stdout
    return json.loads(output.splitlines()[-1])


def make_key(secs: int, name: str, seed: int) -> str:
    """Returns what the results call a run."""
    return f"{secs} s, {name}, seed {seed}"


def measure(options: argparse.Namespace) -> dict[str, dict]:
    """Returns the result of each run, by its key; keeps them in the folder."""
    path = options.work_dir / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    for secs in options.times:
        for seed in options.seeds:
            for name in ("ours", *options.peers):
                key = make_key(secs, name, seed)
                if key in results:
                    continue
                folder = options.work_dir / key.replace(", ", "_").replace(" ", "")
                started = time.monotonic()
                if name == "ours":
                    result = train_ours(options, folder, secs, seed)
                else:
                    result = train_peer(options, name, folder, secs, seed)
                result["secs"] = round(time.monotonic() - started, 1)
                results[key] = result
                path.write_text(json.dumps(results, indent=2))
                print(f"{key}: {json.dumps(result)}", flush=True)
    return results


def report(results: dict[str, dict], options: argparse.Namespace) -> None:
    """Prints the mean of each contender over the same seeds, and our lead."""
    for secs in options.times:
        means = {
            name: statistics.mean(
                results[make_key(secs, name, seed)]["accuracy"]
                for seed in options.seeds
            )
            for name in ("ours", *options.peers)
        }
        line = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        ours = means.pop("ours")
        if means:
            lead = 100 * (ours - max(means.values()))
            line += f"; ours leads by {lead:.1f} points"
        print(f"{secs} s, {len(options.seeds)} seeds: {line}", flush=True)


def main() -> None:
    parser = options_.make_parser(__doc__)
    parser.add_argument("--dataset_dir", type=pathlib.Path, required=True)
    parser.add_argument("--work_dir", type=pathlib.Path, required=True)
    parser.add_argument("--times", type=int, nargs="+", default=[60, 180, 600])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32, help="of the peers")
    parser.add_argument(
        "--peers_python",
        default=sys.executable,
        help="interpreter of the environment that has torchvision; default: this one",
    )
    options = parser.parse_args()
    prepare(options.dataset_dir.resolve(), options.work_dir.resolve())
    report(measure(options), options)


if __name__ == "__main__":
    main()
