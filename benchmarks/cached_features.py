r"""Compares `--recipe=head`, which caches features, with training the plain way.

  python -m benchmarks.cached_features --photos=path/to/photos --work_dir=/tmp/features

A trunk is trained on the first half of the classes with --recipe=scratch. On top of it
a head is trained on all classes with --recipe=head, with and without
--feature_copies. Printed are the accuracy on the validation split and the seconds that
each command took, start and validation included. What the work folder has already is
not trained again.
"""

import os
import pathlib
import subprocess
import sys
import time

from benchmarks import options as options_
from datasets import convert_images
from deployment.models.history import History

NETWORKS = ("mobilenet_v1_025", "inception_v3")


def train(options, data, name, *flags):
    """Runs the training script; returns its seconds."""
    command = [
        sys.executable,
        "train_image_classifier.py",
        f"--train_dir={options.work_dir}/{name}",
        "--dataset_name=image_folder",
        f"--dataset_dir={options.work_dir}/{data}",
        f"--model_name={options.network}",
        *flags,
    ]
    started = time.perf_counter()
    with open(f"{options.work_dir}/{name}.log", "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return time.perf_counter() - started


def compare(options):
    """Trains the trunk and the heads, and prints a line for each."""
    if not os.path.isdir(f"{options.work_dir}/trunk"):
        secs = train(
            options,
            "half",
            "trunk",
            "--recipe=scratch",
            f"--train_image_size={options.trunk_image_size or options.image_size}",
            f"--max_number_of_steps={options.trunk_steps}",
        )
        print(f"trunk: {options.trunk_steps} steps in {secs:.1f} s", flush=True)
    for seed in range(1, options.seeds + 1):
        for copies in options.copies:
            name = f"copies_{copies}_seed_{seed}"
            secs = train(
                options,
                "all",
                name,
                "--recipe=head",
                f"--checkpoint_path={options.work_dir}/trunk",
                f"--train_image_size={options.image_size}",
                f"--max_number_of_epochs={options.epochs}",
                f"--feature_copies={copies}",
                f"--seed={seed}",
            )
            row = History(f"{options.work_dir}/{name}").rows("validation")[-1]
            what = f"{copies} copies" if copies else "plain"
            print(
                f"{what}, seed {seed}: accuracy {row['accuracy']:.4f} after "
                f"{row['step']} steps, {secs:.1f} s",
                flush=True,
            )


def main():
    parser = options_.make_parser(__doc__)
    parser.add_argument("--photos", required=True, help="one folder per class")
    parser.add_argument("--work_dir", required=True)
    parser.add_argument("--network", default="mobilenet_v1_025", choices=NETWORKS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--trunk_steps", type=int, default=600)
    parser.add_argument("--trunk_image_size", type=int, help="default: --image_size")
    parser.add_argument("--epochs", type=int, default=30, help="of the head")
    parser.add_argument("--copies", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seeds", type=int, default=1)
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
