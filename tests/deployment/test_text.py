"""Tables, nearest names and units as text."""

import pytest

from deployment import text


def test_a_table_aligns_its_columns():
    table = text.format_table(["a", "b"], [["long", "1"], ["x", "22"]], {1})
    assert table == "a      b\n----  --\nlong   1\nx     22"


def test_a_table_without_rule_or_header():
    rows = [["long", "1"], ["", ""], ["x", "22"]]
    assert text.format_table(["a", "b"], rows, rule=False) == (
        "a     b\nlong  1\n\nx     22"
    )
    assert text.format_table(None, rows, right=(0,)) == "long  1\n\n   x  22"
    assert text.format_table(None, []) == ""
    assert text.format_table(["a", "b"], []) == "a  b\n-  -"


def test_rows_of_different_lengths_are_an_error():
    with pytest.raises(ValueError):
        text.format_table(["a", "b"], [["1"]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Net/Con/weights", ["Net/Conv/weights", "net/logits/weights"]),
        ("logits", ["net/logits/weights"]),
        ("GLOBAL_STEP", ["global_step"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_nearest_names(name, expected):
    known = ["global_step", "Net/Conv/weights", "net/logits/weights"]
    assert text.nearest(name, known) == expected


def test_nearest_names_are_as_many_and_as_similar_as_asked_for():
    known = ["resnet_50", "resnet_101", "resnet_152", "vgg"]
    assert text.nearest("resnet_51", known, n=1) == ["resnet_50"]
    assert text.nearest("resnet_51", known, cutoff=0.95) == []
    assert text.nearest("resnet", known, cutoff=1) == known[:3]
    assert text.nearest("A", ["a", "A"]) == ["a", "A"]


def test_an_unknown_name_is_answered_with_the_nearest_then_all():
    known = ["classification", "regression"]
    assert text.unknown("task", "regresion", known) == (
        "Unknown task 'regresion'. Nearest: regression. All: classification, "
        "regression."
    )
    assert text.unknown("task", "x", known) == (
        "Unknown task 'x'. All: classification, regression."
    )


def test_numbers_are_readable():
    assert text.format_bytes(553_446_564) == "553.4 MB"
    assert text.format_bytes(1_000_000) == "1.0 MB"
    assert text.format_bytes(999_999) == "1000.0 kB"
    assert text.format_bytes(12) == "12 bytes"
    assert text.format_millions(5_713_216_096) == "5.7 G"
    assert text.format_shape([None, -1, 3]) == "[?, ?, 3]"
    assert text.format_shape(None) == "?"
    assert text.format_count(1, "image") == "1 image"
    assert text.format_count(2000, "image") == "2,000 images"
    assert text.shorten("abcdef", 4) == "a, b, c, d and 2 more"


def test_a_terminal_gets_no_control_and_no_direction_changing_characters():
    assert text.printable("Übung 草 \u200d👩‍🔬") == "Übung 草 \u200d👩‍🔬"
    assert text.printable("a\udcff\nb\x1b[2J\x9b\x7f") == (
        r"a\udcff\nb\u001b[2J\u009b\u007f"
    )
    assert text.printable("cat\u202egpj.exe\u2066\u200f\u061c\u2028") == (
        r"cat\u202egpj.exe\u2066\u200f\u061c\u2028"
    )
    assert text.printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
    table = text.format_table(["\x1b[0m"], [["a\tb"]])
    assert table == "\\u001b[0m\n---------\na\\tb"


def test_a_spreadsheet_gets_no_formulas():
    for start in ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"):
        assert text.csv_cell(f"{start}a(1)") == f"'{start}a(1)"
    for value in ("a=1", "-0.5", "+1e-3", "", "'=1", -1.5, -1, None):
        assert text.csv_cell(value) is value


@pytest.mark.parametrize(
    "message",
    [
        "disk full",
        "Graph execution error:\n\nNode: 'a'\ndisk full\n\t [[{{node a}}]]",
        "\n=====================\ndisk full\n=====================\n\t [[{{node a}}]]",
    ],
)
def test_the_cause_in_a_message_of_tensorflow(message):
    assert text.find_cause(message) == "disk full"
