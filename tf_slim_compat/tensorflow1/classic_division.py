"""Division as in Python 2, where `/` of integers gives an integer."""

import ast
import builtins
import io
import re
import tokenize
from typing import Any

import numpy as np

from tf_slim_compat import tf

_IS_TRUE = re.compile(r"^from\s+__future__\s+import\b[^#]*?\bdivision\b", re.MULTILINE)
_NAME = "__divide__"


def divide(left: Any, right: Any) -> Any:
    """Returns left / right as Python 2 does: of integers, rounded down."""
    if tf.is_tensor(left) or tf.is_tensor(right):
        return tf.div(left, right)
    if isinstance(left, tf.Dimension) or isinstance(right, tf.Dimension):
        return left // right
    if _is_integer(left) and _is_integer(right):
        return left // right
    return left / right


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) or getattr(value, "dtype", np.dtype("O")).kind in "iu"


def applies(source: str) -> bool:
    """Returns whether `/` of integers rounds down in a source of Python 2."""
    return not _IS_TRUE.search(source)


def translate(source: str) -> str:
    """Returns Python 3 source in which each `/` is a call of `divide`.

    All lines keep their numbers.
    """
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    slashes = _list_slashes(source)
    edits = []  # (line, column, bytes that are replaced, text)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(getattr(node, "op", None), ast.Div):
            continue
        is_in_place = isinstance(node, ast.AugAssign)
        left = node.target if is_in_place else node.left
        end = (left.end_lineno - 1, left.end_col_offset)
        line, column = next(place for place in slashes if place >= end)
        if is_in_place:
            target = ast.unparse(left)
            edits.append((line, column, 2, f"= {_NAME}({target},"))
        else:
            edits.append((node.lineno - 1, node.col_offset, 0, f"{_NAME}("))
            edits.append((line, column, 1, ","))
        edits.append((node.end_lineno - 1, node.end_col_offset, 0, ")"))
    if edits:
        setattr(builtins, _NAME, divide)
    for line, column, length, text in sorted(edits, reverse=True):
        data = lines[line]
        lines[line] = data[:column] + text.encode() + data[column + length :]
    return b"".join(lines).decode()


def _list_slashes(source: str) -> list[tuple[int, int]]:
    """Returns line and column, both from 0 and in bytes, of each `/` and `/=`."""
    return [
        (token.start[0] - 1, len(token.line[: token.start[1]].encode()))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.OP and token.string in ("/", "/=")
    ]
