"""Measures how many small faults in the code the tests find.

  python -m benchmarks.suite_coverage --output=build/suite_coverage
  python -m benchmarks.mutation_score --seed=0 --mutants=300 --jobs=2

Needs the extra `mutation`. Cosmic Ray's operators make the mutants: one place each,
sampled uniformly from the places that any operator can change, outside of type
annotations. Each mutant is written into a copy of the project and tested, until one
fails, by the tests that run the changed statement, which the recorded coverage tells:
those of the module itself first, then the shortest, for at most `--budget_secs` of
recorded time.

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

from benchmarks import suite_coverage

ROOT = pathlib.Path(__file__).resolve().parent.parent
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
      killed_by: "tests", "time" or None if it survived.
      tests: how many were selected.
      secs: how long they took.
      diff: the change.
    """

    killed_by: str | None
    tests: int
    secs: float
    diff: str


def list_modules() -> list[str]:
    """Returns the paths of all modules that are mutated, relative to the project."""
    found = []
    for place in suite_coverage.PLACES:
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
) -> int | None:
    """Runs pytest in a fork; returns its status, None where it exceeds the limit."""
    log = project.parent / "log.txt"
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=run_pytest, args=(project, arguments, log))
    process.start()
    process.join(limit_secs)
    status = process.exitcode
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return status


class Tester:
    """Tests mutants in its own copy of the project."""

    def __init__(self, folder: pathlib.Path, options: argparse.Namespace):
        self._project = copy_project(folder)
        self._records = suite_coverage.read_records(options.coverage)
        self._options = options

    def test(self, mutant: Mutant) -> Outcome:
        """Runs the tests that may kill the mutant, until one does."""
        source = (ROOT / mutant.module).read_text()
        lines = suite_coverage.find_statement(source, mutant.line)
        tests, secs = self._records.select_tests(
            mutant.module, lines, self._options.budget_secs
        )
        began = time.monotonic()
        killed_by = None
        if tests:
            limit_secs = _EXTRA_SECS + self._options.time_factor * secs
            with self._applied(mutant):
                status = run_tests(self._project, tests, limit_secs)
            if status == pytest.ExitCode.USAGE_ERROR:
                self._check_names(tests)
            if status not in _PASSED:
                killed_by = "time" if status is None else "tests"
        secs = time.monotonic() - began
        return Outcome(killed_by, len(tests), secs, describe(mutant))

    def _check_names(self, tests: list[str]) -> None:
        """Raises RuntimeError where tests are not found, even without a mutant."""
        arguments = ["--collect-only", *tests]
        if run_tests(self._project, arguments, None) != pytest.ExitCode.OK:
            raise RuntimeError("The recorded tests are of another state; record anew.")

    @contextlib.contextmanager
    def _applied(self, mutant: Mutant) -> Iterator[None]:
        path = self._project / mutant.module
        source = path.read_text()
        path.write_text(mutant.apply(source))
        try:
            yield
        finally:
            path.write_text(source)


def work(mutants: list[Mutant], options: argparse.Namespace) -> None:
    """Tests mutants one after another and appends their outcomes to the output."""
    with tempfile.TemporaryDirectory() as folder:
        tester = Tester(pathlib.Path(folder), options)
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
    parser.add_argument("--budget_secs", type=float, default=60.0)
    parser.add_argument(
        "--coverage", type=pathlib.Path, default=pathlib.Path("build/suite_coverage")
    )
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
