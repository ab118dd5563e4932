"""Measures how many small faults in the code the tests find.

  python -m benchmarks.mutation_score --seed=0 --mutants=300 --jobs=2

Needs the extra `mutation`. Cosmic Ray's operators make the mutants: one place each,
sampled uniformly from the places that any operator can change, outside of type
annotations. Each mutant is written into a copy of the project and tested in stages,
until one fails:

1. the tests that mirror its module (tests/datasets for datasets/), those that import
   it first;
2. the other tests that depend on it;
3. with --thorough, both again with the tests marked slow.

A mutant is also killed by taking longer than `--time_factor` times what the same
tests take without it. Every mutant is tested in a fork of a process that has
TensorFlow loaded. Results go to `--output`, one JSON line each; a run that is
repeated goes on from there. At the end the score is printed, with the survivors.
"""

import argparse
import ast
import contextlib
import dataclasses
import difflib
import importlib
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Iterable, Iterator

import pytest

from benchmarks import test_dependencies

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACES = (
    "datasets",
    "preprocessing",
    "deployment",
    "tf_slim_compat.py",
    "slim_batch_norm.py",
    "slim_moving_averages.py",
)
# What tests load and a fork need not load again. Nothing of the project is among it.
PRELOADED = (
    "PIL.Image",
    "matplotlib",
    "numpy",
    "sklearn.metrics",
    "tensorflow",
    "tf_slim",
    "tqdm",
)
_EXTRA_SECS = 30
_NOT_SLOW = ("-m", "not slow")
_PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One changed place of one module.

    Attributes:
      module: path relative to the project.
      line: where the change is, from 1.
      column: where the change is, from 0.
      operator: name of the Cosmic Ray operator.
      occurrence: which of the operator's places in the module this is.
    """

    module: str
    line: int
    column: int
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}:{self.column} {self.operator}"

    def apply(self, source: str) -> str:
        """Returns the changed source."""
        from cosmic_ray import mutating, plugins

        operator = plugins.get_operator(self.operator)()
        return mutating.mutate_code(source, operator, self.occurrence)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
      killed_by: "stage 1: tests", "stage 2: time", ...; None if it survived.
      secs: how long its tests took.
      diff: the change.
    """

    killed_by: str | None
    secs: float
    diff: str


def list_modules() -> list[str]:
    """Returns the paths of all modules that are mutated, relative to the project."""
    found = []
    for place in PLACES:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [str(path.relative_to(ROOT)) for path in found]


def find_annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Returns where type annotations begin and end, as (line, column)."""
    nodes = []
    for node in ast.walk(ast.parse(source)):
        nodes.append(getattr(node, "annotation", None))
        nodes.append(getattr(node, "returns", None))
    return [
        ((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset))
        for n in nodes
        if n is not None
    ]


def list_mutants(module: str) -> Iterator[Mutant]:
    """Yields every mutant of a module."""
    from cosmic_ray import ast as syntax
    from cosmic_ray import plugins

    source = (ROOT / module).read_text()
    annotations = find_annotations(source)
    nodes = list(syntax.ast_nodes(syntax.get_ast(source)))
    for name in plugins.operator_names():
        operator_class = plugins.get_operator(name)
        if operator_class.arguments():
            continue  # Needs to be told names.
        operator = operator_class()
        starts = [start for n in nodes for start, _ in operator.mutation_positions(n)]
        for occurrence, start in enumerate(starts):
            if not any(begin <= start < end for begin, end in annotations):
                yield Mutant(module, *start, name, occurrence)


def sample_mutants(seed: int, count: int) -> list[Mutant]:
    """Returns mutants of `count` different places; a larger count begins alike."""
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for module in list_modules():
        for mutant in list_mutants(module):
            place = (mutant.module, mutant.line, mutant.column)
            places.setdefault(place, []).append(mutant)
    rng = random.Random(seed)
    order = sorted(places)
    rng.shuffle(order)
    return [rng.choice(places[place]) for place in order[:count]]


def describe(mutant: Mutant) -> str:
    """Returns the change as a unified diff."""
    source = (ROOT / mutant.module).read_text()
    lines = difflib.unified_diff(
        source.splitlines(),
        mutant.apply(source).splitlines(),
        f"a/{mutant.module}",
        f"b/{mutant.module}",
        lineterm="",
        n=1,
    )
    return "\n".join(lines)


def copy_project(folder: pathlib.Path) -> pathlib.Path:
    """Copies the project, without what is built or cached; returns the copy."""
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "build", "dist"
    )
    return pathlib.Path(shutil.copytree(ROOT, folder / "project", ignore=ignored))


def run_pytest(project: pathlib.Path, arguments: list[str], log: pathlib.Path) -> None:
    """Runs pytest in this process, which it ends with pytest's status."""
    os.setpgrp()  # What tests start ends with this process.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(project)
    sys.path[:] = [str(project), *(p for p in sys.path if p not in ("", str(ROOT)))]
    # Processes that tests spawn would import this module otherwise.
    sys.modules["__main__"] = types.ModuleType("__main__")
    # Bytecode is cached by the second, in which a file may change twice.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments]))


def run_tests(
    project: pathlib.Path, arguments: list[str], limit_secs: float | None
) -> tuple[int | None, float]:
    """Runs pytest in a fork.

    Returns:
      Its status, None when it took longer than the limit, and the seconds it took.
    """
    log = project.parent / "log.txt"
    began = time.monotonic()
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=run_pytest, args=(project, arguments, log))
    process.start()
    process.join(limit_secs)
    status = process.exitcode
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return status, time.monotonic() - began


class Tester:
    """Tests mutants in its own copy of the project."""

    def __init__(self, folder: pathlib.Path, thorough: bool, time_factor: float):
        self._project = copy_project(folder)
        self._thorough = thorough
        self._time_factor = time_factor
        self._limits: dict[tuple[str, ...], float] = {}
        self._dependencies = test_dependencies.read_dependencies(ROOT)

    def test(self, mutant: Mutant) -> Outcome:
        """Runs the stages until one kills the mutant."""
        began = time.monotonic()
        killed_by = None
        for number, stage in enumerate(self._list_stages(mutant.module), start=1):
            limit_secs = self._measure_limit(stage)
            with self._applied(mutant):
                status, _ = run_tests(self._project, stage, limit_secs)
            if status not in _PASSED:
                cause = "time" if status is None else "tests"
                killed_by = f"stage {number}: {cause}"
                break
        return Outcome(killed_by, time.monotonic() - began, describe(mutant))

    @contextlib.contextmanager
    def _applied(self, mutant: Mutant) -> Iterator[None]:
        path = self._project / mutant.module
        source = path.read_text()
        path.write_text(mutant.apply(source))
        try:
            yield
        finally:
            path.write_text(source)

    def _list_stages(self, module: str) -> list[list[str]]:
        mirror, others = self._dependencies.order_tests(module)
        stages = [[*_NOT_SLOW, *mirror], [*_NOT_SLOW, *others]]
        if self._thorough:
            stages += [["-m", "slow", *mirror], ["-m", "slow", *others]]
        return [stage for stage in stages if len(stage) > 2]

    def _measure_limit(self, stage: list[str]) -> float:
        key = tuple(stage)
        if key not in self._limits:
            status, secs = run_tests(self._project, stage, None)
            if status not in _PASSED:
                log = (self._project.parent / "log.txt").read_text()
                raise RuntimeError(f"Tests fail without a mutant:\n{log[-3000:]}")
            self._limits[key] = _EXTRA_SECS + self._time_factor * secs
        return self._limits[key]


def work(mutants: list[Mutant], options: argparse.Namespace) -> None:
    """Tests mutants one after another and appends their outcomes to the output."""
    with tempfile.TemporaryDirectory() as folder:
        tester = Tester(pathlib.Path(folder), options.thorough, options.time_factor)
        for mutant in mutants:
            outcome = tester.test(mutant)
            record = {"name": mutant.name, **dataclasses.asdict(outcome)}
            with open(options.output, "a") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{outcome.killed_by or 'SURVIVED'}: {mutant.name}", flush=True)


def read_outcomes(path: pathlib.Path) -> dict[str, Outcome]:
    """Returns what an output file has, by the mutant's name."""
    outcomes = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        record = json.loads(line)
        name = record.pop("name")
        outcomes[name] = Outcome(**record)
    return outcomes


def print_score(outcomes: Iterable[Outcome]) -> None:
    outcomes = list(outcomes)
    survivors = [outcome for outcome in outcomes if outcome.killed_by is None]
    for survivor in survivors:
        print(f"\n{survivor.diff}")
    killed = len(outcomes) - len(survivors)
    share = killed / len(outcomes) if outcomes else 0.0
    print(f"\n{killed} of {len(outcomes)} mutants were killed: {share:.1%}")


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--time_factor", type=float, default=5.0)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("build/mutants.jsonl")
    )
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_options()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("REFERENCE_DIR", str(ROOT.parent / "shared" / "reference"))
    os.environ.setdefault(
        "SATELLITE_DIR", str(ROOT.parent / "shared" / "data" / "satellite" / "train")
    )
    mutants = sample_mutants(options.seed, options.mutants)
    done = read_outcomes(options.output)
    left = [mutant for mutant in mutants if mutant.name not in done]
    print(f"{len(left)} of {len(mutants)} mutants are left to test", flush=True)
    for name in PRELOADED:
        importlib.import_module(name)
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=work, args=(left[job :: options.jobs], options))
        for job in range(options.jobs)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = read_outcomes(options.output)
    print_score(done[mutant.name] for mutant in mutants if mutant.name in done)
    sys.exit(max(worker.exitcode for worker in workers))


if __name__ == "__main__":
    main()
