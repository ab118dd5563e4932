r"""Measures speed, latency, size and accuracy of trained models, side by side.

  python benchmark_model.py --model_path=out
  python benchmark_model.py --model_path=out/frozen_graph.pb,out/model.onnx,run \
      --output_file=speed.json
  python benchmark_model.py --model_path=out --dataset_dir=data

A model is an exported file, a folder of exports (each file in it is measured), a
checkpoint or a training folder. It is measured one image at a time and in batches of
--batch_size, on random images, in each precision that it can be computed in on this
machine. All models take turns in short blocks, so that other load on the machine
affects them alike. images/s is that of the median block; p50 and p99 are percentiles of
the time of a batch.

With --dataset_dir, the split's images give the accuracy (exact match for several
labels, R² for regression) of each model in each precision.

Decoding of images is not included. Run it on an otherwise idle machine.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags, logging

from datasets import dataset_lookup, input_pipeline
from deployment import entry, files, formats, settings, tasks, text
from deployment.formats import checking
from deployment.models import run_card
from deployment.predict import running, speed
from deployment.predict.predictor import (
    FLOAT32,
    CheckpointPredictor,
    Predictor,
    read_batches,
)
from nets import network_lookup
from preprocessing import preprocessing_factory

flags.DEFINE_list(
    "model_path",
    None,
    "The models, separated by commas: exported files or folders "
    f"({', '.join(formats.list_formats())}), folders of them, checkpoints or training "
    "folders.",
)
settings.define_checkpoint(__name__)
flags.DEFINE_integer("batch_size", 32, "Images in a large batch.", lower_bound=1)
flags.DEFINE_float(
    "secs", 10.0, "Seconds to measure each model at each batch size.", lower_bound=0.0
)
flags.DEFINE_enum(
    "precision",
    running.AUTO,
    running.PRECISIONS,
    "Precision of the computation. auto: all that a model can be computed in here.",
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Image size in pixels, for models whose input has a variable one.",
    lower_bound=1,
)
flags.DEFINE_string(
    "dataset_name", "image_folder", "Name of the dataset with --dataset_dir."
)
flags.DEFINE_string(
    "dataset_dir", None, "Folder of a dataset to measure the accuracy on. If unset: no."
)
flags.DEFINE_string("dataset_split_name", "validation", "Split of the dataset.")
flags.DEFINE_enum(
    "output_format",
    None,
    ["table", "json"],
    "Output format. If unset, by the ending of --output_file, else a table.",
)
flags.DEFINE_string(
    "output_file", None, "File to write. If unset, results are printed."
)
entry.define_user_module(__name__)
entry.define_ignore_run_card(__name__)
entry.define_trust_model(__name__)

FLAGS = flags.FLAGS
_HEADER = ["model", "precision", "batch", "images/s", "p50 ms", "p99 ms", "MB", "score"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the results; `size_bytes` on disk, `score` None without a dataset."""

    model: str
    precision: str
    batch_size: int
    images_per_sec: float
    p50_millisecs: float
    p99_millisecs: float
    num_batches: int
    size_bytes: int
    score: float | None


def list_models(paths: Sequence[str]) -> list[str]:
    """Returns the models, with those in folders of exports instead of the folders."""
    found = {}
    for path in paths:
        names = [formats.get_format(n).file_name for n in formats.list_formats()]
        inner = [os.path.join(path, name) for name in names]
        file_type, own = formats.find_file_type(path)
        exports = [p for p in inner if os.path.exists(p)]
        if file_type.open_predictor is not None or not exports:
            exports = [own]
        found.update(dict.fromkeys(exports))
    return list(found)


def open_predictor(path: str) -> tuple[Predictor, int]:
    """Opens a model that takes preprocessed images; returns it and its size in bytes.

    Raises:
      ValueError: if it cannot be opened, or a checkpoint has no run card.
    """
    file_type, path = formats.find_file_type(path)
    card = run_card.find(path)
    spec = settings.read_spec(FLAGS, card, network_lookup.get_network, ["image_size"])
    if file_type.open_predictor is None:
        if card is None:
            raise ValueError(
                f"{path!r} is a checkpoint without a run card (run.json), so its "
                "network is unknown: export it with export_model.py, and measure that."
            )
        path = settings.choose_checkpoint(FLAGS, "Measuring", "model_path", path)
        build = functools.partial(
            network_lookup.get_network_fn, spec.model_name, is_training=False
        )
        return CheckpointPredictor(path, build, spec), checking.measure_size(path)
    known = spec if card is not None else None
    opened = file_type.open(path, None, None, known, FLAGS.trust_model)
    if opened.takes_files:
        opened.close()
        opened = file_type.open(path, None, "pixels", known, FLAGS.trust_model)
    return opened, checking.measure_size(path)


def get_image_size(path: str, predictor: Predictor) -> tuple[int, int, int]:
    """Returns height, width and channels of the images of a model."""
    own = predictor.spec.image_size if predictor.spec else None
    sizes = [n or FLAGS.image_size or own for n in predictor.image_size]
    if None in sizes:
        raise ValueError(
            f"The input of {path!r} has a variable image size: give --image_size."
        )
    return (*sizes, predictor.channels)


def measure_score(path: str, predictor: Predictor) -> float | None:
    """Returns accuracy, exact match or R² on the split; None without a dataset."""
    if not FLAGS.dataset_dir:
        return None
    spec = predictor.spec
    if spec is None or not spec.preprocessing_name:
        raise ValueError(
            f"{path!r} contains no model specification, so its preprocessing is "
            "unknown: export it with export_model.py, or leave out --dataset_dir."
        )
    dataset = dataset_lookup.get_dataset(
        FLAGS.dataset_name, FLAGS.dataset_split_name, FLAGS.dataset_dir
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(
        spec.preprocessing_name, use_grayscale=predictor.channels == 1
    )
    height, width, _ = get_image_size(path, predictor)
    build_batches = functools.partial(
        input_pipeline.build_batches,
        dataset,
        preprocessing_fn,
        height,
        width,
        FLAGS.batch_size,
        is_training=False,
        labels_offset=spec.labels_offset,
    )
    with input_pipeline.naming_broken_files(dataset):
        batches = [(predictor.predict(i), n) for i, n in read_batches(build_batches)]
    scores, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return tasks.get_task(spec.task).compare(scores, scores, labels, spec).score


def list_precisions(path: str, predictor: Predictor) -> tuple[str, ...]:
    """Returns the precisions to measure a model in."""
    if FLAGS.precision == running.AUTO:
        return predictor.precisions
    if FLAGS.precision not in predictor.precisions:
        raise ValueError(
            f"{path!r} cannot be computed in --precision={FLAGS.precision} on this "
            f"machine: choose {' or '.join(predictor.precisions)}, or auto."
        )
    return (FLAGS.precision,)


def measure(paths: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of some models."""
    opened, image_sizes, sizes = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for path in paths:
            logging.info("Opening %s.", path)
            predictor, sizes[path] = open_predictor(path)
            stack.enter_context(predictor)
            image_sizes[path] = get_image_size(path, predictor)
            for name in list_precisions(path, predictor):
                is_own = name == FLOAT32
                other = predictor if is_own else predictor.reopen(name)
                opened[path, name] = stack.enter_context(other)
        scores = {key: measure_score(key[0], p) for key, p in opened.items()}
        batch_sizes = sorted({1, FLAGS.batch_size})
        secs = FLAGS.secs * len(opened) * len(batch_sizes)
        logging.info("Measuring for about %.0f seconds.", secs)
        speeds = speed.measure(opened, batch_sizes, image_sizes, FLAGS.secs)
        for case, found in speeds.items():
            yield Row(
                *case,
                **dataclasses.asdict(found),
                size_bytes=sizes[case.model],
                score=scores[case[:2]],
            )


def format_rows(rows: Sequence[Row], output_format: str) -> str:
    """Returns the rows as a table or as JSON."""
    if output_format == "json":
        return files.to_json(list(map(dataclasses.asdict, rows)), indent=2)
    lines = [
        [
            row.model,
            row.precision,
            str(row.batch_size),
            f"{row.images_per_sec:.1f}",
            f"{row.p50_millisecs:.1f}",
            f"{row.p99_millisecs:.1f}",
            f"{row.size_bytes / 1e6:.2f}",
            "" if row.score is None else f"{row.score:.1%}",
        ]
        for row in rows
    ]
    return text.format_table(_HEADER, lines, right=range(2, len(_HEADER)))


def main(_: Sequence[str]) -> None:
    if not FLAGS.model_path:
        raise ValueError("Give the models to measure: --model_path=out,run.")
    ending = os.path.splitext(FLAGS.output_file or "")[1]
    output_format = FLAGS.output_format or ("json" if ending == ".json" else "table")
    report = format_rows(list(measure(list_models(FLAGS.model_path))), output_format)
    if FLAGS.output_file:
        files.make_folder(os.path.dirname(os.path.abspath(FLAGS.output_file)))
        files.write_text(FLAGS.output_file, f"{report}\n")
    else:
        print(report)


if __name__ == "__main__":
    entry.run(main)
