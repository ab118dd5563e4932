"""Runs tf_slim's own tests, from the installed package, on top of tf_slim_compat.

    python tests/run_tf_slim_tests.py                        # every module
    python tests/run_tf_slim_tests.py learning_test nets.vgg_test
    python tests/run_tf_slim_tests.py --as_installed learning_test

Each module runs in a process of its own and gives one row of a table. The tests are
older than NumPy 2 and Python 3.12, so their source is read with today's spellings
(`RESPELLINGS`) and every test still tests something; `--as_installed` reads it as it
is. What fails all the same is in `KNOWN_FAILURES` with its reason. The exit status is 1
when anything else fails, or when something listed there passes.
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
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Patterns in the tests' source and what stands for them: what NumPy and Python took
# away since, and a package that no longer installs.
RESPELLINGS = [
    # NumPy 2.4: an array of one dimension does not become a scalar.
    (r"int\(2 \* self\._labels\[i\]", "int(2 * self._labels[i, 0]"),
    # NumPy 2.3, 2.0 and 1.24.
    (r"\.tostring\(\)", ".tobytes()"),
    (r"\bnp\.product\b", "np.prod"),
    (r"\bnp\.(object|float)\b", r"\1"),
    # Python 3.12: unittest's second names.
    (r"\bassertRaisesRegexp\b", "assertRaisesRegex"),
    (r"\bassertEquals\b", "assertEqual"),
    (r"from nose\.tools import nottest", "nottest = lambda function: function"),
]

KNOWN_FAILURES = {
    "evaluation_test": {
        "SingleEvaluationTest.testAdditionalHooks": "gives TensorFlow's debugging hook "
        "an argument that it no longer has",
    },
    "layers.layers_test": {
        "DropoutTest.testCreateDropout": "expects that tf.nn.dropout ends in a node "
        "Mul; TensorFlow ends it in SelectV2",
    },
    "layers.rev_block_lib_test": {
        "RecomputeTest.testWithIsRecomputeKwarg": "calls TensorFlow's own "
        "batch_normalization layer, which needs a module that no Keras release has",
    },
    "metrics.classification_test": {
        "F1ScoreTest.testSomeCorrect": "expects seven decimals of a float32 quotient; "
        "it differs by 6e-8",
    },
    "metrics.metric_ops_test": {
        "CountTest.testReturnType": "expects the update to be a tensor or a reference "
        "variable; of a resource variable it is neither (passes without them)",
    },
    "ops.variables_test": {
        "AssignFromCheckpointTest.testLoadPartitionedVariables": "tf_slim indexes an "
        "array with a list of slices, which NumPy refuses since 1.23",
        "VariablesTest.testVariableWithReplicaDeviceSetter": "expects that the device "
        "setter names the CPU; TensorFlow leaves the device's type open",
    },
}


class Outcome(NamedTuple):
    """What came of one module: `failures` maps Class.method to the error's last line.

    `passed` counts tests; skipped ones are left out of both.
    """

    passed: int
    failures: dict[str, str]
    seconds: float

    def unexpected(self, module):
        """Returns failures that are not known, and known ones that did not happen."""
        known = KNOWN_FAILURES.get(module, {})
        failed = [
            f"{name}: {error}"
            for name, error in self.failures.items()
            if name not in known
        ]
        mended = [f"{name}: passes now" for name in known if name not in self.failures]
        return failed + mended


def list_modules():
    """Returns the names of tf_slim's test modules, such as "layers.layers_test"."""
    package = pathlib.Path(importlib.util.find_spec("tf_slim").origin).parent
    paths = sorted(package.rglob("*_test.py"))
    return [".".join(p.relative_to(package).with_suffix("").parts) for p in paths]


def run_module(module, as_installed=False):
    """Runs one test module in a process of its own.

    Args:
      module: its name below tf_slim.
      as_installed: whether to leave the source as it is.

    Returns:
      An `Outcome`.

    Raises:
      RuntimeError: if the process ended before the tests did.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [sys.executable, __file__, "--report", str(report), module]
        ended = subprocess.run(
            command + ["--as_installed"] * as_installed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": folder},
        )
        if not report.exists():
            raise RuntimeError(
                f"tf_slim.{module} ended with status {ended.returncode} before its "
                f"tests did:\n{ended.stdout[-2000:]}"
            )
        passed, failures = json.loads(report.read_text())
    return Outcome(passed, failures, time.monotonic() - started)


def _import_module(name, as_installed):
    spec = importlib.util.find_spec(name)
    source = pathlib.Path(spec.origin).read_text()
    if not as_installed:
        for pattern, replacement in RESPELLINGS:
            source = re.sub(pattern, replacement, source)
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = spec.origin
    exec(compile(source, spec.origin, "exec"), vars(module))
    return module


def _run_here(module_name, as_installed, report):
    sys.path.insert(0, str(ROOT))
    import tf_slim_compat  # noqa: F401

    module = _import_module(f"tf_slim.{module_name}", as_installed)
    result = unittest.TextTestRunner().run(
        unittest.defaultTestLoader.loadTestsFromModule(module)
    )
    failures = {
        ".".join(test.id().split(".")[-2:]): trace.strip().splitlines()[-1]
        for test, trace in result.failures + result.errors
    }
    passed = result.testsRun - len(result.skipped) - len(failures)
    pathlib.Path(report).write_text(json.dumps([passed, failures]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="such as layers.layers_test")
    parser.add_argument("--as_installed", action="store_true")
    parser.add_argument("--report", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.report:
        return _run_here(args.modules[0], args.as_installed, args.report)
    surprises = 0
    print(f"{'module':36}{'passed':>8}{'failed':>8}{'known':>8}{'seconds':>9}")
    for module in args.modules or list_modules():
        outcome = run_module(module, args.as_installed)
        known = KNOWN_FAILURES.get(module, {}).keys() & outcome.failures.keys()
        failed = len(outcome.failures) - len(known)
        print(
            f"{module:36}{outcome.passed:8}{failed:8}{len(known):8}"
            f"{outcome.seconds:9.0f}",
            flush=True,
        )
        for name in sorted(known):
            print(f"    known: {name}: {KNOWN_FAILURES[module][name]}")
        for line in outcome.unexpected(module):
            print(f"    unexpected: {line}", flush=True)
            surprises += 1
    return int(surprises > 0)


if __name__ == "__main__":
    sys.exit(main())
