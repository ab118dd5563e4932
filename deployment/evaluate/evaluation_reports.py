"""Reports of evaluations: what is printed and logged, JSON, CSV tables, images."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from deployment import files, text
from deployment.evaluate import evaluation, gallery, views
from deployment.evaluate.evaluation_summaries import SummaryWriter, rename
from deployment.evaluate.run_config import RunConfig
from deployment.tasks.base import Predictions, Report
from tf_slim_compat import tf

JSON_FILE = "eval.json"


class Records(NamedTuple):
    """Access to single images of the split.

    Attributes:
      read_file_names: takes n, returns the file names of the first n images.
      read_images: takes indices, returns a dict from index to a uint8 image of reduced
        size.
    """

    read_file_names: Callable[[int], list[str]]
    read_images: Callable[[Sequence[int]], Mapping[int, np.ndarray]]


class Reporter:
    """Prints, logs and writes the results of evaluations.

    Args:
      config: a `RunConfig`.
      writer: an `evaluation_summaries.SummaryWriter`.
      records: a `Records`.
    """

    def __init__(self, config: RunConfig, writer: SummaryWriter, records: Records):
        self._config = config
        self._writer = writer
        self._records = records
        self._noted = None  # The latest predictions, with their report.

    def note(
        self, predictions: Predictions, is_latest: bool = False
    ) -> Mapping[str, float]:
        """Logs a checkpoint's metrics, and writes them for TensorBoard.

        Args:
          predictions: its `Predictions`.
          is_latest: whether to write `eval.json` now.

        Returns:
          The metrics by name.
        """
        report = self._report(predictions)
        evaluation.log(predictions, rename(report.values))
        self._writer.write(
            predictions.step,
            rename(report.values, report.macro),
            text=report.text,
            images=report.images,
        )
        if is_latest:
            self._write_report(predictions, report)
        return report.values

    def finish(self, predictions: Predictions) -> None:
        """Prints and writes all results of one checkpoint."""
        config = self._config
        report = self._report(predictions)
        self._write_report(predictions, report)
        print(report.text, end="", flush=True)
        tta = config.evaluation.tta
        if tta != views.NONE:
            count = len(views.VIEW_SETS[tta])
            print(f"Each image was predicted from {count} views (--tta={tta}).")
        if config.predictions_csv or config.gallery:
            names = self._records.read_file_names(len(predictions.labels))
            names = [text.printable(name) for name in names]
        if config.predictions_csv:
            write_predictions(
                config.predictions_csv,
                names,
                *config.task.list_predictions(predictions, config.spec),
            )
            logging.info("Wrote %s.", config.predictions_csv)
        if config.gallery:
            self._write_gallery(predictions, names)

    def _report(self, predictions: Predictions) -> Report:
        """Returns the report, with images if they are written."""
        if self._noted is None or self._noted[0] is not predictions:
            report = self._config.task.report(
                predictions, self._config.spec, with_images=self._writer.is_open
            )
            self._noted = predictions, report
        return self._noted[1]

    def _write_report(self, predictions: Predictions, report: Report) -> None:
        eval_dir = self._config.evaluation.eval_dir
        if not eval_dir:
            return
        facts = {
            "checkpoint": predictions.path,
            "step": predictions.step,
            "split": self._config.split_name,
            "tta": self._config.evaluation.tta,
            "secs": round(predictions.secs, 3),
            "time": files.utc_now(),
        }
        write_report(eval_dir, report, facts)

    def _write_gallery(
        self, predictions: Predictions, file_names: Sequence[str]
    ) -> None:
        config = self._config
        mistakes, sentence = config.task.find_mistakes(
            predictions, config.spec, config.gallery_size
        )
        page = gallery.build_page(
            f"Mistakes on {config.split_name} at step {predictions.step}",
            f"{sentence} {predictions.path}",
            mistakes,
            file_names,
            self._records.read_images([mistake.index for mistake in mistakes]),
        )
        files.write_text(config.gallery, page)
        logging.info("Wrote %s.", config.gallery)


def check_outputs(config: RunConfig) -> None:
    """Checks that the results can be written, before the work is done.

    Raises:
      ValueError: if a file is a folder.
      OSError: if a file cannot be written.
    """
    eval_dir = config.evaluation.eval_dir
    report = eval_dir and os.path.join(eval_dir, JSON_FILE)
    for path in filter(None, (report, config.predictions_csv, config.gallery)):
        if tf.gfile.IsDirectory(path):
            raise ValueError(f"{path!r} is a folder: give the name of a file.")
        if os.path.dirname(path):
            files.make_folder(os.path.dirname(path))
        files.append_text(files.partial_path(path), "")
        files.remove(files.partial_path(path))


def write_report(eval_dir: str, report: Report, facts: Mapping[str, Any]) -> None:
    """Writes `eval.json`, and the report's tables and images.

    Args:
      eval_dir: the folder; created if there is none.
      report: a `Report`.
      facts: the first entries of `eval.json`, such as the step.

    Raises:
      OSError: if a file cannot be written.
    """
    files.make_folder(eval_dir)
    record = {
        **facts,
        "num_images": report.num_images,
        **report.values,
        **report.record,
    }
    path = os.path.join(eval_dir, JSON_FILE)
    files.write_text(path, files.to_json(record, indent=1) + "\n")
    for name, rows in report.tables.items():
        files.write_text(os.path.join(eval_dir, name), format_csv(rows))
    for name, (png, _, _) in report.images.items():
        files.write_bytes(os.path.join(eval_dir, f"{name}.png"), png)


def write_predictions(
    path: str,
    file_names: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Writes a CSV file with one line per image, in the order of evaluation.

    Args:
      path: the file.
      file_names: of n images.
      columns: names of the columns after `file_name`; see `Task.list_predictions`.
      rows: n rows of these columns.

    Raises:
      OSError: if it cannot be written.
    """
    lines = [("file_name", *columns)]
    lines += ((name, *row) for name, row in zip(file_names, rows, strict=True))
    files.write_text(path, format_csv(lines))


def format_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Returns rows as the text of a CSV file; see `text.csv_cell`."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        map(text.csv_cell, row) for row in rows
    )
    return file.getvalue()
