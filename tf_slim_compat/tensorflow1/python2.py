"""Python 2 source: recognized, and translated while it is imported."""

import ast
import importlib.machinery
import importlib.util
import linecache
import os
import re
import site
import sysconfig
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from tf_slim_compat.tensorflow1 import classic_division, mended

_NAMES = frozenset(
    ("basestring", "execfile", "long", "raw_input", "reduce", "unichr", "unicode")
) | {"xrange"}
_METHODS = frozenset(("has_key", "iteritems", "iterkeys", "itervalues"))
_ATTRIBUTES = frozenset(
    ("getcwdu", "ifilter", "imap", "izip", "izip_longest", "maxint")
)
_MODULES = frozenset(
    ("ConfigParser", "Queue", "StringIO", "cPickle", "cStringIO", "commands")
) | {"urllib2", "urlparse", "__builtin__"}
_SUSPECT = re.compile(
    rb"\b(%s)\b" % "|".join(_NAMES | _METHODS | _ATTRIBUTES | _MODULES).encode()
)
# Fixers that change what is also valid in Python 3.
_ONLY_IF_CERTAIN = ("fix_input", "fix_print")
# Takes a script for a module of a package.
_NOT_FIXED = "fix_import"
_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


class Python2Error(Exception):
    """A source in Python 2 cannot be translated."""


def _get_library_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names]
    return tuple(os.path.join(f, "") for f in (*folders, site.getusersitepackages()))


LIBRARY_FOLDERS = _get_library_folders()


def _list_unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """Yields nodes outside of `try` and `if`, where programs handle both Pythons."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Try | ast.If):
            yield child
            yield from _list_unguarded(child)


def _list_bound(tree: ast.AST) -> Iterator[str]:
    """Yields the names that a module binds anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def find_old_names(tree: ast.Module) -> list[str]:
    """Returns names of Python 2 that a source uses and does not define, sorted."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _NAMES:
            found.add(node.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            is_six = isinstance(owner, ast.Name) and owner.id == "six"
            if node.func.attr in _METHODS and not is_six:
                found.add(node.func.attr)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            is_old = node.value.id in ("itertools", "os", "sys")
            found |= _ATTRIBUTES & {node.attr} if is_old else set()
    found -= set(_list_bound(tree))
    for node in _list_unguarded(tree):
        if isinstance(node, ast.Import):
            found |= _MODULES.intersection(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            found.add(node.module)
        elif isinstance(node, ast.ImportFrom) and node.module == "itertools":
            found |= _ATTRIBUTES.intersection(alias.name for alias in node.names)
    return sorted(found)


def _import_translator() -> tuple[types.ModuleType, str] | None:
    """Returns the module that translates and its package; fissix is its successor."""
    for package in ("lib2to3", "fissix"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return importlib.import_module(f"{package}.refactor"), package
            except ModuleNotFoundError:
                continue
    return None


def _translate(source: str, path: str, is_certain: bool, why: str) -> str:
    """Returns the source in Python 3.

    Args:
      source: Python 2 source.
      path: its file.
      is_certain: whether it is not also Python 3.
      why: what shows that it is Python 2.

    Raises:
      Python2Error: if nothing that translates is installed, or it cannot be.
    """
    found = _import_translator()
    if found is None:
        raise Python2Error(
            f"{path} is written in Python 2 ({why}), and Python has no lib2to3 since "
            "3.13; install its successor: pip install fissix"
        )
    refactor, package = found
    unwanted = (_NOT_FIXED,) if is_certain else (_NOT_FIXED, *_ONLY_IF_CERTAIN)
    fixers = [
        name
        for name in refactor.get_fixers_from_package(f"{package}.fixes")
        if not name.endswith(unwanted)
    ]
    source = _INDENTATION.sub(lambda found: found[0].expandtabs(8), source)
    grammars: list[dict[str, Any]] = [{"print_function": not is_certain}]
    if is_certain:
        grammars.append({"print_function": True})
    for options in grammars:
        tool = refactor.RefactoringTool(fixers, options)
        try:
            translated = str(tool.refactor_string(f"{source}\n", path))
        except Exception as error:  # The parser's own errors share no base class.
            reason = error
        else:
            if classic_division.applies(source):
                translated = classic_division.translate(translated)
            mended.note(path, f"is Python 2 ({why}); translated by {package}")
            # AutoGraph and tracebacks read the source of functions there.
            lines = translated.splitlines(keepends=True)
            linecache.cache[path] = (len(translated), None, lines, path)
            return translated
    raise Python2Error(
        f"{path} is not Python 3 ({why}), and {package} cannot translate it from "
        f"Python 2 ({reason})."
    ) from reason


def compile_source(data: bytes, path: str) -> types.CodeType:
    """Returns the code of a source in Python 3, or in Python 2, which is translated.

    Raises:
      Python2Error: if it is neither.
    """
    try:
        source = importlib.util.decode_source(data)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise Python2Error(f"{path} cannot be decoded: {error}") from error
    try:
        old = find_old_names(ast.parse(source, path))
        is_certain, why = False, ", ".join(old)
    except SyntaxError as error:
        is_certain = True
        why = f"line {error.lineno}: {(error.msg or '').partition('. Did')[0]}"
    if why:
        source = _translate(source, path, is_certain, why)
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Python2Error(f"{path}, line {error.lineno}: {error.msg}") from error


class ProgramLoader(importlib.machinery.SourceFileLoader):
    """Loads modules of a program, translated if they are in Python 2."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        data = self.get_data(path)
        if not _SUSPECT.search(data):
            try:
                return super().get_code(fullname)
            except SyntaxError:
                pass
        return compile_source(data, path)


def find_spec(
    fullname: str, path: Sequence[str] | None
) -> importlib.machinery.ModuleSpec | None:
    """Returns the spec of a module that is not in a library, None for others."""
    spec = importlib.machinery.PathFinder.find_spec(fullname, path)
    if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader:
        return None
    if os.path.abspath(spec.origin).startswith(LIBRARY_FOLDERS):
        return None
    spec.loader = ProgramLoader(spec.loader.name, spec.loader.path)
    return spec
