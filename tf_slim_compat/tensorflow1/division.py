"""Finds where Python 2 divided integers to an integer and Python 3 gives a float."""

import ast
import linecache
import types
from collections.abc import Iterator

_MOST = 3


def _list_statements(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            yield node


def _list_expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yields the nodes of a statement that are not in statements within it."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt):
            yield from ast.walk(child)


def _divides(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)


def _get_targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    if isinstance(statement, ast.AugAssign | ast.AnnAssign):
        return [statement.target]
    return []


def find_divisions(tree: ast.Module, line: int) -> list[int]:
    """Returns lines whose `/` the statement at a line depends on, by name."""
    statements = list(_list_statements(tree))
    at_line = [s for s in statements if s.lineno <= line <= s.end_lineno]
    if not at_line:
        return []
    # The innermost of the statements that span the line.
    pending = [max(at_line, key=lambda s: (s.lineno, -s.end_lineno))]
    seen, lines = set(), set()
    while pending:
        statement = pending.pop()
        if statement in seen:
            continue
        seen.add(statement)
        nodes = [statement, *_list_expressions(statement)]
        lines |= {node.lineno for node in nodes if _divides(node)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        for other in statements:
            targets = {
                node.id
                for target in _get_targets(other)
                for node in ast.walk(target)
                if isinstance(node, ast.Name)
            }
            if targets & names:
                pending.append(other)
    return sorted(lines)


def explain(error: BaseException, frames: list[types.TracebackType]) -> str | None:
    """Returns the sentence for an error that comes of dividing integers, else None.

    Args:
      error: what was raised.
      frames: the traceback's entries that are in the program, the innermost last.
    """
    if not isinstance(error, TypeError) or "float" not in str(error):
        return None
    for entry in reversed(frames):
        path = entry.tb_frame.f_code.co_filename
        text = linecache.getlines(path)
        try:
            lines = find_divisions(ast.parse("".join(text)), entry.tb_lineno)
        except SyntaxError:
            continue
        if lines:
            quoted = "; ".join(
                f"line {n}: {text[n - 1].strip()}" for n in lines[:_MOST]
            )
            return (
                f"{str(error).rstrip('.')}. In Python 3, / makes a float of integers; "
                f"if an integer is meant, write // in {path}, {quoted}"
            )
    return None
