"""A small run with everything that writes files, and a digest of what it leaves."""

import hashlib
import json
import pathlib
import re
import time

import faults
import numpy as np
import toy_training
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from deployment import model_deploy
from deployment.durations import Duration
from deployment.formats import exporting, freezing
from deployment.models.run_card import RunCard
from deployment.train.config import ValidationConfig
from tf_slim_compat import tf

STEPS = 6
# Differ between runs with the same result.
_TIMES = ("secs", "time", "images_per_sec", "data_wait_share")


class Clock:
    """A clock that advances by a microsecond per look: nothing depends on speed."""

    now = 0.0

    @classmethod
    def read(cls) -> float:
        cls.now += 1e-6
        return cls.now


def prepare_process() -> None:
    """Makes training independent of time, and graphs start faster."""
    time.monotonic = Clock.read
    build = model_deploy.build_session_config

    def build_session_config(deployment):
        config = build(deployment)
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
        return config

    model_deploy.build_session_config = build_session_config


def train(
    folder: pathlib.Path,
    fault: faults.Fault | None = None,
    report: pathlib.Path | None = None,
) -> None:
    """Trains with validation, best checkpoints, their export and moving averages.

    Args:
      folder: the folder of the run; an existing run is resumed.
      fault: begins first.
      report: a file for the numbers of `faults.count` and the digest, as JSON.
    """
    prepare_process()
    if fault is not None:
        fault.arm()
    spec = toy_training.make_spec(
        image_size=8,
        use_grayscale=True,
        preprocessing_name="toy",
        moving_average_decay=0.5,
    )

    def export(prefix, spec):
        config = freezing.ExportConfig(
            toy_training.network_in_evaluation,
            lambda image, height, width: tf.image.resize(
                image[:, :, :1], [height, width]
            ),
            spec,
        )
        exporting.export_checkpoint(config, prefix, str(folder / "export" / "best"))

    toy_training.train(
        folder,
        STEPS,
        spec=spec,
        card=RunCard.from_spec(spec),
        seed=1,
        deterministic=True,
        log_every_n_steps=1,
        save_summaries_secs=0,
        max_checkpoints_to_keep=2,
        validation=ValidationConfig(every=Duration(2), num_best_checkpoints=2),
        build_evaluator=toy_training.build_evaluator,
        on_new_best=export,
    )
    if report is not None:
        write_report(report, {"digest": digest(folder)})


def write_report(path: pathlib.Path, report: dict) -> None:
    """Writes a report, with what the faults have counted."""
    counts = {what: faults.count(what) for what in ("operations", "bytes")}
    path.write_text(json.dumps({**counts, **report}))


def digest(folder: pathlib.Path) -> dict:
    """Returns what a run leaves, bit for bit, without times: JSON values."""
    found = {"files": list_files(folder)}
    for index in sorted(folder.rglob("*.index")):
        prefix = index.with_suffix("")
        found[str(prefix.relative_to(folder))] = _digest_checkpoint(prefix)
    for name in ("metrics.jsonl", "training.jsonl"):
        found[name] = [
            {key: value for key, value in json.loads(line).items() if key not in _TIMES}
            for line in (folder / name).read_text().splitlines()
        ]
    found["best.json"] = json.loads((folder / "best" / "best.json").read_text())
    # They depend on the numbers that TensorFlow gives functions, see below.
    del found["best.json"]["sha256"], found["best.json"]["exported"]["files"]
    card = json.loads((folder / "run.json").read_text())
    results = {k: v for k, v in card["results"].items() if k != "stopped_because"}
    found["run.json"] = {**card, "results": results}
    sessions = found["run.json"].pop("sessions")
    found["starts"] = [session["from_step"] for session in sessions]
    for name in ("flags", "command", "dataset_dir"):  # They name the folder.
        del found["run.json"][name]
    for name in ("checkpoint", "best/checkpoint"):
        found[name] = (folder / name).read_text().replace(f"{folder}/", "")
    exported = folder / "export" / "best"
    for path in sorted(exported.rglob("*")):
        if path.name == "saved_model.pb":
            content = _to_canonical_text(path).encode()
        # The fingerprint has a random number; the frozen graph has the weights, too.
        elif path.is_file() and not re.search(
            r"fingerprint|variables/|SUMS", str(path)
        ):
            content = path.read_bytes()
        else:
            continue
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def list_files(folder: pathlib.Path) -> list[str]:
    """Returns the names below a folder, without event files and the lock."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(n for n in names if not re.match(r"events\.|\.lock$", n))


def _to_canonical_text(path):
    """Returns a SavedModel as text, without the numbers in the names of functions.

    TensorFlow counts the functions of a process.
    """
    text = str(SavedModel.FromString(path.read_bytes()))
    names = re.findall(r'name: "(\w+_\d+)"', text)
    for name in sorted(set(names), key=len, reverse=True):
        text = text.replace(name, name.rpartition("_")[0])
    return "\n".join(sorted(text.split("\n")))


def _digest_checkpoint(prefix):
    reader = tf.train.NewCheckpointReader(str(prefix))
    return {
        name: hashlib.sha256(np.asarray(reader.get_tensor(name)).tobytes()).hexdigest()
        for name in sorted(reader.get_variable_to_shape_map())
    }
