r"""Compares training a head on cached features with training it the plain way.

  python -m benchmarks.cached_features --photos=path/to/photos --work_dir=/tmp/features

A trunk is trained on the first half of the classes. On top of it a head is trained on
all classes, the plain way and on features, with the same flags and number of steps and
validation after every epoch. Printed are the accuracy on the validation split and the
seconds that each command took, start and validation included. What the work folder has
already is not trained again.
"""

import os
import pathlib
import subprocess
import sys
import time

from benchmarks import options as options_
from datasets import convert_images
from deployment.models.history import History

_HEADS = {
    "mobilenet_v1_025": "MobilenetV1/Logits",
    "inception_v3": "InceptionV3/Logits,InceptionV3/AuxLogits",
}


def train(options, data, name, *flags):
    """Runs the training script; returns its seconds."""
    command = [
        sys.executable,
        "train_image_classifier.py",
        f"--train_dir={options.work_dir}/{name}",
        "--dataset_name=image_folder",
        f"--dataset_dir={options.work_dir}/{data}",
        f"--model_name={options.network}",
        f"--train_image_size={options.image_size}",
        "--optimizer=adam",
        "--learning_rate_decay_type=fixed",
        "--log_every_n_steps=20",
        *flags,
    ]
    started = time.perf_counter()
    with open(f"{options.work_dir}/{name}.log", "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return time.perf_counter() - started


def compare(options):
    """Trains the trunk and the heads, and prints a line for each."""
    head = _HEADS[options.network]
    if not os.path.isdir(f"{options.work_dir}/trunk"):
        flags = [f"--max_number_of_steps={options.trunk_steps}"]
        secs = train(options, "half", "trunk", "--learning_rate=0.002", *flags)
        print(f"trunk: {options.trunk_steps} steps in {secs:.1f} s", flush=True)
    flags = [
        f"--max_number_of_steps={options.steps}",
        f"--learning_rate={options.learning_rate}",
        f"--checkpoint_path={options.work_dir}/trunk",
        f"--checkpoint_exclude_scopes={head}",
        f"--trainable_scopes={head}",
        "--eval_split_name=validation",
        *options.flags.split(),
    ]
    for copies in options.copies:
        for seed in range(options.seeds):
            name = f"copies_{copies}_seed_{seed}"
            secs = train(
                options, "all", name, f"--feature_copies={copies}", f"--seed={seed}",
                *flags,
            )  # fmt: skip
            rows = History(f"{options.work_dir}/{name}").rows("validation")
            last = [row["accuracy"] for row in rows][-1]
            best = max(row["accuracy"] for row in rows)
            what = f"{copies} copies" if copies else "plain"
            print(
                f"{what}, seed {seed}: accuracy {last:.4f} after {options.steps} "
                f"steps, {best:.4f} at best, {secs:.1f} s",
                flush=True,
            )


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("--photos", required=True, help="one folder per class")
    parser.add_argument("--work_dir", required=True)
    parser.add_argument("--network", default="mobilenet_v1_025", choices=_HEADS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--trunk_steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning_rate", type=float, default=0.002)
    parser.add_argument("--copies", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--flags", default="", help="further flags, by spaces")
    options = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = f"{options.work_dir}/cache"
    photos = pathlib.Path(options.photos).resolve()
    classes = sorted(path for path in photos.iterdir() if path.is_dir())
    half = pathlib.Path(options.work_dir, "half_photos")
    half.mkdir(parents=True, exist_ok=True)
    for folder in classes[: len(classes) // 2]:
        if not (half / folder.name).exists():
            (half / folder.name).symlink_to(folder)
    for name, source in (("all", photos), ("half", half)):
        target = os.path.join(options.work_dir, name)
        if not os.path.isdir(target):
            convert_images.convert(convert_images.ConvertConfig(str(source), target))
    compare(options)


if __name__ == "__main__":
    main()
