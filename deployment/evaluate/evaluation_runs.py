"""One checkpoint evaluated, all of a folder compared, or a training run followed."""

import collections
import dataclasses
import os
import time

from absl import logging

from deployment import files
from deployment.evaluate import evaluation, evaluation_reports, gallery
from deployment.evaluate.evaluation_summaries import SummaryWriter, rename
from deployment.models import checkpoints, history, run_card
from deployment.tasks import confusion_picture, metrics
from tf_slim_compat import tf

Records = collections.namedtuple("Records", ["read_file_names", "read_pictures"])
Records.__doc__ = """How to look at single images of the split.

`read_file_names(n)` returns the file names of the first n images as a list,
`read_pictures(indices)` a dict from index to a small uint8 picture.
"""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What is evaluated, and what is made of it.

    Attributes:
      evaluation: an `evaluation.EvaluationConfig`.
      class_names: the names of the network's outputs, in order.
      split_name: the split that is evaluated, for the reports.
      predictions_csv: a file for the predictions of all images; None for none.
      gallery: an HTML file for the most confident mistakes; None for none.
      gallery_size: how many mistakes it shows at most.
      all_checkpoints: whether every checkpoint of the folder is evaluated.
      metric: what they are sorted by: 'accuracy', 'loss' or 'top_5'.
      interval_secs: how often to look for new checkpoints, in seconds; None
        evaluates what is there and ends.
      timeout_secs: how long to wait for one, in seconds; None waits without end.

    Raises:
      ValueError: if it contradicts itself.
    """

    evaluation: evaluation.EvaluationConfig
    class_names: tuple
    split_name: str = ""
    predictions_csv: str | None = None
    gallery: str | None = None
    gallery_size: int = 100
    all_checkpoints: bool = False
    metric: str = "accuracy"
    interval_secs: float | None = None
    timeout_secs: float | None = None

    def __post_init__(self):
        metrics.check_name(self.metric, self.evaluation.num_classes)
        path = self.evaluation.checkpoint_path
        is_following = self.interval_secs is not None
        if is_following and self.interval_secs <= 0:
            raise ValueError(
                f"--eval_interval_secs must be above 0, but is {self.interval_secs}."
            )
        if is_following and self.all_checkpoints:
            raise ValueError(
                "--all_checkpoints compares what is there, --eval_interval_secs waits "
                "for what is to come: give one of them."
            )
        is_folder = tf.gfile.IsDirectory(path)
        is_file = not is_folder and tf.train.checkpoint_exists(path)
        if is_file if is_following else self.all_checkpoints and not is_folder:
            flag = "--eval_interval_secs" if is_following else "--all_checkpoints"
            raise ValueError(
                f"{flag} needs a folder of checkpoints, but --checkpoint_path is "
                f"{path!r}."
            )


def run(config, network_fn, build_batches, records):
    """Evaluates as the config says; prints, logs and writes what comes of it.

    Args:
      config: a `RunConfig`.
      network_fn: see `training.train`; for evaluation.
      build_batches: as for training, but of one pass over the images.
      records: a `Records` of the same images in the same order.

    Returns:
      The `evaluation.Predictions` that were reported: of the only checkpoint, of the
      best, or of the last.

    Raises:
      ValueError: if a checkpoint does not fit, or there is no checkpoint or image.
      OSError: if a file cannot be written.
    """
    _check_outputs(config)
    with (
        evaluation.Evaluator(config.evaluation, network_fn, build_batches) as evaluator,
        SummaryWriter(config.evaluation.eval_dir) as writer,
    ):
        reporter = Reporter(config, writer, records)
        if config.interval_secs is not None:
            predictions = follow(config, evaluator, reporter)
        elif config.all_checkpoints:
            predictions = compare(config, evaluator, reporter)
        else:
            predictions = evaluator.predict()
            reporter.note(predictions)
        reporter.finish(predictions)
    return predictions


def compare(config, evaluator, reporter):
    """Evaluates every checkpoint of a folder; prints a table, the best first.

    Returns:
      The `Predictions` of the best.
    """
    folder = config.evaluation.checkpoint_path
    paths = list_checkpoints(folder, os.path.join(folder, "best"))
    if not paths:
        checkpoints.get_checkpoint_path(folder)
        raise ValueError(f"No checkpoint in the folder {folder!r} is whole.")
    sign = 1 if history.is_lower_better(config.metric) else -1
    best, rows = None, []
    for path in paths:
        predictions = evaluator.predict(path)
        values = reporter.note(predictions)
        key = sign * values[config.metric]
        rows.append((key, os.path.relpath(path, folder), predictions.step, values))
        if best is None or key < best[0]:
            best = key, predictions
    rows.sort(key=lambda row: row[:3])
    names = metrics.names(config.evaluation.num_classes)
    table = [["checkpoint", "step", *names]]
    for _, name, step, values in rows:
        table.append([name, str(step), *(f"{values[n]:.4f}" for n in names)])
    print(evaluation_reports.format_table(table), end="\n\n", flush=True)
    return best[1]


def follow(config, evaluator, reporter):
    """Evaluates each checkpoint of a training folder once, as they appear.

    It ends when the run card says that training has ended, or when no new checkpoint
    has appeared for `timeout_secs`.

    Returns:
      The `Predictions` of the last.

    Raises:
      ValueError: if there was none.
    """
    folder = config.evaluation.checkpoint_path
    done, last = set(), None
    deadline = _Deadline(config)
    while True:
        has_ended = _has_ended(folder)
        new = [path for path in list_checkpoints(folder) if path not in done]
        for path in new:
            done.add(path)
            predictions = _predict_if_there(evaluator, path)
            if predictions is not None:
                reporter.note(predictions, is_newest=True)
                last = predictions
        if new:
            deadline = _Deadline(config)
        elif has_ended:
            logging.info("Training has ended: %s.", has_ended)
            break
        elif not deadline.wait():
            logging.info("No new checkpoint in %g seconds.", config.timeout_secs)
            break
    if last is None:
        raise ValueError(
            f"No checkpoint appeared in {folder!r}: check --checkpoint_path, or wait "
            "longer with --eval_timeout_secs."
        )
    return last


def wait_for_start(folder, interval_secs, timeout_secs):
    """Waits until training has written its run card, or any checkpoint, into a folder.

    Raises:
      ValueError: if neither is there after `timeout_secs` (None: waits without end).
    """
    started = time.monotonic()
    while run_card.find(folder) is None and not list_checkpoints(folder):
        left = (timeout_secs or float("inf")) - (time.monotonic() - started)
        if left <= 0:
            raise ValueError(
                f"No training began in {folder!r} within {timeout_secs:g} seconds: "
                "check --checkpoint_path, or wait longer with --eval_timeout_secs."
            )
        time.sleep(min(interval_secs, left))


def list_checkpoints(*folders):
    """The whole checkpoints in folders, by step; what is there twice is named once.

    Returns:
      A list of prefixes; those of earlier folders win over their copies in later ones.
    """
    found, indices = [], set()
    for folder in folders:
        names = files.list_names(folder)
        for name in names:
            path = os.path.join(folder, name.removesuffix(".index"))
            if not name.endswith(".index") and not _is_single_file(name, names):
                continue
            if not checkpoints.is_complete(path):
                logging.warning("%s is left out: it is not whole.", path)
                continue
            if name.endswith(".index"):
                # It has the checksums of all values.
                with tf.gfile.Open(f"{path}.index", "rb") as file:
                    index = file.read()
                if index in indices:
                    continue
                indices.add(index)
            found.append((checkpoints.get_step(path), path))
    return [path for _, path in sorted(found)]


class Reporter:
    """Prints, logs and writes what evaluations found.

    Args:
      config: a `RunConfig`.
      writer: an `evaluation_summaries.SummaryWriter`.
      records: a `Records`.
    """

    def __init__(self, config, writer, records):
        self._config = config
        self._writer = writer
        self._records = records

    def note(self, predictions, is_newest=False):
        """Logs a checkpoint's metrics, and writes them for TensorBoard.

        Args:
          predictions: its `Predictions`.
          is_newest: whether `eval.json` should be of it from now on.

        Returns:
          The metrics, a dict from name to float.
        """
        report = metrics.report(predictions)
        evaluation.log(predictions, rename(report.values))
        names = self._config.class_names
        picture = None
        if self._writer.is_open and report.confusion is not None:
            picture = confusion_picture.draw(report.confusion, names)
        self._writer.write(
            predictions.step,
            rename(report.values, report.macro),
            text=evaluation_reports.format_report(report, names),
            picture=picture,
        )
        if is_newest:
            self._write_report(predictions, report)
        return report.values

    def finish(self, predictions):
        """Prints and writes everything about one checkpoint."""
        report = metrics.report(predictions)
        self._write_report(predictions, report)
        text = evaluation_reports.format_report(report, self._config.class_names)
        print(text, end="", flush=True)
        if self._config.predictions_csv or self._config.gallery:
            names = self._records.read_file_names(len(predictions.labels))
            names = [evaluation_reports.printable(name) for name in names]
        if self._config.predictions_csv:
            evaluation_reports.write_predictions(
                self._config.predictions_csv,
                predictions,
                names,
                self._config.class_names,
            )
            logging.info("Wrote %s.", self._config.predictions_csv)
        if self._config.gallery:
            self._write_gallery(predictions, report, names)

    def _write_report(self, predictions, report):
        eval_dir = self._config.evaluation.eval_dir
        if not eval_dir:
            return
        facts = {
            "checkpoint": predictions.path,
            "step": predictions.step,
            "split": self._config.split_name,
            "secs": round(predictions.secs, 3),
            "time": files.utc_now(),
        }
        evaluation_reports.write_report(
            eval_dir, report, self._config.class_names, facts
        )

    def _write_gallery(self, predictions, report, file_names):
        mistakes = gallery.find_mistakes(
            predictions, self._config.class_names, self._config.gallery_size
        )
        num_wrong = (predictions.logits.argmax(axis=1) != predictions.labels).sum()
        page = gallery.build_page(
            f"Mistakes on {self._config.split_name} at step {predictions.step}",
            f"{num_wrong} of {report.num_images} images were taken for another class; "
            f"these are the {len(mistakes)} most confident. {predictions.path}",
            mistakes,
            file_names,
            self._records.read_pictures([mistake.index for mistake in mistakes]),
        )
        files.write_text(self._config.gallery, page)
        logging.info("Wrote %s.", self._config.gallery)


class _Deadline:
    """When to stop waiting for the next checkpoint."""

    def __init__(self, config):
        self._interval_secs = config.interval_secs
        timeout = config.timeout_secs
        self._end = time.monotonic() + (float("inf") if timeout is None else timeout)

    def wait(self):
        """Sleeps until it is time to look again; False if it is too late for that."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self._interval_secs, left))
        return True


def _check_outputs(config):
    """Raises OSError before the work is done if its results cannot be written."""
    eval_dir = config.evaluation.eval_dir
    report = eval_dir and os.path.join(eval_dir, evaluation_reports.JSON_FILE)
    for path in filter(None, (report, config.predictions_csv, config.gallery)):
        if tf.gfile.IsDirectory(path):
            raise ValueError(f"{path!r} is a folder: give the name of a file.")
        if os.path.dirname(path):
            files.make_folder(os.path.dirname(path))
        files.append_text(files.partial_path(path), "")
        files.remove(files.partial_path(path))


def _has_ended(folder):
    """Why training in a folder has ended, as far as its run card tells, or None."""
    card = run_card.find(folder)
    if card is None:
        return None
    # The results may be those of an earlier session, before training went on.
    if card.sessions and card.sessions[-1].get("to_step") != card.results.get("step"):
        return None
    return card.results.get("stopped_because")


def _is_single_file(name, names):
    """Whether a file is a checkpoint of the V1 format, judged by names."""
    return f"{name}.index" not in names and (
        f"{name}.meta" in names or name.endswith(".ckpt")
    )


def _predict_if_there(evaluator, path):
    """The predictions of a checkpoint, or None if training has removed it."""
    try:
        return evaluator.predict(path)
    except (ValueError, tf.errors.OpError):
        if checkpoints.is_complete(path):
            raise
        logging.warning("%s was removed before it was evaluated.", path)
        return None
