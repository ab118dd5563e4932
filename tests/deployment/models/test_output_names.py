"""Names of outputs match the outputs exactly, and those recorded in training."""

import pytest

from deployment.models import output_names

NAMES = {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize(
    ("labels", "num_outputs", "offset", "expected"),
    [
        (NAMES, 3, 0, ("a", "b", "c")),
        (NAMES, 2, 1, ("b", "c")),
        # Names of the outputs themselves, as export writes them.
        (NAMES, 3, 1, ("a", "b", "c")),
        # Without a name for the background.
        ({1: "b", 2: "c"}, 2, 1, ("b", "c")),
    ],
)
def test_one_name_for_each_output(labels, num_outputs, offset, expected):
    found = output_names.from_labels(labels, num_outputs, offset, "labels.txt")
    assert found == expected


@pytest.mark.parametrize(
    ("labels", "num_outputs", "said"),
    [
        (NAMES, 4, "has 4 outputs, but labels.txt lists 3 names: give the names"),
        (NAMES, 2, "lists 3 names: .* or --labels_offset=1 if the first"),
        (NAMES, 1, "has 1 outputs, but labels.txt lists 3 names"),
        ({0: "a", 2: "c"}, 2, "names 2 labels, but not label 1"),
    ],
)
def test_other_numbers_of_names_are_errors(labels, num_outputs, said):
    with pytest.raises(ValueError, match=said):
        output_names.from_labels(labels, num_outputs, 0, "labels.txt")


def test_contradictions_show_the_first_difference():
    def check(given, known):
        output_names.check_same(given, known, "labels.txt", "run.json")

    check(("a", "b"), ("a", "b"))
    check(("a", "b"), ("0", "1"))  # Numbers in place of names.
    for given, known in ((("a", "c", "b"), ("a", "b", "c")), (("1", "0"), ("0", "1"))):
        position = next(i for i, name in enumerate(given) if name != known[i])
        said = (
            f"labels.txt calls output {position} {given[position]!r}, but run.json "
            f"calls it {known[position]!r}: .*--ignore_run_card"
        )
        with pytest.raises(ValueError, match=said):
            check(given, known)
