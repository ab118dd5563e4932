"""`--batch_size=auto`: the largest batch that fits into the memory.

    config = settle(config, network_fn, build_batches)

The estimate of `memory.py` gives the first candidate, which has to take a real step
before it is used.
"""

import dataclasses
import functools
import gc
import pathlib
import resource
from collections.abc import Callable
from typing import Any

from absl import logging

from deployment import faults
from deployment.config_flags import SettingError
from deployment.models import checkpoint
from deployment.models.run_card import RunCard
from deployment.optimize.learning_rates import Schedule
from deployment.train import gpu, memory, precision_choice, step
from deployment.train.available_memory import find_available
from deployment.train.config import TrainingConfig
from tf_slim_compat import tf

# The batch size that the learning rate is for: the default one.
REFERENCE = 32
_SMALLEST = 8
# A prime: no other dimension of a network is a multiple of it.
_ESTIMATED = 127
# Largest part of the available memory that a step on the CPU may be measured to take:
# the system ends a process that takes more than there is.
_FILLED = 0.9


def settle(
    config: TrainingConfig,
    network_fn: Callable[..., Any],
    build_batches: Callable[..., Any],
) -> TrainingConfig:
    """Chooses the batch size of a run whose `batch_size` is None.

    It becomes the largest of 8, 16, 32, 64, ... that fits into the memory and does not
    exceed the dataset, and the learning rate is multiplied by a thirty-second of it. A
    run that is resumed keeps the batch size that it began with.

    Args:
      config: the configuration of the run.
      network_fn: see `training.train`.
      build_batches: see `training.train`; called with `batch_size` as well.

    Returns:
      The configuration with its batch size; the same one if it has one.

    Raises:
      ValueError: if several processes train together, the free memory is not known, or
        no batch fits.
    """
    if config.batch_size is not None:
        return config
    if not config.is_alone:
        raise SettingError(
            "{{batch_size}}=auto fits the batch into the memory of one process, but "
            "several train together (TF_CONFIG, {{master}}): give a number."
        )
    card = _find_card(config)
    if card is None:
        size, reason = _choose(config, network_fn, build_batches)
    elif card.auto_batch is None:
        size = card.flags.get("batch_size") or REFERENCE
        logging.info("The batch size stays %d, as this run began.", size)
        return dataclasses.replace(config, batch_size=size)
    else:
        size, reason = card.auto_batch["images"], "as this run began"
    settled = dataclasses.replace(
        config,
        batch_size=size,
        is_auto_batch_size=True,
        schedule=config.schedule.scaled(size / REFERENCE),
    )
    logging.info(
        "The batch size is %d, %s. The learning rate is %.4g: %.4g for each %d images.",
        size, reason, settled.schedule.initial, config.schedule.initial, REFERENCE,
    )  # fmt: skip
    return settled


def _find_card(config: TrainingConfig) -> RunCard | None:
    """Returns the run card of a run that will be resumed; None for a new run."""
    if not config.train_dir or checkpoint.find_newest(config.train_dir) is None:
        return None
    return RunCard.load(config.train_dir)


def _choose(config, network_fn, build_batches) -> tuple[int, str]:
    """Returns the largest batch size that fits, and why it is not larger."""
    in_data = config.num_samples // (
        config.deployment.num_clones * config.gradient_accumulation_steps
    )
    sizes = [min(_SMALLEST, max(1, in_data))]
    while 2 * sizes[-1] <= in_data and sizes[0] == _SMALLEST:
        sizes.append(2 * sizes[-1])
    trial = _Trial(config, network_fn, build_batches)
    fitting = [size for size in sizes if trial.may_fit(size)]
    if not fitting and not trial.is_on_gpu:
        # The check before the first step refuses it, or warns.
        return sizes[0], "the smallest, and may be too much for the memory"
    for size in reversed(fitting or sizes[:1]):
        if trial.fits(size):
            if size == sizes[-1]:
                return size, f"the most for {config.num_samples:,} images to train on"
            return size, "the most that fits into the memory"
        logging.info("A batch of %d images does not fit into the memory.", size)
    raise SettingError(
        f"{{{{batch_size}}}}=auto finds no batch that fits into the memory; {sizes[0]} "
        "images, the fewest tried, are too many: use a smaller image size or network."
    )


class _Trial:
    """Finds out which batch sizes fit into the memory."""

    def __init__(self, config, network_fn, build_batches):
        self._network_fn = network_fn
        self._build_batches = build_batches
        self._config = dataclasses.replace(
            config,
            # Others may need the length of the run, which depends on the batch size.
            schedule=Schedule("fixed"),
            seed=config.seed or 0,
            save_summaries_secs=0,
        )
        self.is_on_gpu = memory.is_on_gpu(config)
        self._room = self._find_room()
        with tf.Graph().as_default() as graph:
            self._build(_ESTIMATED)
            self._needs = memory.estimate(
                graph, _ESTIMATED, config.deployment.num_clones
            )

    def may_fit(self, size: int) -> bool:
        """Returns whether the estimate, a lower bound, leaves a batch a chance."""
        return self._needs.total(size) <= self._room

    def fits(self, size: int) -> bool:
        """Returns whether a batch can take a step."""
        logging.info("Trying a batch of %d images.", size)
        available, before = find_available(), _read_resident_bytes()
        try:
            self._take_step(size)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            if faults.explain_lack_of_memory(error) is None:
                raise
            return False
        if self.is_on_gpu or available is None:
            return True
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return peak - before <= _FILLED * available

    def _build(self, size):
        return step.build_training_graph(
            dataclasses.replace(self._config, batch_size=size),
            self._network_fn,
            functools.partial(
                self._build_batches,
                batch_size=size,
                seed=self._config.seed,
                start_image=0,
            ),
        )

    def _take_step(self, size):
        with tf.Graph().as_default():
            graph = self._build(size)
            initializers = (
                tf.global_variables_initializer(),
                tf.local_variables_initializer(),
                tf.tables_initializer(),
            )
            with self._open_session() as session:
                session.run(initializers)
                if graph.accumulate_op is not None:
                    session.run(graph.accumulate_op)
                session.run(graph.train_op)
        del graph
        gc.collect()  # Graphs are cycles, and hold weights and the files of caches.

    def _open_session(self):
        session_config = precision_choice.build_session_config(self._config)
        return tf.Session(config=gpu.configure(session_config, self._config))

    def _find_room(self):
        """Returns the bytes that the estimate may reach."""
        if not self.is_on_gpu:
            available = find_available()
            if available is None:
                raise SettingError(
                    "{{batch_size}}=auto needs to know how much memory is free, which "
                    "this system does not tell: give a number."
                )
            return memory.SAFE_SHARE * available
        with tf.Graph().as_default(), self._open_session() as session:
            devices = session.list_devices()
        gpus = [d.memory_limit_bytes for d in devices if d.device_type == "GPU"]
        return min(gpus[: self._config.deployment.num_clones])


def _read_resident_bytes() -> int:
    """Returns the memory that this process has; 0 if unknown."""
    try:
        pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
