"""What was mended while a program of TensorFlow 1 ran."""

_lines: dict[str, str] = {}


def note(what: str, how: str) -> None:
    """Remembers, once, what was mended and how."""
    _lines.setdefault(what, how)


def make_report() -> str:
    """Returns what was mended, a line each."""
    lines = [f"  {what} {how}" for what, how in _lines.items()]
    return "\n".join(["Mended by tf_slim_compat:", *lines])
