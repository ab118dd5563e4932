"""Plain text for the terminal: tables, units, lists of names."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

# Control characters, line separators, marks and overrides of the direction of writing,
# and what is not valid Unicode.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What makes a spreadsheet take a cell for a formula, also in full width (OWASP, "CSV
# injection").
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def printable(text: str, keep: str = "") -> str:
    """Escapes control and direction-changing characters, as JSON escapes them.

    A terminal would obey them, and show something else than the text says.

    Args:
      text: any text, such as the name of a file.
      keep: control characters that stay.
    """

    def escape(match):
        character = match[0]
        if character in keep:
            return character
        return _SHORT_ESCAPES.get(character) or f"\\u{ord(character):04x}"

    return _UNPRINTABLE.sub(escape, text)


def find_cause(message: str) -> str:
    """Returns the line of a TensorFlow error's message that says what went wrong."""
    # It comes before the name of the node; rules are between errors of several servers.
    lines = message.split(" [[{{node")[0].split("\n")
    return next(
        (line.strip() for line in reversed(lines) if line.strip("= \t")), message
    )


def csv_cell(value: Any) -> Any:
    """Returns a value for a CSV file that a spreadsheet does not run as a formula.

    Text that begins like a formula gets an apostrophe in front, unless it is a number.
    Numbers and other text do not change.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def format_table(
    header: Sequence[str] | None,
    rows: Iterable[Sequence[str]],
    right: Collection[int] = (),
    rule: bool = True,
) -> str:
    """Returns a table as text, its columns two spaces apart.

    Args:
      header: the column titles; None for a table without titles.
      rows: the cells, as many in each row as there are columns, which are made
        `printable`. A row of empty cells gives an empty line.
      right: indices of the columns to align on the right.
      rule: whether a line of dashes follows the header.

    Returns:
      The lines, joined by newlines; "" if there are none.
    """
    lines = [list(row) for row in rows]
    if header is not None:
        lines.insert(0, list(header))
    lines = [list(map(printable, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if header is not None and rule:
        lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def nearest(
    name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.6
) -> list[str]:
    """Returns the known names that a mistyped name most likely stands for.

    Similar names come first, the most similar in front; then, up to `n`, names that
    contain `name`, the shortest in front. Upper and lower case are the same.

    Args:
      name: what the user typed.
      known: the names that exist.
      n: return at most this many.
      cutoff: the least similarity, from 0 to 1, as in `difflib.get_close_matches`.
    """
    wanted = str(name).lower()
    if not wanted:
        return []
    spellings = {}
    for spelling in known:
        spellings.setdefault(spelling.lower(), []).append(spelling)
    similar = difflib.get_close_matches(wanted, spellings, n, cutoff)
    containing = sorted((low for low in spellings if wanted in low), key=len)
    chosen = dict.fromkeys([*similar, *containing])
    return [spelling for low in chosen for spelling in spellings[low]][:n]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns an error message for a name that does not exist.

    Args:
      kind: what the name stands for, such as "optimizer".
      name: what the user typed.
      known: the names that exist.

    Returns:
      For example "Unknown task 'clasification'. Nearest: classification. All:
      classification, multilabel, regression."
    """
    known = list(known)
    near = nearest(name, known)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return f"Unknown {kind} {name!r}.{hint} All: {', '.join(known)}."


def format_bytes(count: int) -> str:
    """Returns a number of bytes in decimal units, such as "434.7 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def format_millions(count: int) -> str:
    """Returns a large number with a unit, such as "25.6 M", "5.7 G" or "650"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def format_shape(shape: Iterable[int | None] | None) -> str:
    """Returns a shape such as "[3, 3, 32, 64]", with "?" for unknown dimensions.

    Args:
      shape: the dimensions, None or -1 where unknown; None for an unknown rank.
    """
    if shape is None:
        return "?"
    return "[" + ", ".join("?" if n in (None, -1) else str(n) for n in shape) + "]"


def shorten(names: Iterable[str], count: int = 4) -> str:
    """Returns the first `count` names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def format_count(count: int, noun: str) -> str:
    """Returns a count with its noun, such as "1 variable" or "2,000 variables"."""
    return f"{count:,} {noun}" + ("s" if count != 1 else "")
