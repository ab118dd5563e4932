"""How inspections are printed: tables in plain text."""


def format_table(header, rows, right=()):
    """Columns side by side, two blanks apart.

    Args:
      header: list of str.
      rows: list of lists of str, as long as the header.
      right: numbers of the columns that are aligned on the right.

    Returns:
      str of several lines, the second of dashes.
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def format_bytes(count):
    """Such as "434.7 MB" (a million bytes each)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def format_millions(count):
    """Such as "25.6 M", "5.7 G" or "650"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def format_shape(shape):
    """Such as "[3, 3, 32, 64]"; "?" for what is unknown."""
    if shape is None:
        return "?"
    return "[" + ", ".join("?" if n in (None, -1) else str(n) for n in shape) + "]"


def shorten(names, count=4):
    """The first few of many names, with how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def format_count(count, noun):
    """Such as "1 variable" or "2,000 variables"."""
    return f"{count:,} {noun}" + ("s" if count != 1 else "")
