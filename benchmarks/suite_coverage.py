"""Records which tests run which lines, to select the tests for a changed line.

  python -m benchmarks.suite_coverage --output=build/suite_coverage

runs the suite once under coverage.py, also in the processes that tests start. Lines
that run only inside a function that TensorFlow's AutoGraph has rewritten are not seen.
"""

import argparse
import ast
import collections
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import coverage
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Whose lines are recorded.
PLACES = (
    "datasets",
    "preprocessing",
    "deployment",
    "tf_slim_compat",
)
_DATA, _DURATIONS = "coverage.sqlite", "durations.json"
_PHASE = re.compile(r"(?P<test>.*) \((?P<phase>setup|call|teardown)\)", re.DOTALL)
# Tests of how the project is built, which no changed line of code should fail.
_STRUCTURAL = ("tests/test_floors.py", "tests/test_setup.py")
# Tests of names and defaults, which are what runs at import.
_CONTRACT = "tests/test_contract.py"

_SETTINGS = """\
[run]
include = {patterns}
data_file = {folder}/{data}
parallel = true
concurrency = multiprocessing, thread
context = ${{PYTEST_CURRENT_TEST-}}
"""


@dataclasses.dataclass(frozen=True)
class Records:
    """What a run of the suite has shown.

    Attributes:
      durations: seconds of each phase of each test, with the fixtures it was the first
        to need.
      contexts: for each file, relative to the project, and each line that ran, the
        tests with the phase, as in "tests/test_a.py::test_b (call)"; "" at import.
    """

    durations: Mapping[str, Mapping[str, float]]
    contexts: Mapping[str, Mapping[int, list[str]]]

    def select_tests(
        self, module: str, lines: range, budget_secs: float
    ) -> tuple[list[str], float]:
        """Returns the tests to run for changed lines, and the seconds that they take.

        These are the tests that run one of the lines, the module's own first and then
        the shortest. Where a line runs at import or was not seen, the tests of the
        contract and those that run any other line of the module come after them.

        Args:
          module: path relative to the project.
          lines: line numbers, from 1.
          budget_secs: once this is used up, no more tests are taken.
        """
        by_line = self.contexts.get(module, {})
        contexts = {c for line in lines for c in by_line.get(line, ())}
        groups = [self._find_tests(contexts)]
        if not contexts or "" in contexts:
            groups.append(self._tests_by_file[_CONTRACT])
            groups.append(self._find_tests(c for cs in by_line.values() for c in cs))
        chosen: dict[str, float] = {}
        files: set[str] = set()
        own_file = _name_test_file(module)
        for group in groups:
            costs = {test: self._measure(test) for test in group}
            order = {t: (not t.startswith(own_file), sum(costs[t])) for t in group}
            for test in sorted(order, key=order.__getitem__):
                if test in chosen:
                    continue
                file = test.partition("::")[0]
                call, setup = costs[test]
                secs = call if file in files else call + setup
                if chosen and sum(chosen.values()) + secs > budget_secs:
                    continue
                chosen[test] = secs
                files.add(file)
        return list(chosen), sum(chosen.values())

    def _find_tests(self, contexts: Iterable[str]) -> set[str]:
        """Returns the tests that run a line, or may use a fixture that runs it."""
        found = set()
        for context in contexts:
            match = _PHASE.fullmatch(context)
            if match is None or match["test"].startswith(_STRUCTURAL):
                continue
            if match["phase"] == "setup":
                found.update(self._tests_by_file[match["test"].partition("::")[0]])
            elif match["test"] in self.durations:
                found.add(match["test"])
        return found

    def _measure(self, test: str) -> tuple[float, float]:
        """Returns the seconds of a test, and at most how many of its fixtures."""
        setup = self._longest_setups[test.partition("::")[0]]
        return self.durations[test].get("call", 0.0), setup

    @functools.cached_property
    def _tests_by_file(self) -> dict[str, list[str]]:
        tests = collections.defaultdict(list)
        for test in self.durations:
            tests[test.partition("::")[0]].append(test)
        return tests

    @functools.cached_property
    def _longest_setups(self) -> dict[str, float]:
        return {
            file: max(self.durations[test].get("setup", 0.0) for test in tests)
            for file, tests in self._tests_by_file.items()
        }


def _name_test_file(module: str) -> str:
    path = pathlib.PurePosixPath(module)
    return str("tests" / path.with_name(f"test_{path.name}"))


def find_statement(source: str, line: int) -> range:
    """Returns the lines of the innermost statement at a line.

    Of a compound statement they are those of its header.
    """
    best = range(line, line + 1)
    shortest = None
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt):
            continue
        body = getattr(node, "body", None)
        end = body[0].lineno if body else node.end_lineno + 1
        lines = range(node.lineno, max(end, node.lineno + 1))
        if line in lines and (shortest is None or len(lines) < shortest):
            best, shortest = lines, len(lines)
    return best


def read_records(folder: pathlib.Path) -> Records:
    """Reads what a run of the suite has written."""
    record = json.loads((folder / _DURATIONS).read_text())
    data = coverage.CoverageData(str(folder / _DATA))
    data.read()
    root = pathlib.PurePath(record["root"])
    contexts = {
        str(pathlib.PurePath(path).relative_to(root)): data.contexts_by_lineno(path)
        for path in data.measured_files()
    }
    return Records(record["durations"], contexts)


def record_suite(folder: pathlib.Path, jobs: int, tests: Sequence[str] = ()) -> None:
    """Runs tests under coverage.py and writes what they show into a folder.

    Args:
      folder: where to write; what it contains is removed.
      jobs: number of processes.
      tests: files or folders; by default the whole suite.
    """
    shutil.rmtree(folder, ignore_errors=True)
    startup = folder.resolve() / "startup"
    startup.mkdir(parents=True)
    (startup / "sitecustomize.py").write_text(
        "import coverage\n\ncoverage.process_startup()\n"
    )
    patterns = (f"{ROOT / p}{'' if p.endswith('.py') else '/*'}" for p in PLACES)
    settings = folder.resolve() / "coveragerc"
    settings.write_text(
        _SETTINGS.format(
            patterns=", ".join(patterns), folder=folder.resolve(), data=_DATA
        )
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(startup), os.environ.get("PYTHONPATH")])
        ),
        "COVERAGE_PROCESS_START": str(settings),
        "TEST_DURATIONS": str(folder.resolve() / _DURATIONS),
    }
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "benchmarks.suite_coverage"]
        + ["-n", str(jobs), "--dist", "loadfile", *tests],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    combined = coverage.Coverage(config_file=str(settings))
    combined.combine([str(folder)], keep=False)
    combined.save()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item) -> None:
    _switch_context(f"{item.nodeid} (setup)")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item) -> None:
    _switch_context(f"{item.nodeid} (call)")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item) -> None:
    _switch_context(f"{item.nodeid} (teardown)")


def _switch_context(name: str) -> None:
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.switch_context(name)


_durations: dict[str, dict[str, float]] = collections.defaultdict(dict)


def pytest_runtest_logreport(report) -> None:
    _durations[report.nodeid][report.when] = report.duration


def pytest_sessionfinish(session) -> None:
    """Saves what a worker measured; the controller writes the durations."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.save()
    if not hasattr(session.config, "workerinput"):
        path = pathlib.Path(os.environ["TEST_DURATIONS"])
        path.write_text(json.dumps({"root": str(ROOT), "durations": _durations}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, default="build/suite_coverage")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("tests", nargs="*", help="Files or folders (default: all).")
    options = parser.parse_args()
    record_suite(options.output, options.jobs, options.tests)


if __name__ == "__main__":
    main()
