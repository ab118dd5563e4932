"""The harness of damaged files: a few cases of each group, and faults that it finds."""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import pathlib
import sys
from unittest import mock

import pytest

from tests.fuzz import __main__ as main_module
from tests.fuzz import cases, outcomes, planted, targets
from tests.fuzz.children import Lab

# Targets of this weight or more call a function instead of a command.
_DIRECT = 4
_NUM_CASES = 8
_MANY_MINUTES = 1e6


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(str(tmp_path_factory.mktemp("fuzz")), hang_secs=600)
    lab.make_samples()
    return lab


def describe_failures(found):
    return [dataclasses.asdict(o) for o in found if o.is_failure]


@pytest.mark.parametrize("name", targets.GROUPS)
def test_damaged_files_are_refused_or_have_no_effect(lab, name):
    group = targets.GROUPS[name]
    numbers = (n for n in itertools.count() if is_direct(group, n))
    found = list(lab.run_numbers(name, 0, itertools.islice(numbers, _NUM_CASES)))
    assert len(found) == _NUM_CASES
    assert not describe_failures(found)


def is_direct(group, number):
    target = cases.get_target(group, number)
    return target.weight >= min(_DIRECT, max(t.weight for t in group))


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.GROUPS)
def test_commands_refuse_damaged_files(lab, name):
    count = len(targets.GROUPS[name])  # The first turn of each.
    found = list(lab.run(name, 1, count, _MANY_MINUTES))
    assert len(found) == count
    assert not describe_failures(found)


def test_a_number_always_damages_the_same_file_alike(lab):
    samples = os.path.join(lab.folder, "samples")
    for name, group in targets.GROUPS.items():
        plans = [
            [cases.plan(group, name, 5, number, samples) for number in range(25)]
            for _ in range(2)
        ]
        assert plans[0] == plans[1]
        assert plans[0] != [cases.plan(group, name, 6, n, samples) for n in range(25)]


@pytest.mark.slow
def test_samples_are_the_same_in_every_run(lab, tmp_path):
    other = Lab(str(tmp_path))
    other.make_samples()
    contents = [
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in pathlib.Path(folder).rglob("*")
            if path.is_file()
        }
        for folder in (f"{lab.folder}/samples", f"{tmp_path}/samples")
    ]
    assert list(contents[0]) == list(contents[1])
    changed = [name for name in contents[0] if contents[0][name] != contents[1][name]]
    assert not changed


def test_planted_faults_are_reported_as_what_they_are(lab):
    sick = dataclasses.replace(
        lab, module="tests.fuzz.planted", memory_mb=planted.ALLOCATED_MB
    )
    group = planted.GROUPS["faults"]
    found = list(sick.run("faults", 0, len(group), _MANY_MINUTES))
    assert [o.kind for o in found] == [target.name for target in group]
    impatient = dataclasses.replace(sick, hang_secs=1)
    found += impatient.run("hangs", 0, 1, _MANY_MINUTES)
    assert found[-1].kind == outcomes.HANG
    for outcome in found:
        case = f"{outcome.group}-{outcome.seed}-{outcome.number}"
        folder = pathlib.Path(lab.folder, "failures", case)
        assert folder.exists() == outcome.is_failure
        if outcome.is_failure:
            command = f"tests.fuzz --group={outcome.group} --case={outcome.case}"
            assert command in (folder / "case.txt").read_text()
            assert (folder / "labels.txt").exists()
    assert json.loads(outcomes.to_json(found))["counts"]["hangs"] == {"hang": 1}


@pytest.mark.parametrize(("reader", "status"), [("crash", 1), ("refused", 0)])
def test_the_exit_status_tells_of_failures(reader, status, lab, capsys):
    names = [target.name for target in planted.GROUPS["faults"]]
    case = f"0:{names.index(reader)}"
    sick = dataclasses.replace(lab, module="tests.fuzz.planted")
    argv = ["fuzz", "--group=faults", f"--case={case}", f"--output_dir={lab.folder}"]

    def list_groups(_):
        return {"faults": lambda *arguments: sick.run("faults", *arguments)}

    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(main_module, "list_groups", list_groups),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        assert main_module.main() == status
    printed = capsys.readouterr().out
    assert reader in printed and (f"--case={case}" in printed) == bool(status)
