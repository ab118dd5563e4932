"""A search of the learning rate: some steps with a rate that grows exponentially.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186,
section 3.3. The loss falls where the rate begins to have an effect, and rises again
where it is too large.
"""

import dataclasses
import functools
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from deployment import files
from deployment.config_flags import SettingError
from deployment.optimize.learning_rates import Schedule
from deployment.tasks import charts
from deployment.train import batch_size, gpu, precision_choice, step
from deployment.train.config import TrainingConfig
from deployment.train.warm_start import Start
from tf_slim_compat import tf

CHART_FILE = "learning_rates.png"
TABLE_FILE = "learning_rates.csv"
_NUM_STEPS = 100
_LOWEST, _HIGHEST = 1e-6, 10.0
# The smoothed loss above which the search ends, as a multiple of its lowest value.
_DIVERGED = 4.0
# Standard deviation, in steps, of the window that smooths the losses. It is centered:
# a running mean would lag behind, and make every rate look better than it is.
_SMOOTHING_STEPS = 4.0
# Where the loss is this close to its lowest value, as a fraction of its whole fall: on
# easy images it goes on falling a little, because of the steps and not of the rate.
_CLOSE = 0.05
# That rate is about the largest that a cyclical schedule would use; Smith recommends
# a third or a quarter of it as the rate that always converges.
_MARGIN = 3.0
# What the loss has to fall by, as a multiple of the noise that is left in it,
# and as a fraction of its value.
_LEAST_DROP = 4.0
_LEAST_FRACTION = 0.001
_NUM_LINES = 12


class Curve(NamedTuple):
    """Losses by learning rate, arrays [num_steps] in the order of the steps."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray


def find_learning_rate(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
    **kwargs: Any,
) -> float | None:
    """Tries learning rates from 1e-6 to 10, and logs which to train with.

    Starts as a new run would: with random weights, or those of a warm start. Writes a
    chart and a table to `config.train_dir`, and nothing else.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: see `training.train`.
      **kwargs: further arguments of `training.train`, not used here.

    Returns:
      The suggestion; None if no rate lowers the loss.

    Raises:
      ValueError: if several processes train together, or a warm start does not fit.
      OSError: if the chart or the table cannot be written.
    """
    del kwargs
    if not config.is_alone:
        raise SettingError(
            "--find_learning_rate searches in one process, but several train together "
            "(TF_CONFIG, {{master}}): search without these."
        )
    logging.info(
        "Trying learning rates from %g to %g, in at most %d steps.",
        _LOWEST, _HIGHEST, _NUM_STEPS,
    )  # fmt: skip
    rates, losses = _take_steps(_prepare(config), network_fn, build_batches)
    gc.collect()  # Graphs are cycles, and hold weights.
    curve = Curve(rates, losses, smooth(losses))
    found = suggest(curve)
    chart_path = os.path.join(config.train_dir, CHART_FILE)
    files.make_folder(config.train_dir)
    files.write_bytes(chart_path, charts.draw_learning_rates(*curve, found)[0])
    files.write_text(os.path.join(config.train_dir, TABLE_FILE), format_csv(curve))
    for line in describe(curve, found, _get_scale(config)):
        logging.info("%s", line)
    logging.info("The curve is in %s and, as numbers, %s.", chart_path, TABLE_FILE)
    return found


def _prepare(config):
    """Returns the configuration of the search."""
    growth = (_HIGHEST / _LOWEST) ** (1 / (_NUM_STEPS - 1))
    return dataclasses.replace(
        config,
        schedule=Schedule(
            "exponential", _LOWEST, decay_factor=growth, steps_per_decay=1
        ),
        seed=config.seed or 0,
        on_bad_numbers="stop",  # A step without its update would tell nothing.
        save_summaries_secs=0,
    )


def _take_steps(config, network_fn, build_batches):
    """Returns the learning rates and losses, float64 [steps], until they diverge."""
    with tf.Graph().as_default():
        tf.set_random_seed(config.seed % 2**31)
        batches_fn = functools.partial(build_batches, seed=config.seed, start_image=0)
        graph = step.build_training_graph(config, network_fn, batches_fn)
        init_fn = Start(0, None).build_init_fn(config, graph)
        initializers = (
            tf.global_variables_initializer(),
            tf.local_variables_initializer(),
            tf.tables_initializer(),
        )
        session_config = gpu.configure(
            precision_choice.build_session_config(config), config
        )
        with tf.Session(config=session_config) as session:
            session.run(initializers)
            if init_fn is not None:
                init_fn(session)
            return _run_until_diverged(session, graph, config)


def _run_until_diverged(session, graph, config):
    rates, losses = [], []
    for _ in range(_NUM_STEPS):
        parts = [
            session.run([graph.accumulate_op, graph.loss])[1]
            for _ in range(config.gradient_accumulation_steps - 1)
        ]
        rate, loss, _ = session.run([graph.learning_rate, graph.loss, graph.train_op])
        loss = float(np.mean([*parts, loss]))
        if not np.isfinite(loss):
            break
        rates.append(float(rate))
        losses.append(loss)
        smoothed = smooth(np.array(losses))
        if smoothed[-1] > _DIVERGED * smoothed.min() > 0:
            break
    if not losses:
        raise ValueError(
            "The loss of the first batch is not finite, whatever the learning rate: "
            "check the labels and the weights of --checkpoint_path."
        )
    return np.array(rates), np.array(losses)


def smooth(losses: np.ndarray) -> np.ndarray:
    """Returns losses smoothed with a Gaussian window, float64 [n] to [n]."""
    steps = np.arange(len(losses))
    distances = (steps[:, np.newaxis] - steps) / _SMOOTHING_STEPS
    weights = np.exp(-0.5 * distances**2)
    return weights @ losses / weights.sum(axis=1)


def find_lowest(curve: Curve) -> float | None:
    """Returns the first rate with nearly the lowest loss; None if no rate lowers it."""
    lowest = int(np.argmin(curve.smoothed))
    before = np.mean(curve.losses[: max(1, len(curve.losses) // 4)])
    drop = before - curve.smoothed[lowest]
    until = slice(lowest + 1)  # Later, the loss diverges.
    noise = np.std(curve.losses[until] - curve.smoothed[until])
    noise /= np.sqrt(2 * np.sqrt(np.pi) * _SMOOTHING_STEPS)
    if drop <= max(_LEAST_DROP * noise, _LEAST_FRACTION * abs(before)):
        return None
    is_close = curve.smoothed <= curve.smoothed[lowest] + _CLOSE * drop
    return float(curve.rates[np.argmax(is_close)])


def suggest(curve: Curve) -> float | None:
    """Returns the rate to train with; None if no rate lowers the loss.

    It is a third of the first rate with nearly the lowest smoothed loss, rounded to two
    digits. The steepest descent, the other usual choice, is less certain: noise decides
    which of many similar slopes is the steepest.
    """
    lowest = find_lowest(curve)
    return None if lowest is None else float(f"{lowest / _MARGIN:.1e}")


def describe(curve: Curve, found: float | None, scale: float = 1.0) -> Iterator[str]:
    """Yields the lines of the log: losses by rate, and the suggestion.

    Args:
      curve: the losses.
      found: what `suggest` returned.
      scale: what --batch_size=auto multiplies --learning_rate by.
    """
    yield f"{'learning rate':>13} {'loss':>10} {'smoothed':>10}"
    every = max(1, len(curve.rates) // _NUM_LINES)
    for rate, loss, smoothed in list(zip(*curve, strict=True))[::every]:
        yield f"{rate:13.2e} {loss:10.4g} {smoothed:10.4g}"
    if found is None:
        yield (
            "No learning rate lowered the loss clearly: use a larger --batch_size, or "
            "check the labels."
        )
        return
    yield (
        f"The smoothed loss is nearly at its lowest from the rate "
        f"{find_lowest(curve):.2g} on; a third of that converges in longer training as "
        "well:"
    )
    yield f"  --learning_rate={found / scale:.2g}"


def format_csv(curve: Curve) -> str:
    """Returns the losses as the text of a CSV file."""
    rows: Sequence[tuple[float, ...]] = list(zip(*curve, strict=True))
    lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
    return "\n".join(["learning_rate,loss,smoothed_loss", *lines]) + "\n"


def _get_scale(config):
    """Returns what the settled batch size multiplies --learning_rate by."""
    return config.batch_size / batch_size.REFERENCE if config.is_auto_batch_size else 1
