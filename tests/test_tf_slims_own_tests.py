"""The tests that come with tf_slim pass on current TensorFlow, but for known ones."""

import fnmatch

import pytest
import run_tf_slim_tests

# Patterns of modules that run in one process each; these take about equally long.
GROUPS = (
    ("losses.*", "metrics.*"),
    ("nets.inception*", "nets.overfeat*"),
    ("nets.alexnet*", "nets.resnet*", "nets.vgg*", "layers.*", "ops.*", "summaries*"),
    ("data.*", "evaluation*", "learning*", "training.*"),
)


def list_group(patterns):
    return [
        module
        for module in run_tf_slim_tests.list_modules()
        if any(fnmatch.fnmatch(module, pattern) for pattern in patterns)
    ]


def test_every_module_is_in_one_group():
    modules = sorted(module for group in GROUPS for module in list_group(group))
    assert modules == sorted(run_tf_slim_tests.list_modules())
    assert len(modules) == 35


@pytest.mark.slow
@pytest.mark.parametrize("patterns", GROUPS, ids=lambda patterns: patterns[0])
def test_they_pass(patterns):
    outcomes = run_tf_slim_tests.run_modules(list_group(patterns))
    assert all(outcome.passed for outcome in outcomes.values())
    unexpected = {m: outcome.unexpected(m) for m, outcome in outcomes.items()}
    assert not any(unexpected.values()), unexpected
