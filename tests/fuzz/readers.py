"""The doors through which damaged files are read: users' commands and what they call.

A reader takes the path of the damaged file; the folder of the case is the working
directory. It returns a result that is compared with that of the undamaged file, or
raises: `ValueError`, `OSError` and errors of TensorFlow's kernels are refusals, as they
are for the entry scripts.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import warnings
from collections.abc import Callable
from typing import Any

from tests.fuzz import samples

Reader = Callable[[str], Any]
IMAGE = "photos/validation/dog/1.png"
_FAULT = re.compile(r"Traceback \(most recent|fault of the program", re.I)
# Lines that a script prints about what it could not do.
_WARNING = re.compile(
    r"cannot|could not|skip|damaged|warning|ignor|instead|missing|incomplete", re.I
)
_TIMES = re.compile(r"\d+:\d\d:\d\d|\d+(\.\d+)? ?(secs?|ms|s)\b|images/s +[\d.]+")


class Refusal(ValueError):
    """An entry script that ended with one sentence."""


class Fault(Exception):
    """An entry script that ended with a traceback, or its own fault."""


class Wrong(Exception):
    """An answer that is wrong whatever the undamaged file gives."""


def run_script(script: str, *flags: str) -> str:
    """Runs an entry script; returns what it prints, without durations.

    Raises:
      Refusal: if its exit status is not 0.
      Fault: if it prints a traceback or that it is at fault.
    """
    import script_runner

    from datasets import shard_files

    shard_files._warn_once.cache_clear()  # As in a process of its own.
    status, out, err = script_runner.run_script(script, *flags)
    if _FAULT.search(err):
        raise Fault(err)
    if status:
        _, found, message = err.rpartition(": error: ")
        if not found or not message.strip():
            raise Fault(f"status {status} without a sentence: {err[-500:]!r}")
        raise Refusal(message.strip())
    for line in err.splitlines():
        if _WARNING.search(line):
            warnings.warn(line, stacklevel=2)
    return _TIMES.sub("", out)


def _read_json(path):
    """Returns a JSON file without times and durations."""
    return samples._freeze_times(json.loads(pathlib.Path(path).read_text()))


def read_checkpoint(path: str) -> dict:
    """Reads all variables of a checkpoint, of either format."""
    from deployment.models.checkpoint import Checkpoint, find_prefix

    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    checkpoint = Checkpoint(find_prefix(prefix))
    return {name: checkpoint.read(name) for name in sorted(checkpoint.variables)}


def read_newest_checkpoint(path: str) -> dict:
    """Reads the newest whole checkpoint of the training folder."""
    from deployment.models import checkpoint

    return read_checkpoint(checkpoint.find_prefix("run"))


def read_card(path: str) -> tuple | None:
    """Reads the run card, and what it says about the model."""
    from deployment.models.run_card import RunCard

    card = RunCard.load("run")
    return card and (dataclasses.asdict(card.spec), card.num_samples, card.seed)


def read_ranking(path: str) -> tuple | None:
    """Reads the ranking of the best checkpoints."""
    from deployment.models import checkpoint_choice

    ranking = checkpoint_choice.read_ranking("run")
    return ranking and (ranking.metric, ranking.values)


def read_history(path: str) -> tuple:
    """Reads the measurements of a run."""
    from deployment.models.history import History

    history = History("run")
    return history.rows(), history.training_rows()


def read_dataset_info(path: str) -> dict | None:
    """Reads `dataset_info.json`."""
    from datasets import dataset_info

    info = dataset_info.from_json(pathlib.Path(path).read_bytes(), path)
    return info and dataclasses.asdict(info)


def read_split(name: str, folder: str, path: str) -> list:
    """Reads all records of a dataset's training split, as training does."""
    from datasets import dataset_factory, record_loader, shard_files
    from tf_slim_compat import tf

    with _user_module(), tf.Graph().as_default(), tf.Session() as session:
        dataset = dataset_factory.get_dataset(name, "train", folder)
        load = record_loader.build_loader(dataset, _resize, 28, 28, 0)
        records = tf.data.TFRecordDataset(shard_files.list_shards(dataset))
        element = tf.data.make_one_shot_iterator(records.map(load)).get_next()
        found = []
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                found.append(session.run(element))
    if len(found) != dataset.num_samples:
        warnings.warn(f"{len(found)} records", stacklevel=2)
    return found


def _resize(image, height, width):
    from tf_slim_compat import tf

    return tf.image.resize(tf.cast(image, tf.float32), [height, width])


@contextlib.contextmanager
def _user_module():
    import script_runner

    from deployment import user_modules

    with script_runner._forgotten_modules():
        user_modules.load(["tiny_dataset.py"])
        yield


@functools.cache
def _get_checker():
    from datasets import image_checks

    return image_checks.Checker()


def read_image(path: str) -> Any:
    """Reads an image through conversion and through classification.

    Raises:
      Wrong: if only one of the two reads it, or TensorFlow cannot decode what
        conversion accepts.
    """
    import noise_images

    from datasets import file_batches, image_files
    from tf_slim_compat import tf

    encoded, refusal = None, None
    try:
        image = image_files.load(path)
        if fault := _get_checker().find_fault(image):
            raise ValueError(fault)
        encoded = image.encoded
    except (ValueError, OSError) as error:
        refusal = error
    pixels = None
    if encoded is not None:
        try:
            (pixels,) = noise_images.evaluate(lambda: tf.io.decode_image(encoded))
        except tf.errors.OpError as error:
            reason = error.message.split(" [[{{node")[0].splitlines()[-1]
            raise Wrong(f"conversion accepts what fails to decode: {reason}") from error
    reasons = {}

    def build():
        batches = file_batches.build_batches(_resize3, 28, 28, [path], 1, reasons)
        return tf.data.make_one_shot_iterator(batches).get_next()

    try:
        (batch,) = noise_images.evaluate(build)
        is_classified = len(batch[1]) == 1
    except tf.errors.OutOfRangeError:
        is_classified = False
    if is_classified != (encoded is not None):
        doors = ("conversion", "classification")
        accepts, refuses = doors if encoded is not None else doors[::-1]
        raise Wrong(f"{refuses} refuses what {accepts} accepts: {refusal or reasons}")
    if refusal is not None:
        raise refusal
    return pixels


def _resize3(image, height, width):
    return _resize(image, height, width)[..., :3]


def read_model(path: str) -> Any:
    """Predicts noise by an exported model."""
    import numpy as np

    from deployment import formats

    folder = "/".join(path.split("/")[:2])
    with formats.open_predictor(folder) as predictor:
        if predictor.takes_files:
            images = np.array([pathlib.Path(IMAGE).read_bytes()], object)
        else:
            images = np.random.RandomState(0).uniform(-1, 1, [1, 28, 28, 3])
            images = images.astype(np.float32)
        scores = predictor.predict(images)
        return predictor.spec and dataclasses.asdict(predictor.spec), scores


def convert(path: str) -> str:
    """Converts the photos by class folders."""
    flags = ("--dataset_dir=out", "--workers=1", "--shards=1")
    run_script("convert_dataset.py", "--source=photos", *flags)
    return _read_dataset("out")


def convert_table(path: str) -> str:
    """Converts the photos by a table of labels."""
    flags = ("--source=photos/train", "--labels=tables/labels.csv", "--shards=1")
    flags += ("--label_columns=label", "--dataset_dir=out", "--workers=1")
    run_script("convert_dataset.py", *flags)
    return _read_dataset("out")


def _read_dataset(folder):
    from tf_slim_compat import tf

    records = {}
    for shard in sorted(pathlib.Path(folder).glob("*.tfrecord")):
        for record in tf.io.tf_record_iterator(str(shard)):
            records.setdefault(shard.name, []).append(record)
    return records, _read_json(f"{folder}/dataset_info.json")


def train(path: str, *flags: str) -> Any:
    """Resumes the run, in `run`, to two more steps."""
    steps = f"--max_number_of_steps={samples.STEPS + 2}"
    run_script("train_image_classifier.py", *samples.TRAIN_FLAGS, *flags, steps)
    rows = pathlib.Path("run/metrics.jsonl").read_text().splitlines()
    return (
        read_newest_checkpoint(path),
        [samples._freeze_times(json.loads(row)) for row in rows],
        _read_json("run/best/best.json"),
    )


def train_anew(path: str, name: str = "image_folder", folder: str = "data") -> dict:
    """Trains a new run for as many steps as read every image once or more."""
    changed = {"--train_dir=": "out", "--dataset_name=": name, "--dataset_dir=": folder}
    flags = [f for f in samples.TRAIN_FLAGS if not f.startswith(tuple(changed))]
    flags += [flag + value for flag, value in changed.items()]
    flags += ["--user_module=tiny_dataset.py", "--max_number_of_steps=5"]
    run_script("train_image_classifier.py", *flags, "--eval_every=5")
    return read_checkpoint("out/model.ckpt-5")


def evaluate(path: str, *flags: str) -> Any:
    """Evaluates a checkpoint of the run."""
    flags = flags or ("--dataset_dir=data",)
    out = run_script(
        "eval_image_classifier.py",
        "--checkpoint_path=run",
        "--eval_dir=out",
        "--predictions_csv=predictions.csv",
        *flags,
    )
    table = pathlib.Path("predictions.csv")
    return out, table.exists() and table.read_text()


def classify(model: str, path: str, *flags: str) -> Any:
    """Classifies one image; the model is that of the damaged file if it is ''."""
    out = run_script(
        "classify_image.py",
        f"--model_path={model or '/'.join(path.split('/')[:2])}",
        "--output_format=json",
        f"--image_file={IMAGE}",
        *flags,
    )
    return json.loads(out)


def classify_damaged(path: str) -> Any:
    """Classifies the damaged image, beside a whole one."""
    flags = ("--model_path=run", "--output_format=json", f"--image_file={IMAGE}")
    return json.loads(run_script("classify_image.py", *flags, path))


def inspect(subject: str, path: str, *flags: str) -> str:
    """Inspects a checkpoint or a graph."""
    return run_script("inspect_model.py", f"--{subject}", *flags)


def plot(path: str) -> str:
    """Draws the curves of the run and compares it."""
    flags = ("--train_dir=run", "--output_file=curves.png", "--compare")
    return run_script("plot_training.py", *flags)


def edit(path: str, *flags: str) -> dict:
    """Averages checkpoints of the run."""
    run_script("edit_checkpoint.py", *flags, "--output_path=out/model.ckpt")
    return read_checkpoint("out/model.ckpt")


def freeze(path: str, *flags: str) -> Any:
    """Freezes a graph, and predicts by it."""
    os.makedirs("out")
    run_script("freeze_graph.py", "--output_graph=out/frozen.pb", *flags)
    return read_model("out/frozen.pb")


def export(path: str) -> Any:
    """Exports the run, and predicts by the export."""
    flags = ("--checkpoint_path=run", "--output_dir=out", "--formats=frozen")
    run_script("export_model.py", *flags, "--check_images=0")
    return read_model("out/frozen_graph.pb")


def unpack(path: str) -> Any:
    """Unpacks a downloaded archive."""
    from datasets import dataset_utils

    unpackers = {
        ".zip": dataset_utils.download_and_uncompress_zipfile,
        ".tgz": dataset_utils.download_and_uncompress_tarball,
    }
    os.makedirs("out")
    url = pathlib.Path(path).resolve().as_uri()
    unpackers[os.path.splitext(path)[1]](url, "out")
    found = sorted(p for p in pathlib.Path("out").rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in found}


def with_flags(reader: Callable, *flags: str, **options: Any) -> Reader:
    """Returns a reader with more arguments, which come after the path."""

    @functools.wraps(reader)
    def read(path):
        return reader(path, *flags, **options)

    return read
