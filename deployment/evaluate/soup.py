"""A soup: the average of those checkpoints that improve it on the validation split.

M. Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models
improves accuracy without increasing inference time", arXiv:2203.05482, recipe 1.

The moving statistics of batch normalization are averaged like weights. The paper's
networks have none, as they normalize layers; each soup here is evaluated with the
statistics that it is written with.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence

from absl import logging

from deployment import files
from deployment.evaluate import evaluation, ranking
from deployment.evaluate.evaluation_reports import Reporter
from deployment.evaluate.ranking import Ranked
from deployment.evaluate.run_config import RunConfig
from deployment.models import (
    checkpoint,
    checkpoint_edits,
    checkpoint_writing,
    run_card,
)
from deployment.models.checkpoint_edits import Edit
from deployment.tasks import tables
from deployment.tasks.base import Predictions
from tf_slim_compat import tf


def cook(
    config: RunConfig, evaluator: evaluation.Evaluator, reporter: Reporter
) -> Predictions:
    """Averages checkpoints greedily, and writes the result to `config.soup`.

    Begins with the best checkpoint. Each further one, best first, stays in the average
    if the metric does not get worse by it. Prints a table of the decisions.

    Returns:
      The `Predictions` of the soup.

    Raises:
      ValueError: if there are fewer than two checkpoints, they are not of the same
        network, or `config.soup` exists.
      OSError: if it cannot be written.
    """
    checkpoint_writing.check_output(config.soup)
    paths = list_candidates(config)
    rows, best = ranking.rank(config, evaluator, reporter, paths)
    if fault := ranking.explain_scores(best):
        raise ValueError(fault)
    chosen, best_key = rows[:1], rows[0].key
    table = [_describe(config, rows[0], best, "yes")]
    for row in rows[1:]:
        with _mixed([*chosen, row]) as path:
            predictions = evaluator.predict(path)
        values = config.task.compute(predictions, config.spec)
        key = ranking.get_key(config, predictions, values)
        if key <= best_key:
            chosen, best, best_key = [*chosen, row], predictions, key
        kept = "yes" if best is predictions else "no"
        table.append(_describe(config, row, predictions, kept))
    name = _get_metric_name(config)
    header = ("checkpoint", "step", name, f"{name} in soup", "kept")
    print(tables.format_table(header, table), end="\n\n", flush=True)
    checkpoint_edits.write_edited(Edit(_list_paths(chosen)), config.soup)
    _write_card(config, chosen)
    logging.info("Wrote %s: the average of %d checkpoints.", config.soup, len(chosen))
    return dataclasses.replace(best, path=config.soup)


def list_candidates(config: RunConfig) -> list[str]:
    """Returns the prefixes of the checkpoints that may be in the soup.

    Raises:
      ValueError: if there are fewer than two.
    """
    places = config.soup_candidates or (config.evaluation.checkpoint_path,)
    paths = []
    for place in places:
        if tf.gfile.IsDirectory(place):
            paths += ranking.find_all(place)
        else:
            paths.append(checkpoint.find_prefix(place))
    paths = list(dict.fromkeys(paths))
    if len(paths) < 2:
        raise ValueError(
            f"A soup is the average of several checkpoints, but there is only "
            f"{paths[0]!r}: train with --num_best_checkpoints=5 or "
            "--max_checkpoints_to_keep=10, or list more with --soup_candidates."
        )
    return paths


@contextlib.contextmanager
def _mixed(rows: Sequence[Ranked]) -> Iterator[str]:
    """Gives the prefix of the average of checkpoints, a temporary file."""
    with tempfile.TemporaryDirectory(prefix="soup_") as folder:
        path = os.path.join(folder, "model.ckpt")
        yield checkpoint_edits.write_edited(Edit(_list_paths(rows)), path).path


def _list_paths(rows: Sequence[Ranked]) -> tuple[str, ...]:
    return tuple(row.path for row in rows)


def _get_metric_name(config: RunConfig) -> str:
    return config.metric or config.task.default_metric


def _describe(
    config: RunConfig, row: Ranked, predictions: Predictions, kept: str
) -> tuple[str, ...]:
    """Returns the cells of a candidate in the table."""
    name = _get_metric_name(config)
    alone, mixed = row.values, config.task.compute(predictions, config.spec)
    numbers = tables.format_fractions([alone[name], mixed[name]])
    return (row.path, str(row.step), *numbers, kept)


def _write_card(config: RunConfig, chosen: Sequence[Ranked]) -> None:
    """Writes a run card beside the soup, unless it is in the folder of a run."""
    card = run_card.find(chosen[0].path)
    if card is None or run_card.find(config.soup) is not None:
        return
    facts = {"checkpoints": _list_paths(chosen), "time": files.utc_now()}
    folder = os.path.dirname(os.path.abspath(config.soup))
    dataclasses.replace(
        card, sessions=(), results={}, extra={**card.extra, "soup": facts}
    ).save(folder)
