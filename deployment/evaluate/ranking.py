"""Checkpoints in the order of a metric."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from deployment import files
from deployment.evaluate import evaluation
from deployment.evaluate.evaluation_reports import Reporter
from deployment.evaluate.run_config import RunConfig
from deployment.models import checkpoint
from deployment.tasks.base import Predictions
from tf_slim_compat import tf


class Ranked(NamedTuple):
    """A checkpoint: lower keys are better; infinite ones have no sound scores."""

    key: float
    path: str
    step: int
    values: Mapping[str, float]


def rank(
    config: RunConfig,
    evaluator: evaluation.Evaluator,
    reporter: Reporter,
    paths: Sequence[str],
) -> tuple[list[Ranked], Predictions]:
    """Evaluates checkpoints; returns them, best first, and the best's predictions."""
    best, rows = None, []
    for path in paths:
        predictions = evaluator.predict(path)
        values = reporter.note(predictions)
        key = get_key(config, predictions, values)
        rows.append(Ranked(key, path, predictions.step, values))
        if best is None or key < best[0]:
            best = key, predictions
    rows.sort(key=lambda row: row[:3])
    return rows, best[1]


def get_key(
    config: RunConfig, predictions: Predictions, values: Mapping[str, float]
) -> float:
    """Returns the key of a checkpoint by `config.metric`; lower is better."""
    name = config.metric or config.task.default_metric
    metric = config.task.get_metric(name, config.spec.num_outputs)
    key = -values[name] if metric.higher_is_better else values[name]
    fault = explain_scores(predictions)
    if fault:
        logging.warning("%s", fault)
    return math.inf if fault or math.isnan(key) else key


def explain_scores(predictions: Predictions) -> str | None:
    """Returns what is wrong with scores that are not finite; None if they all are.

    No metric tells: of scores that are not numbers, the first counts as the largest.
    """
    count = len(predictions.logits)
    finite = np.isfinite(predictions.logits).reshape(count, -1).all(axis=1)
    if finite.all():
        return None
    return (
        f"The scores of {count - finite.sum()} of {count} images are not finite "
        f"numbers with the weights of {predictions.path!r}, so its metrics mean "
        "nothing: training has diverged, evaluate an earlier checkpoint."
    )


def find_all(folder: str) -> list[str]:
    """Returns the prefixes of all complete checkpoints in a folder and its `best`.

    Raises:
      ValueError: if there is none.
    """
    paths = list_checkpoints(folder, os.path.join(folder, "best"))
    if not paths:
        checkpoint.find_prefix(folder)
        raise ValueError(f"No checkpoint in the folder {folder!r} is complete.")
    return paths


def list_checkpoints(*folders: str) -> list[str]:
    """Returns the prefixes of all complete checkpoints in folders, by step.

    Copies are listed once, by their path in the first folder that has them.
    """
    found, indices = [], set()
    for folder in folders:
        names = files.list_names(folder)
        for name in names:
            path = os.path.join(folder, name.removesuffix(".index"))
            if not name.endswith(".index") and not _is_single_file(name, names):
                continue
            opened = checkpoint.open_if_complete(path)
            if opened is None:
                logging.warning("Skipping %s: it is not complete.", path)
                continue
            if name.endswith(".index"):
                # Holds checksums of all values, so copies have the same content.
                with tf.gfile.Open(f"{path}.index", "rb") as file:
                    index = file.read()
                if index in indices:
                    continue
                indices.add(index)
            found.append((opened.step, path))
    return [path for _, path in sorted(found)]


def _is_single_file(name: str, names: Sequence[str]) -> bool:
    """Whether a file is a checkpoint of the V1 format, judging by names."""
    return f"{name}.index" not in names and (
        f"{name}.meta" in names or name.endswith(".ckpt")
    )
