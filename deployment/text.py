"""Plain text for the terminal: tables, units, lists of names."""

import difflib
from collections.abc import Collection, Iterable, Sequence


def format_table(
    header: Sequence[str] | None,
    rows: Iterable[Sequence[str]],
    right: Collection[int] = (),
    rule: bool = True,
) -> str:
    """Returns a table as text, its columns two spaces apart.

    Args:
      header: the column titles; None for a table without titles.
      rows: the cells, as many in each row as there are columns. A row of empty cells
        gives an empty line.
      right: indices of the columns to align on the right.
      rule: whether a line of dashes follows the header.

    Returns:
      The lines, joined by newlines; "" if there are none.
    """
    lines = [list(row) for row in rows]
    if header is not None:
        lines.insert(0, list(header))
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
