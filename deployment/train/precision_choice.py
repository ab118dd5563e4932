"""Chooses the precision of a training run by timing steps on this machine.

Which precision is the fastest depends on the network, the image size, the batch and the
processor. A trial takes a few steps in each, in sessions with weights and input
pipelines of their own: it changes nothing of the run. Its times are kept for later
runs.
"""

import contextlib
import dataclasses
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from absl import logging

import checked_json
from deployment import files, model_deploy, precision, processor
from deployment.train.config import TrainingConfig
from deployment.train.step import TrainingGraph
from tf_slim_compat import tf

# A trial takes as long as about ten steps, and saves at most half the time.
_LEAST_STEPS = 50
_LEAST_BUDGET_SECS = 180
_ROUNDS = 4
_LEAST_BLOCK_SECS = 0.05
_MOST_SECS = 30
# Float32 is taken unless another precision needs at most this fraction of its time.
_LEAST_GAIN = 0.98
_CACHE_FILE = "step_times.json"
_MOST_ENTRIES = 1000

_Secs = Annotated[float, msgspec.Meta(gt=0, le=10**6)]
_StepTimes = dict[checked_json.Text, dict[checked_json.Name, _Secs]]


class Choice(NamedTuple):
    """A precision, and why it was chosen, as a clause for the log."""

    precision: str
    reason: str


def choose(config: TrainingConfig, build_graph: Callable[..., TrainingGraph]) -> Choice:
    """Returns the precision of a run; that of `auto` is in which steps are fastest.

    Args:
      config: the configuration of the run.
      build_graph: called with a configuration; adds its training graph to the default
        graph.
    """
    if config.precision != "auto":
        return Choice(config.precision, "as configured or as the run began")
    reason = _find_reason_for_float32(config)
    if reason:
        return Choice("float32", reason)
    candidates = precision.list_candidates()
    key = _describe_step(config)
    known = _load_times()
    secs = known.get(key, {})
    if set(secs) != set(candidates):
        try:
            secs = measure(config, build_graph, candidates)
        except tf.errors.OpError as error:  # The run itself will say more.
            logging.debug("The trial of precisions failed: %s", error)
            return Choice("float32", "because others could not be tried")
        _save_times({**known, key: secs})
    return _find_fastest(secs)


def measure(
    config: TrainingConfig,
    build_graph: Callable[..., TrainingGraph],
    candidates: Sequence[str],
) -> dict[str, float]:
    """Returns the median seconds of a training step in each precision.

    Args:
      config: the configuration of the run.
      build_graph: see `choose`.
      candidates: the precisions.

    Raises:
      tf.errors.OpError: if a step fails.
    """
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                opened(dataclasses.replace(config, precision=name), build_graph)
            )
            for name in candidates
        ]
        secs = dict(zip(candidates, _time_in_turn(runs), strict=True))
    del runs
    gc.collect()  # Graphs are cycles, and hold weights and the files of caches.
    return secs


@contextlib.contextmanager
def opened(
    config: TrainingConfig, build_graph: Callable[..., TrainingGraph]
) -> Iterator[Callable[[], None]]:
    """Within, the function that it gives takes a step in a new session."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        training_graph = build_graph(config)
        initialize = tf.group(
            tf.global_variables_initializer(),
            tf.local_variables_initializer(),
            tf.tables_initializer(),  # Also the input pipeline.
        )
    with tf.Session(graph=graph, config=build_session_config(config)) as session:
        session.run(initialize)
        yield lambda: session.run(training_graph.train_op.op)


def build_session_config(config: TrainingConfig) -> tf.ConfigProto:
    """Returns the configuration of a run's session, in its precision."""
    session_config = model_deploy.build_session_config(config.deployment)
    precision.configure(session_config, config.precision)
    return session_config


def _find_reason_for_float32(config):
    """Returns why no other precision is tried; None if others are."""
    deployment = config.deployment
    if config.quantize_delay >= 0:
        return "because fake quantization simulates 8 bits in it"
    if config.deterministic:
        return "because --deterministic excludes choices that depend on measured times"
    if not config.is_alone:
        return "because this machine cannot measure for the others"
    if not deployment.clone_on_cpu:
        return "because others are measured on processors only"
    if len(precision.list_candidates()) == 1:
        return "because this processor has no instructions for bfloat16"
    budget = config.time_budget
    if budget is not None and budget.value < _LEAST_BUDGET_SECS:
        return f"because {budget} are too short to measure others first"
    steps = config.number_of_steps
    if steps is not None and steps < _LEAST_STEPS and not config.is_rehearsal:
        return f"because {steps} steps are too few to measure others first"
    return None


def _describe_step(config):
    """Returns what the duration of a step depends on, as a key."""
    spec = config.spec
    return "; ".join(
        [
            f"{processor.get_name()}, {os.cpu_count()} cores",
            f"TensorFlow {tf.version.VERSION}",
            f"{spec.model_name}, {config.optimizer.name}",
            f"{config.deployment.num_clones} x {config.batch_size} images",
            f"{spec.image_size} pixels, {spec.channels} channels",
            f"training {config.trainable_scopes or 'everything'}"
            + (" on features" if config.feature_copies else ""),
        ]
    )


def _time_in_turn(runs: Sequence[Callable[[], None]]) -> list[float]:
    """Returns the median seconds of each function, called in alternating blocks."""
    began = time.perf_counter()
    _time(runs[0], 1)  # Each first call optimizes the graph and compiles kernels.
    for run in runs[1:]:
        _time(run, 1)
    secs = [[_time(run, 1)] for run in runs]
    count = max(1, round(_LEAST_BLOCK_SECS / min(secs)[0]))
    for _ in range(_ROUNDS - 1):
        if _is_clear(secs) or time.perf_counter() - began > _MOST_SECS:
            break
        for run, times in zip(runs, secs, strict=True):
            times.append(_time(run, count))
    return [statistics.median(times) for times in secs]


def _is_clear(secs):
    """Returns whether one was faster at its slowest than all others at any time."""
    best, *others = sorted(secs, key=statistics.median)
    return len(best) > 1 and all(max(best) < min(times) for times in others)


def _time(run, count):
    started = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - started) / count


def _find_fastest(secs: Mapping[str, float]) -> Choice:
    best = min(secs, key=secs.get)
    if secs["float32"] * _LEAST_GAIN <= secs[best]:
        best = "float32"
    others = (
        f"{other:.3g} s in {name}" for name, other in secs.items() if name != best
    )
    return Choice(
        best, f"which takes {secs[best]:.3g} s per step here, not {', '.join(others)}"
    )


def _load_times() -> _StepTimes:
    """Returns the times of earlier trials; none if they cannot be read."""
    try:
        content = files.read_json(_get_cache_path())
        return checked_json.check({} if content is None else content, _StepTimes)
    except (OSError, ValueError):
        return {}


def _save_times(times: _StepTimes) -> None:
    """Keeps the newest times; without a folder for them, every run is a trial."""
    newest = dict(list(times.items())[-_MOST_ENTRIES:])
    path = _get_cache_path()
    try:
        files.make_folder(os.path.dirname(path))
        files.write_text(path, files.to_json(newest, indent=1) + "\n")
    except OSError as error:
        logging.info("The times of the trial are not kept: %s", error)


def _get_cache_path() -> str:
    return os.path.join(files.get_cache_folder(), _CACHE_FILE)
