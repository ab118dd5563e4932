"""The text of --help, over all scripts."""

import re

import pytest
from script_runner import load_help

import slim_classifier
from deployment import flag_help

SCRIPTS = [f"{module}.py" for module in slim_classifier.COMMANDS.values()]


@pytest.fixture(scope="module", params=SCRIPTS)
def help_of_script(request):
    """The name of a script, its help, and the names of its flags."""
    return request.param, *load_help(request.param)


def test_help_lists_every_flag_once_under_a_theme(help_of_script):
    _, text, names = help_of_script
    listed = re.findall(r"^  --(?:\[no\])?(\w+)", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert names | {"verbosity"} == set(listed)
    assert f"{flag_help.UNGROUPED}:" not in text, "add the flag to flag_help.GROUPS"


def test_help_shows_usage_description_defaults_and_choices(help_of_script):
    script, text, _ = help_of_script
    assert text.startswith(f"usage: {script} [--flag=value ...]")
    assert max(map(len, text.splitlines())) <= 90
    if script == "train_image_classifier.py":
        assert "--class_weights=none|balanced\n      Weights of the classes" in text
        assert "--batch_size=INTEGER|auto\n      Images per batch" in text
        assert "in proportion. (default: 32)" in " ".join(text.split())
        assert "--[no]dry_run" in text
        assert "repeat this option" not in text


def test_every_flag_has_one_group():
    names = [name for names in flag_help.GROUPS.values() for name in names.split()]
    assert len(names) == len(set(names))
    assert flag_help.group_flags(["seed", "new", "labels"]) == {
        "Data": ["labels"],
        "Run": ["seed"],
        flag_help.UNGROUPED: ["new"],
    }
