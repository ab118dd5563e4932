"""Evaluates one checkpoint, compares or averages several, or follows a run."""

import os
import time
from collections.abc import Callable

from absl import logging

from deployment import remote
from deployment.evaluate import evaluation, evaluation_reports, ranking, soup
from deployment.evaluate.evaluation_reports import Records, Reporter
from deployment.evaluate.evaluation_summaries import SummaryWriter
from deployment.evaluate.run_config import RunConfig
from deployment.models import checkpoint, run_card
from deployment.tasks import tables
from deployment.tasks.base import Predictions
from tf_slim_compat import tf


def run(
    config: RunConfig,
    network_fn: Callable,
    build_batches: Callable[[], tf.data.Dataset],
    records: Records,
) -> Predictions:
    """Evaluates as configured; prints, logs and writes the results.

    Args:
      config: a `RunConfig`.
      network_fn: see `evaluation.Evaluator`.
      build_batches: see `evaluation.Evaluator`.
      records: a `Records` of the same images in the same order.

    Returns:
      The `Predictions` that were reported: of the only checkpoint, of the best, or of
      the last.

    Raises:
      ValueError: if a checkpoint does not fit, there is no checkpoint or image, or the
        scores of the only checkpoint are not finite.
      OSError: if a file cannot be written.
    """
    evaluation_reports.check_outputs(config)
    with (
        evaluation.Evaluator(config.evaluation, network_fn, build_batches) as evaluator,
        SummaryWriter(config.evaluation.eval_dir) as writer,
    ):
        reporter = Reporter(config, writer, records)
        if config.interval_secs is not None:
            predictions = follow(config, evaluator, reporter)
        elif config.all_checkpoints:
            predictions = compare(config, evaluator, reporter)
        elif config.soup:
            predictions = soup.cook(config, evaluator, reporter)
        else:
            predictions = evaluator.predict()
            if fault := ranking.explain_scores(predictions):
                raise ValueError(fault)
            reporter.note(predictions)
        reporter.finish(predictions)
    return predictions


def compare(
    config: RunConfig, evaluator: evaluation.Evaluator, reporter: Reporter
) -> Predictions:
    """Evaluates every checkpoint of a folder; prints a table, best first.

    Returns:
      The `Predictions` of the best.
    """
    folder = config.evaluation.checkpoint_path
    rows, best = ranking.rank(config, evaluator, reporter, ranking.find_all(folder))
    metrics = config.task.list_metrics(config.spec.num_outputs)
    names = [metric.name for metric in metrics]
    table = [
        (
            os.path.relpath(row.path, folder),
            str(row.step),
            *tables.format_fractions(row.values[name] for name in names),
        )
        for row in rows
    ]
    header = ("checkpoint", "step", *names)
    print(tables.format_table(header, table), end="\n\n", flush=True)
    return best


def follow(
    config: RunConfig, evaluator: evaluation.Evaluator, reporter: Reporter
) -> Predictions:
    """Evaluates each checkpoint of a training folder once, as they appear.

    Ends when the run card says that training has ended, or when no new checkpoint has
    appeared for `timeout_secs`.

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
        new = [path for path in ranking.list_checkpoints(folder) if path not in done]
        for path in new:
            done.add(path)
            predictions = _predict_if_there(evaluator, path)
            if predictions is not None:
                if fault := ranking.explain_scores(predictions):
                    logging.warning("%s", fault)
                reporter.note(predictions, is_latest=True)
                last = predictions
        remote.refresh()
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


def wait_for_start(
    folder: str, interval_secs: float, timeout_secs: float | None
) -> None:
    """Waits until training has written its run card or a checkpoint into a folder.

    Raises:
      ValueError: if there is neither after `timeout_secs` (None waits forever).
    """
    started = time.monotonic()
    while run_card.find(folder) is None and not ranking.list_checkpoints(folder):
        left = (timeout_secs or float("inf")) - (time.monotonic() - started)
        if left <= 0:
            raise ValueError(
                f"No training began in {folder!r} within {timeout_secs:g} seconds: "
                "check --checkpoint_path, or wait longer with --eval_timeout_secs."
            )
        time.sleep(min(interval_secs, left))
        remote.refresh()


class _Deadline:
    """When to stop waiting for the next checkpoint."""

    def __init__(self, config: RunConfig):
        self._interval_secs = config.interval_secs
        timeout = config.timeout_secs
        self._end = time.monotonic() + (float("inf") if timeout is None else timeout)

    def wait(self) -> bool:
        """Sleeps until it is time to look again; returns False after the deadline."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self._interval_secs, left))
        return True


def _has_ended(folder: str) -> str | None:
    """Returns why training has ended according to its run card; None if it has not."""
    card = run_card.find(folder)
    if card is None:
        return None
    # The results may be those of an earlier session, before training resumed.
    if card.sessions and card.sessions[-1].get("to_step") != card.results.get("step"):
        return None
    return card.results.get("stopped_because")


def _predict_if_there(evaluator: evaluation.Evaluator, path: str) -> Predictions | None:
    """Returns predictions of a checkpoint; None if training has removed it."""
    try:
        return evaluator.predict(path)
    except ValueError:
        if checkpoint.open_if_complete(path):
            raise
        logging.warning("%s was removed before it was evaluated.", path)
        return None
