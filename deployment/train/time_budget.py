"""A run that ends at a time instead of a step.

The learning rate follows the clock, so the schedule is complete when the time is up,
however fast the machine is. The time of a run is that of its processes, from their
start; what was used is kept beside the checkpoints, so an interrupted run takes no more
time in all. Such a run is resumed from its checkpoint, but not to the same bits: its
steps depend on the clock.
"""

import dataclasses
import os
import time
from typing import Any

import numpy as np
from absl import flags

from deployment import files
from deployment.config_flags import SettingError
from deployment.durations import Duration, parse_duration
from tf_slim_compat import tf

FILE_NAME = "time_budget.json"
# What is kept for the last validation, before one has shown how long it takes.
_RESERVED = 0.1
_SECS_BETWEEN_RECORDS = 1.0
# Validations of a run, the last of which is at its end, and checkpoints.
_VALIDATIONS = 3
_CHECKPOINTS = 10
_loaded = time.monotonic()


class Clock:
    """The time of a run.

    Args:
      budget_secs: the time that the run may take.
      train_dir: the folder where the time that was used is kept.
    """

    def __init__(self, budget_secs: float, train_dir: str):
        self._budget = budget_secs
        self._path = os.path.join(train_dir, FILE_NAME)
        self._started = _find_start_of_process()
        self._earlier = self._read()
        self._recorded = -np.inf
        self._ending = _RESERVED * budget_secs
        # When the first step began. Before `start` only an interrupted run has it.
        self._first = 0.0 if self._earlier else None

    @property
    def used_secs(self) -> float:
        """The time that the run took so far, in all its processes."""
        return self._earlier + time.monotonic() - self._started

    @property
    def left_secs(self) -> float:
        """The time that is left for steps."""
        return self._budget - self._ending - self.used_secs

    def start(self) -> None:
        """Is called before the first step: preparations do not count as progress."""
        if self._first is None:
            self._first = self.used_secs

    def get_progress(self) -> np.float32:
        """Returns the fraction of the training so far, from 0 to 1."""
        if self._first is None:
            return np.float32(0)
        whole = self._budget - self._ending - self._first
        used = self.used_secs - self._first
        return np.float32(np.clip(used / max(whole, 1e-3), 0, 1))

    def set_ending(self, secs: float) -> None:
        """Sets how long the end of the run takes, after its last step."""
        self._ending = min(secs, self._budget / 2)

    def record(self) -> None:
        """Keeps the time that was used, at most once per second."""
        now = time.monotonic()
        if now - self._recorded >= _SECS_BETWEEN_RECORDS:
            self._recorded = now
            record = {"used_secs": round(self.used_secs, 1)}
            files.write_text(self._path, files.to_json(record) + "\n")

    def _read(self) -> float:
        """Returns the time that earlier processes used."""
        try:
            return max(0.0, float(files.read_json(self._path)["used_secs"]))
        except (TypeError, KeyError, ValueError):
            return 0.0  # There is none, or it is damaged.


def with_clock(config: Any) -> Any:
    """Returns a `TrainingConfig` with the clock of its time budget, if it has one.

    The parts of a run share a clock: what has one already keeps it.
    """
    if config.time_budget is None or config.clock is not None:
        return config
    clock = Clock(config.time_budget.value, config.train_dir)
    return dataclasses.replace(config, clock=clock)


def build_progress(clock: Clock | None) -> tf.Tensor | None:
    """Adds the fraction of the training so far to the graph, float32 scalar."""
    if clock is None:
        return None
    progress = tf.numpy_function(clock.get_progress, [], tf.float32)
    progress.set_shape([])
    return progress


def set_intervals(flag_values: flags.FlagValues) -> None:
    """Sets how often a run with a time budget validates and saves, unless given."""
    if not flag_values["time_budget"].value:
        return
    budget = parse_duration(flag_values["time_budget"].value, "--time_budget").value
    if not budget:
        return  # `check_budget` says what is wrong.
    intervals = {
        "eval_every": f"{budget / _VALIDATIONS:.0f}secs",
        "save_interval_secs": max(1, int(budget / _CHECKPOINTS)),
    }
    for name, value in intervals.items():
        if not flag_values[name].present:
            flag_values[name].value = value


def check_budget(
    budget: Duration | None, number_of_steps: int | None, **others: bool
) -> None:
    """Checks that a time budget contradicts nothing.

    Args:
      budget: the time budget; None for none.
      number_of_steps: the step to stop at; None for none.
      **others: whether fields are set that a run with a time budget cannot have.

    Raises:
      SettingError: if it does.
    """
    if budget is None:
        return
    if not budget.is_time or not budget.value:
        raise SettingError(
            "{{time_budget}} must be a time above 0, such as 10mins or 2hours, but is "
            f"{budget}."
        )
    given = [name for name, is_set in others.items() if is_set]
    if number_of_steps is not None:
        given.insert(0, "number_of_steps")
    if given:
        raise SettingError(
            f"{{{{time_budget}}}} ends the run at a time, which {{{{{given[0]}}}}} "
            "contradicts: give only one of the two."
        )


def _find_start_of_process() -> float:
    """Returns when this process began, on the clock of `time.monotonic`."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        began = ticks / os.sysconf("SC_CLK_TCK")
        return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, AttributeError, ValueError, IndexError):  # Not on Linux.
        return _loaded
