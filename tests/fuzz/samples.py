"""Whole files of all formats, small and the same in every run, to be damaged.

photos/    images in a folder per split and class
images/    an image of each file type
tables/    photos/train as a table of labels
archives/  photos/train/cat as archives
data/      the photos as a dataset with `dataset_info.json`
bare/      the same shards as a user's dataset `tiny`, without it
run/       a training run on them with validation and best checkpoints
v1/        its newest checkpoint as one file
graphs/    its inference graph in three formats
exports/   it in all formats, with the run card
alone/     the same files without a run card
"""

import gzip
import io
import json
import os
import pathlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")
STEPS = 4  # Of the run; to resume it means to train for more.
_SPLITS = {"train": 6, "validation": 3}
_TIME = "2026-01-01T00:00:00+00:00"
# What differs from run to run without any meaning.
_VARIABLE_NUMBERS = ("secs", "images_per_sec", "data_wait_share")
TRAIN_FLAGS = (
    "--train_dir=run",
    "--dataset_name=image_folder",
    "--dataset_dir=data",
    "--model_name=softmax_regression",
    "--train_image_size=28",
    "--batch_size=4",
    "--learning_rate=0.001",
    "--seed=1",
    "--deterministic",
    "--eval_split_name=validation",
    "--eval_every=2",
    "--num_best_checkpoints=2",
    "--moving_average_decay=0.9",
    "--max_checkpoints_to_keep=3",
    "--save_interval_secs=0",
    "--save_summaries_secs=0",
    "--log_every_n_steps=1",
)
_USER_MODULE = """
from datasets import dataset_factory, tfrecord_dataset

SPLITS_TO_SIZES = {"train": 18, "validation": 9}
TABLE = tfrecord_dataset.Table(
    file_pattern="tiny_%s_*",
    splits_to_sizes=SPLITS_TO_SIZES,
    num_classes=3,
    items_to_descriptions={},
)
dataset_factory.register("tiny", TABLE)
"""


def make_all(folder: str) -> None:
    """Makes all samples in a new folder; uses TensorFlow."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chdir(folder)
    _draw_photos()
    _draw_images()
    _write_tables()
    _write_archives()
    _run("convert_dataset.py", "--source=photos", "--dataset_dir=data", "--workers=1")
    _copy_bare()
    _train()
    _write_v1()
    _export()


def _run(script, *flags):
    import script_runner

    status, _, err = script_runner.run_script(script, *flags)
    if status:
        raise RuntimeError(f"{script} cannot make a sample: {err}")


def _draw(rng, channels=3):
    tiles = rng.randint(0, 256, [4, 5, channels]).astype(np.uint8)
    return Image.fromarray(tiles.repeat(4, axis=0).repeat(4, axis=1))


def _draw_photos():
    rng = np.random.RandomState(0)
    for split, count in _SPLITS.items():
        for name in CLASSES:
            os.makedirs(f"photos/{split}/{name}")
            for number in range(count):
                _draw(rng).save(f"photos/{split}/{name}/{number}.png")


def _draw_images():
    os.mkdir("images")
    rng = np.random.RandomState(1)
    image = _draw(rng)
    options = {
        "rgb.png": (image, {}),
        "palette.png": (image.convert("P"), {}),
        "alpha.png": (_draw(rng, 4), {}),
        "deep.png": (
            Image.fromarray(np.arange(400, dtype="uint16").reshape(20, 20)),
            {},
        ),
        "plain.jpg": (image, {}),
        "progressive.jpg": (image, {"progressive": True}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "still.gif": (image, {}),
        "rgb.bmp": (image, {}),
        "lossy.webp": (image, {}),
        "lossless.webp": (image, {"lossless": True}),
    }
    for name, (drawn, saving) in options.items():
        drawn.save(f"images/{name}", **saving)


def _write_tables():
    os.mkdir("tables")
    rows = [f"{c}/{i}.png,{c},{i}.5,train\n" for c in CLASSES for i in range(3)]
    text = "file,label,weight,split\n" + "".join(rows)
    pathlib.Path("tables/labels.csv").write_text(text)
    pathlib.Path("tables/labels.txt").write_text("\n".join(CLASSES) + "\n")


def _write_archives():
    os.mkdir("archives")
    names = sorted(pathlib.Path("photos/train/cat").iterdir())
    with zipfile.ZipFile("archives/photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in names:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in names:
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    data = gzip.compress(packed.getvalue(), mtime=0)
    pathlib.Path("archives/photos.tgz").write_bytes(data)


def _copy_bare():
    os.mkdir("bare")
    for path in sorted(pathlib.Path("data").glob("*.tfrecord")):
        shutil.copy(path, "bare/" + path.name.replace("images_", "tiny_"))
    pathlib.Path("tiny_dataset.py").write_text(_USER_MODULE)


def _train():
    flags = (*TRAIN_FLAGS, f"--max_number_of_steps={STEPS}")
    _run("train_image_classifier.py", *flags)
    for path in pathlib.Path("run").rglob("events.out.*"):
        path.unlink()
    for name in ("run.json", "best/best.json"):
        _rewrite_json(f"run/{name}", lambda text: [json.loads(text)], 1)
    for name in ("metrics.jsonl", "training.jsonl"):
        _rewrite_json(f"run/{name}", lambda text: map(json.loads, text.splitlines()))
    shutil.rmtree("run/eval", ignore_errors=True)
    os.remove("run/.lock")
    os.remove("run/metrics.csv")  # Made from metrics.jsonl; has durations.


def _rewrite_json(path: str, parse: Callable[[str], Any], indent: int | None = None):
    """Replaces times, durations and absolute paths."""
    with open(path) as file:
        values = [_freeze_times(value) for value in parse(file.read())]
    with open(path, "w") as file:
        file.writelines(json.dumps(value, indent=indent) + "\n" for value in values)


def _freeze_times(value):
    if isinstance(value, list):
        return [_freeze_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    frozen = {key: _freeze_times(item) for key, item in value.items()}
    for key in ("time", "started"):
        if isinstance(frozen.get(key), str):
            frozen[key] = _TIME
    for key in _VARIABLE_NUMBERS:
        if key in frozen:
            frozen[key] = 0.5
    if frozen.get("dataset_dir"):
        frozen["dataset_dir"] = "data"
    return frozen


def _write_v1():
    import saved_checkpoints

    from tf_slim_compat import tf

    os.mkdir("v1")
    reader = tf.train.NewCheckpointReader(f"run/model.ckpt-{STEPS}")
    names = sorted(reader.get_variable_to_shape_map())
    with tf.Graph().as_default():
        values = {name: reader.get_tensor(name) for name in names}
        saved_checkpoints.save("v1/model.ckpt", values, "V1")


def _export():
    os.mkdir("graphs")
    for name, flags in (("graph.pb", ()), ("graph.pbtxt", ("--write_text_graphdef",))):
        _run(
            "export_inference_graph.py",
            "--checkpoint_path=run",
            f"--output_file=graphs/{name}",
            *flags,
        )
    _write_meta_graph("graphs/model.meta")
    flags = ("--checkpoint_path=run", "--check_images=0")
    formats = "frozen,saved_model,tflite,onnx"
    _run("export_model.py", *flags, "--output_dir=exports", f"--formats={formats}")
    shutil.copytree("exports", "alone")
    os.remove("alone/run.json")


def _write_meta_graph(path):
    from nets import nets_factory
    from tf_slim_compat import tf

    network_fn = nets_factory.get_network_fn("softmax_regression", len(CLASSES))
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, [None, 28, 28, 3], "input")
        network_fn(images)
        tf.train.Saver().export_meta_graph(path, clear_devices=True)
