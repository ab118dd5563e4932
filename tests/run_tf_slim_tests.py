"""Runs the tests of the installed tf_slim on top of tf_slim_compat.

    python tests/run_tf_slim_tests.py                        # every module
    python tests/run_tf_slim_tests.py learning_test nets.vgg_test
    python tests/run_tf_slim_tests.py --as_installed learning_test

Each module runs in its own process and prints one row of a table. The tests are older
than NumPy 2 and Python 3.12, so names that these removed are replaced in their source
(`REPLACEMENTS`) and every test still runs; `--as_installed` leaves the source as it is.
Tests that still fail are in `KNOWN_FAILURES` with the reason. The exit status is 1 if
any other test fails, or if a test in `KNOWN_FAILURES` passes.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import types
import unittest
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Patterns in the tests' source and their replacements: names that NumPy and Python have
# removed since, and a package that no longer installs.
REPLACEMENTS = [
    # NumPy 2.4: one-dimensional arrays do not convert to scalars.
    (r"int\(2 \* self\._labels\[i\]", "int(2 * self._labels[i, 0]"),
    # NumPy 2.3, 2.0 and 1.24.
    (r"\.tostring\(\)", ".tobytes()"),
    (r"\bnp\.product\b", "np.prod"),
    (r"\bnp\.(object|float)\b", r"\1"),
    # Python 3.12: aliases in unittest.
    (r"\bassertRaisesRegexp\b", "assertRaisesRegex"),
    (r"\bassertEquals\b", "assertEqual"),
    (r"from nose\.tools import nottest", "nottest = lambda function: function"),
]

KNOWN_FAILURES = {
    "evaluation_test": {
        "SingleEvaluationTest.testAdditionalHooks": "passes an argument to "
        "TensorFlow's debugging hook that it no longer has",
    },
    "layers.layers_test": {
        "DropoutTest.testCreateDropout": "expects tf.nn.dropout to end in a Mul "
        "node; TensorFlow ends it in SelectV2",
    },
    "metrics.classification_test": {
        "F1ScoreTest.testSomeCorrect": "expects seven decimals of a float32 quotient, "
        "which differs by 6e-8",
    },
    "metrics.metric_ops_test": {
        "CountTest.testReturnType": "expects the update to be a tensor or a reference "
        "variable; for resource variables it is neither",
    },
    "ops.variables_test": {
        "AssignFromCheckpointTest.testLoadPartitionedVariables": "tf_slim indexes an "
        "array with a list of slices, which NumPy has rejected since 1.23",
        "VariablesTest.testVariableWithReplicaDeviceSetter": "expects the device "
        "setter to name the CPU; TensorFlow leaves the device type open",
    },
}


class Outcome(NamedTuple):
    """The results of one test module.

    Attributes:
      passed: number of tests that passed, without skipped ones.
      failures: Class.method of each failed test to the last line of its error.
      secs: duration in seconds.
    """

    passed: int
    failures: dict[str, str]
    secs: float

    def unexpected(self, module: str) -> list[str]:
        """Returns failures that are not known, and known failures that now pass."""
        known = KNOWN_FAILURES.get(module, {})
        failed = [
            f"{name}: {error}"
            for name, error in self.failures.items()
            if name not in known
        ]
        fixed = [f"{name}: passes now" for name in known if name not in self.failures]
        return failed + fixed


def list_modules() -> list[str]:
    """Returns the names of tf_slim's test modules, such as "layers.layers_test"."""
    package = pathlib.Path(importlib.util.find_spec("tf_slim").origin).parent
    paths = sorted(package.rglob("*_test.py"))
    return [".".join(p.relative_to(package).with_suffix("").parts) for p in paths]


def run_modules(
    modules: Sequence[str], as_installed: bool = False
) -> dict[str, Outcome]:
    """Runs test modules, one after another in one new process.

    Args:
      modules: names within tf_slim.
      as_installed: whether to leave the source as it is.

    Returns:
      The outcome of each module, by its name.

    Raises:
      RuntimeError: if the process ended before the tests did.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [
            sys.executable,
            os.path.abspath(__file__),
            "--report",
            str(report),
            *modules,
        ]
        ended = subprocess.run(
            command + ["--as_installed"] * as_installed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Some tests look for checkpoints in the current folder.
            cwd=folder,
            env=os.environ | {"TMPDIR": folder},
        )
        if not report.exists():
            raise RuntimeError(
                f"The process of {', '.join(modules)} ended with status "
                f"{ended.returncode} before the tests did:\n{ended.stdout[-2000:]}"
            )
        outcomes = json.loads(report.read_text())
    return {module: Outcome(*values) for module, values in outcomes.items()}


def _import_module(name: str, as_installed: bool) -> types.ModuleType:
    spec = importlib.util.find_spec(name)
    source = pathlib.Path(spec.origin).read_text()
    if not as_installed:
        for pattern, replacement in REPLACEMENTS:
            source = re.sub(pattern, replacement, source)
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = spec.origin
    exec(compile(source, spec.origin, "exec"), vars(module))
    return module


def _run_here(module_name: str, as_installed: bool) -> Outcome:
    started = time.monotonic()
    module = _import_module(f"tf_slim.{module_name}", as_installed)
    result = unittest.TextTestRunner().run(
        unittest.defaultTestLoader.loadTestsFromModule(module)
    )
    failures = {
        ".".join(test.id().split(".")[-2:]): trace.strip().splitlines()[-1]
        for test, trace in result.failures + result.errors
    }
    passed = result.testsRun - len(result.skipped) - len(failures)
    return Outcome(passed, failures, time.monotonic() - started)


def _write_report(path: str, modules: Sequence[str], as_installed: bool) -> None:
    sys.path.insert(0, str(ROOT))
    import tf_slim_compat  # noqa: F401

    outcomes = {module: _run_here(module, as_installed) for module in modules}
    pathlib.Path(path).write_text(json.dumps(outcomes))


def _print_row(module: str, outcome: Outcome) -> int:
    """Prints the row of one module; returns the number of unexpected outcomes."""
    known = KNOWN_FAILURES.get(module, {}).keys() & outcome.failures.keys()
    failed = len(outcome.failures) - len(known)
    print(
        f"{module:36}{outcome.passed:8}{failed:8}{len(known):8}{outcome.secs:9.0f}",
        flush=True,
    )
    for name in sorted(known):
        print(f"    known: {name}: {KNOWN_FAILURES[module][name]}")
    unexpected = outcome.unexpected(module)
    for line in unexpected:
        print(f"    unexpected: {line}", flush=True)
    return len(unexpected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="such as layers.layers_test")
    parser.add_argument("--as_installed", action="store_true")
    parser.add_argument("--report", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.report:
        _write_report(args.report, args.modules, args.as_installed)
        return 0
    print(f"{'module':36}{'passed':>8}{'failed':>8}{'known':>8}{'seconds':>9}")
    unexpected = 0
    for module in args.modules or list_modules():
        outcomes = run_modules([module], args.as_installed)
        unexpected += _print_row(module, outcomes[module])
    return int(unexpected > 0)


if __name__ == "__main__":
    sys.exit(main())
